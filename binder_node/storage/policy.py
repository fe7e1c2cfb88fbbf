"""What the registry's key may do, and what the bucket does by itself. Pure."""

from __future__ import annotations

from typing import Any

POLICY_NAME, BACKUP_POLICY = "binder-node-registry", "binder-node-backup"

# mybinder.org-deploy's s3-bucket-lifecycle.json: pushes that died leave parts which cost money and are never listed.
ABORT_AFTER_DAYS = 1


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
