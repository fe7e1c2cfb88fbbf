"""What the registry's key may do, and what the bucket does by itself. Pure."""

from __future__ import annotations

from typing import Any

POLICY_NAME = "binder-node-registry"

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
