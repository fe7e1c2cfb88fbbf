"""Where what runs on the node finds the registry's bucket. Pure."""

from __future__ import annotations

from binder_node.layout import MINIO_PORT, MINIO_REGION
from binder_node.secrets.model import Secrets
from binder_node.spec.model import NodeStorage, S3Storage, Spec


def reached(storage: NodeStorage | S3Storage) -> tuple[str, str]:
    """The endpoint's URL as the node itself has it, and the region that is signed with."""
    if isinstance(storage, NodeStorage):
        return f"http://127.0.0.1:{MINIO_PORT}", MINIO_REGION
    return storage.endpoint, storage.region


def bucket_access(spec: Spec, secrets: Secrets, prefix: str) -> dict[str, str]:
    """What a program that uses on_node/s3.py is told, with the registry's key and the prefix of what is its own."""
    endpoint, region = reached(spec.storage)
    return {
        "endpoint": endpoint,
        "region": region,
        "bucket": spec.storage.bucket,
        "prefix": prefix,
        "access_key": secrets.s3_access_key,
        "secret_key": secrets.s3_secret_key.reveal(),
    }
