"""What an inventory says of backups."""

from __future__ import annotations

from pydantic import Field

from binder_node.spec.types import BUCKET, Model, Url


class Backup(Model):
    """A copy of what is not in the registry's bucket: the hub's database, certificates, K3s's state, secrets.

    The node makes it, encrypts it for those who can read its secrets, and cannot read it itself. `up --restore` puts
    it back.
    """

    hours: int = Field(6, ge=0, le=168, description="Hours from one backup to the next; 0: none are made.")
    keep: int = Field(30, ge=1, le=3650, description="Days after which the bucket removes one.")
    endpoint: Url | None = Field(
        None,
        description="Another S3 endpoint for them, best of another provider. Its keys are secrets: "
        "`BINDER_NODE_BACKUP_ACCESS_KEY` and `BINDER_NODE_BACKUP_SECRET_KEY` at the first `up`. "
        "None: where the registry's bucket is.",
        examples=["https://fsn1.your-objectstorage.com"],
    )
    region: str = Field("us-east-1", description="Region name that `endpoint` signs with.")
    bucket: str | None = Field(
        None, pattern=BUCKET, description="Bucket at `endpoint`. None: the registry's.", examples=["bids-backup"]
    )
