"""The stage ``backup``: where backups go, the key that the node writes them with, and how long they are kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from binder_node.changes import Action, Change
from binder_node.errors import StepError
from binder_node.events import Event, Reporter
from binder_node.layout import BACKUPS
from binder_node.node import Access, Node
from binder_node.secrets.masked import Masked
from binder_node.spec.model import NodeStorage, Spec
from binder_node.storage import bucket
from binder_node.storage.bucket import KEY_STATES, Key
from binder_node.storage.endpoint import REMEDIES, Endpoint, client, explained
from binder_node.storage.policy import BACKUP_POLICY, writing_below
from binder_node.storage.stage import StorageStage

STAGE = "backup"
SUFFIX = ".age"
STAMP = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True, order=True)
class Backup:
    """One in the bucket. ``name`` is without the node's prefix; ``taken`` is when it began, UTC; ``size`` in bytes."""

    taken: datetime
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Seen:
    """``key`` is the node's own on its MinIO; ``expiry``: the bucket removes old ones; ``last`` is the newest; not
    ``looked``: their own endpoint does not answer."""

    key: Key = "ok"
    exists: bool = True
    expiry: bool = True
    last: Backup | None = None
    count: int = 0
    looked: bool = True


def prefix(spec: Spec) -> str:
    """Below what a node's backups lie in the bucket."""
    return f"{BACKUPS}{spec.name}/"


def rule_of(spec: Spec) -> str:
    """The id of the bucket's rule that removes old ones."""
    return f"binder-node-backups-{spec.name}"


