"""What the registry's key may do, and what the bucket does by itself. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from binder_node.layout import HUB_CACHE
from binder_node.spec.model import Spec

POLICY_NAME, BACKUP_POLICY = "binder-node-registry", "binder-node-backup"

# mybinder.org-deploy's s3-bucket-lifecycle.json: pushes that died leave parts which cost money and are never listed.
ABORT_AFTER_DAYS = 1


@dataclass(frozen=True, slots=True)
class Expiry:
    """A rule of the bucket's: what lies below ``prefix`` goes after ``days``."""

    rule: str
    prefix: str
    days: int


def cache_expiry(spec: Spec) -> Expiry | None:
    """Of what the cache of Docker Hub keeps, which removes nothing itself; None where there is no cache."""
    return Expiry("binder-node-docker-hub", HUB_CACHE, spec.hub_days) if spec.hub_days else None


def scoped(bucket: str) -> dict[str, Any]:
    """The policy of a key that may do everything in ``bucket`` and nothing elsewhere.

    >>> scoped("registry")["Statement"][0]["Resource"]
    ['arn:aws:s3:::registry', 'arn:aws:s3:::registry/*']
    """
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:*"],
                "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
            }
        ],
    }


def writing_below(bucket: str, prefix: str) -> dict[str, Any]:
    """The policy of a key that may write objects below ``prefix``: neither read, list nor delete, there or elsewhere.

    >>> writing_below("registry", "backup/")["Statement"][0]["Resource"]
    ['arn:aws:s3:::registry/backup/*']
    """
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": ["s3:PutObject"], "Resource": [f"arn:aws:s3:::{bucket}/{prefix}*"]}
        ],
    }
