"""The stage ``storage``: the bucket, its key where the endpoint can make one, its lifecycle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from binder_node.changes import Action, Change
from binder_node.errors import StepError
from binder_node.events import Event, Reporter
from binder_node.layout import MINIO_PORT, MINIO_REGION
from binder_node.node import Access, Node
from binder_node.spec.model import NodeStorage
from binder_node.storage import bucket
from binder_node.storage.bucket import Bucket
from binder_node.storage.endpoint import REMEDIES, Endpoint
from binder_node.storage.policy import POLICY_NAME, Expiry, cache_expiry, scoped


@dataclass(frozen=True, slots=True)
class StorageStage:
    """On the node's MinIO the root user makes a key scoped to the bucket; elsewhere the key is the operator's.

    MinIO takes no lifecycle rule that only aborts uploads (``InvalidArgument``); it removes stale parts itself after
    the time in its environment, which the host room sets. Everywhere else the bucket's lifecycle does.
    """

    node: Node
    access: Access | None
    name: str = "storage"

    def nothing(self) -> Bucket:
        own_minio = isinstance(self.node.spec.storage, NodeStorage)
        return Bucket("missing" if own_minio else "ok", False, False, self.expiry is None)

    def inspect(self, report: Reporter) -> Bucket:
        del report
        with self.endpoint() as endpoint:
            return bucket.look(endpoint, self.expiry)

    @property
    def expiry(self) -> Expiry | None:
        """The bucket's rule of what the cache of Docker Hub keeps."""
        return cache_expiry(self.node.spec)

    def changes(self, seen: Bucket) -> list[Change]:
        storage = self.node.spec.storage
        own_minio = isinstance(storage, NodeStorage)
        wanted: list[Change] = []
        if own_minio and seen.key != "ok":
            action: Action = "update" if seen.key == "stale" else "create"
            wanted.append(
                Change(self.name, action, f"key {self.node.secrets.s3_access_key}, scoped to {storage.bucket}")
            )
        if not own_minio and seen.key != "ok":
            # Nothing of ours can put it right: `apply` says what the operator can do.
            wanted.append(Change(self.name, "run", f"use bucket {storage.bucket}, which refuses our key"))
        if not seen.exists and (own_minio or seen.key == "ok"):
            wanted.append(Change(self.name, "create", f"bucket {storage.bucket}"))
        if not own_minio and not seen.lifecycle and seen.key == "ok":
            wanted.append(Change(self.name, "update", f"lifecycle of {storage.bucket}: abort incomplete uploads"))
        if self.expiry is not None and not seen.forgets and (own_minio or seen.key == "ok"):
            what = f"remove what the cache of Docker Hub kept for {self.expiry.days} days"
            wanted.append(Change(self.name, "update", f"lifecycle of {storage.bucket}: {what}"))
        return wanted

    def apply(self, seen: Bucket, report: Reporter) -> None:
        """Raises StepError or DeadlineError, naming S3's code; every step can be run again."""
        own_minio = isinstance(self.node.spec.storage, NodeStorage)
        with self.endpoint() as endpoint:
            if not own_minio and seen.key != "ok":
                code = next(code for code, state in bucket.KEY_STATES.items() if state == seen.key)
                raise StepError(self.node.spec.name, f"use bucket {endpoint.bucket}", code, REMEDIES[code])
            if own_minio and seen.key != "ok":
                report(Event("progress", self.name, f"make key {endpoint.access_key}"))
                bucket.make_key(self.as_root(endpoint), endpoint, POLICY_NAME, scoped(endpoint.bucket))
                seen = bucket.look(endpoint, self.expiry)
            if not seen.exists:
                report(Event("progress", self.name, f"make bucket {endpoint.bucket}"))
                bucket.make(endpoint)
                seen = bucket.look(endpoint, self.expiry)
            if not own_minio and not seen.lifecycle:
                report(Event("progress", self.name, f"set lifecycle of {endpoint.bucket}"))
                bucket.set_lifecycle(endpoint)
            if self.expiry is not None and not seen.forgets:
                report(Event("progress", self.name, f"set lifecycle of {endpoint.bucket}"))
                bucket.set_expiry(endpoint, self.expiry.rule, self.expiry.prefix, self.expiry.days)

    @contextmanager
    def endpoint(self) -> Iterator[Endpoint]:
        """The bucket's endpoint with the registry's key; through an SSH tunnel when it is the node's own loopback."""
        secrets, storage, name = self.node.secrets, self.node.spec.storage, self.node.spec.name
        if not isinstance(storage, NodeStorage):
            yield Endpoint(
                name, storage.endpoint, storage.region, storage.bucket, secrets.s3_access_key, secrets.s3_secret_key
            )
            return
        if self.access is None:
            raise StepError(name, "reach the node's MinIO", "there is no machine yet", "run `binder-node up` first")
        from binder_node import remote

        with remote.tunnel(self.access, MINIO_PORT) as port:
            yield Endpoint(
                name,
                f"http://127.0.0.1:{port}",
                MINIO_REGION,
                storage.bucket,
                secrets.s3_access_key,
                secrets.s3_secret_key,
            )

    def as_root(self, endpoint: Endpoint) -> Endpoint:
        """The node's own MinIO with its root key, which alone may change keys."""
        secrets = self.node.secrets
        return Endpoint(
            endpoint.node,
            endpoint.url,
            endpoint.region,
            endpoint.bucket,
            secrets.minio_root_user,
            secrets.minio_root_password,
        )