def backup_of(name: str, size: int) -> Backup | None:
    """What an object's name tells; None for one that is no backup. Pure.

    >>> backup_of("20261121T193000Z-0123456789abcdef.age", 7).taken.isoformat()
    '2026-11-21T19:30:00+00:00'
    >>> backup_of("notes.txt", 7)
    """
    stamp, _, rest = name.partition("-")
    try:
        taken = datetime.strptime(stamp, STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
    return Backup(taken, name, size) if rest.endswith(SUFFIX) and "/" not in name else None


def bucket_of(spec: Spec) -> str:
    """The bucket's name."""
    return spec.backup.bucket or spec.storage.bucket


def own_key(spec: Spec) -> bool:
    """Whether `up` makes the key that the node writes with: on its own MinIO."""
    return spec.backup.endpoint is None and isinstance(spec.storage, NodeStorage)


@dataclass(frozen=True)
class BackupStage:
    """The bucket is the registry's unless ``backup.endpoint`` names another one. Operators read with the key of the
    bucket's registry, or the one that was given for backups; the node's own key on its MinIO only writes."""

    node: Node
    access: Access | None
    name: str = STAGE

    def nothing(self) -> Seen:
        return Seen("missing" if own_key(self.node.spec) else "ok", exists=True, expiry=False)

    def inspect(self, report: Reporter) -> Seen:
        """Raises StepError or DeadlineError where the registry's bucket refuses or does not answer. One of backups only
        is warned of: a drain, or a new certificate, does not wait for it."""
        try:
            with self.endpoint() as endpoint:
                seen = look(endpoint, self.node.spec)
                return replace(seen, key=_key(self._nodes(endpoint))) if own_key(self.node.spec) else seen
        except StepError as error:
            if self.node.spec.backup.endpoint is None:
                raise
            report(Event("warn", STAGE, f"the backups could not be looked at: {error}"))
            return Seen(looked=False)

    def changes(self, seen: Seen) -> list[Change]:
        spec = self.node.spec
        wanted: list[Change] = []
        if seen.key != "ok" and own_key(spec):
            action: Action = "update" if seen.key == "stale" else "create"
            what = f"key {self.node.secrets.backup_access_key}, which only writes below {prefix(spec)}"
            wanted.append(Change(STAGE, action, what))
        elif seen.key != "ok":
            wanted.append(Change(STAGE, "run", f"use bucket {bucket_of(spec)}, which refuses the key for backups"))
        if not seen.exists:
            wanted.append(Change(STAGE, "create", f"bucket {bucket_of(spec)}, for backups"))
        if not seen.expiry:
            wanted.append(Change(STAGE, "update", f"keep backups for {spec.backup.keep} days"))
        return wanted

    def apply(self, seen: Seen, report: Reporter) -> None:
        """Raises StepError or DeadlineError, naming S3's code; every step can be run again."""
        spec = self.node.spec
        with self.endpoint() as endpoint:
            if seen.key != "ok" and not own_key(spec):
                code = next(code for code, state in KEY_STATES.items() if state == seen.key)
                raise StepError(spec.name, f"use bucket {endpoint.bucket} for backups", code, REMEDIES[code])
            if seen.key != "ok":
                report(Event("progress", STAGE, f"make key {self.node.secrets.backup_access_key}"))
                root = StorageStage(self.node, self.access).as_root(endpoint)
                policy = writing_below(endpoint.bucket, prefix(spec))
                bucket.make_key(root, self._nodes(endpoint), BACKUP_POLICY, policy)
            if not seen.exists:
                bucket.make(endpoint)
            if not seen.expiry:
                bucket.set_expiry(endpoint, rule_of(spec), prefix(spec), spec.backup.keep)

    @contextmanager
    def endpoint(self) -> Iterator[Endpoint]:
        """The bucket of the backups, with the key that operators read them with."""
        spec, secrets = self.node.spec, self.node.secrets
        there = spec.backup
        if there.endpoint is None or there.bucket is None:
            with StorageStage(self.node, self.access).endpoint() as endpoint:
                yield endpoint
            return
        secret = secrets.backup_secret_key or Masked("none")
        yield Endpoint(spec.name, there.endpoint, there.region, there.bucket, secrets.backup_access_key, secret)

    def _nodes(self, endpoint: Endpoint) -> Endpoint:
        """With the key that the node writes with."""
        secrets = self.node.secrets
        secret = secrets.backup_secret_key or Masked("none")
        return replace(endpoint, access_key=secrets.backup_access_key, secret_key=secret)


def _key(nodes: Endpoint) -> Key:
    """A key that only writes may not look at the bucket: to be refused for that is how a right one is known."""
    seen = bucket.look(nodes).key
    return "ok" if seen == "unscoped" else seen


def look(endpoint: Endpoint, spec: Spec) -> Seen:
    """The bucket's rule and what lies there.

    Raises:
        StepError, DeadlineError: the endpoint refuses, or does not answer.
    """
    import minio.error

    with explained(endpoint, "look at the backups"):
        try:
            rules = bucket.rules(endpoint)
            found = _listed(endpoint, spec)
        except minio.error.S3Error as error:
            if error.code in KEY_STATES:
                return Seen(KEY_STATES[str(error.code)], exists=True, expiry=True)
            if error.code == "NoSuchBucket":
                # The registry's own is the stage before's to make.
                return Seen("ok", exists=spec.backup.endpoint is None, expiry=False)
            raise
    kept = any(bucket.expires(rule, rule_of(spec), prefix(spec), spec.backup.keep) for rule in rules)
    return Seen("ok", True, kept, found[-1] if found else None, len(found))


def listed(endpoint: Endpoint, spec: Spec) -> list[Backup]:
    """The node's backups, the newest last.

    Raises:
        StepError, DeadlineError: the endpoint refuses, or does not answer.
    """
    with explained(endpoint, "list the backups"):
        return _listed(endpoint, spec)


def _listed(endpoint: Endpoint, spec: Spec) -> list[Backup]:
    below = prefix(spec)
    there = client(endpoint).list_objects(bucket_name=endpoint.bucket, prefix=below)
    named = [(str(PurePosixPath(str(one.object_name)).relative_to(below)), int(one.size or 0)) for one in there]
    return sorted(found for name, size in named if (found := backup_of(name, size)) is not None)


def fetch(endpoint: Endpoint, spec: Spec, backup: Backup, target: Path) -> None:
    """Copy one to ``target``, encrypted as it is.

    Raises:
        StepError, DeadlineError: the endpoint refuses, or does not answer.
    """
    with explained(endpoint, f"fetch backup {backup.name}"):
        name = f"{prefix(spec)}{backup.name}"
        client(endpoint).fget_object(bucket_name=endpoint.bucket, object_name=name, file_path=str(target))
