"""A node's backups from the operator's side: made now, listed, fetched, opened."""

from __future__ import annotations

import json
import os
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from binder_node import files, remote
from binder_node.errors import InputError, Problem, StepError
from binder_node.events import Event, Reporter, step
from binder_node.host.backup import SECONDS, UNIT
from binder_node.host.restore import FORMAT, Restore
from binder_node.host.upload import as_root
from binder_node.lifecycle.opened import Opened, access_of, open_bare
from binder_node.node import Access, Node
from binder_node.secrets.agefile import opened as unsealed
from binder_node.secrets.document import parse
from binder_node.secrets.identity import identity_path
from binder_node.secrets.store import SecretStore
from binder_node.spec.model import Spec
from binder_node.storage import backups
from binder_node.storage.backups import Backup, BackupStage, own_key
from binder_node.storage.endpoint import Endpoint

STAGE = backups.STAGE
SEALED, TOKEN = "secrets.age", "k3s_token"


@dataclass(frozen=True, slots=True)
class Made:
    """``backup`` is the newest in the bucket after a run."""

    node: str
    backup: Backup
    where: str


def make(opened: Opened, report: Reporter) -> Made:
    """Have the node make a backup now, by the unit that its timer starts.

    Raises:
        InputError: the inventory says that none are made.
        StepError, DeadlineError: the machine is not reached, or made none; with its own last words.
    """
    _refuse_none(opened)
    access, _ = access_of(opened)
    with step(report, STAGE, "the node makes a backup") as told:
        done = remote.run(access, as_root(access, f"systemctl start {UNIT}"), timeout=SECONDS + 60, check=False)
        if done.code != 0:
            # The program's own words, without systemd's.
            asked = f"journalctl --no-pager -o cat -n 3 _SYSTEMD_UNIT={UNIT}"
            log = remote.run(access, as_root(access, asked), check=False)
            reason = log.stdout.strip() or done.stderr or f"exit code {done.code}"
            raise StepError(opened.spec.name, "make a backup", reason, f"binder-node logs {opened.spec.name} backup")
        with reading(open_bare(opened), access) as endpoint:
            found = backups.listed(endpoint, opened.spec)
            where = f"{endpoint.bucket} at {opened.spec.backup.endpoint or _place(opened.spec)}"
        if not found:
            reason, remedy = f"none is in {where}", "`binder-node up` puts its settings right"
            raise StepError(opened.spec.name, "find the backup that was made", reason, remedy)
        told["name"], told["bytes"] = found[-1].name, found[-1].size
    return Made(opened.spec.name, found[-1], where)


def there(opened: Opened) -> list[Backup]:
    """The node's backups in the bucket, the newest last; no machine is needed where the bucket is elsewhere.

    Raises:
        StepError, DeadlineError: the bucket is not reached, or refuses.
    """
    with _bucket(opened) as endpoint:
        return backups.listed(endpoint, opened.spec)


def fetch(opened: Opened, which: str, target: Path, report: Reporter) -> Backup:
    """Copy a backup, encrypted as it is, to ``target``. ``which`` is its name; empty: the newest.

    Raises:
        InputError: there is none of that name.
        StepError, DeadlineError: the bucket is not reached, or refuses.
    """
    with _bucket(opened) as endpoint:
        chosen = chosen_of(backups.listed(endpoint, opened.spec), which, opened.spec)
        with step(report, STAGE, f"fetch {chosen.name}"):
            backups.fetch(endpoint, opened.spec, chosen, target)
    return chosen


def chosen_of(found: list[Backup], which: str, spec: Spec) -> Backup:
    """The one called ``which``, or the newest. Pure. Raises InputError where there is none."""
    if not found:
        wrong = f"there is no backup of {spec.name} in the bucket"
        raise InputError(Problem("", 0, "--restore", wrong, "give a file, by --restore-from"))
    for one in found:
        if one.name == which:
            return one
    if which:
        right = f"one of {', '.join(one.name for one in found[-3:])}"
        raise InputError(Problem("", 0, "--restore-from", f"'{which}' is neither a file nor a backup", right))
    return found[-1]


# --- for `up --restore` --------------------------------------------------------------------------------------------


@contextmanager
def restored(opened: Opened, which: str, report: Reporter) -> Iterator[Restore]:
    """The backup ``which`` (a file here, a name in the bucket, empty: the newest in the bucket) in clear, for the
    block. Where the node's secrets are not here, they are taken from it.

    Raises:
        InputError: there is none, it is another node's, or its bucket went with the machine.
        StepError, DeadlineError: it cannot be fetched, or not be opened with the operator's identity.
    """
    opened.runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=opened.runtime, prefix="restore-") as folder:
        sealed = Path(which) if which and Path(which).is_file() else Path(folder) / "sealed.age"
        name = sealed.name
        if sealed.parent == Path(folder):
            _refuse_gone(opened.spec)
            name = fetch(opened, which, sealed, report).name
        archive = Path(folder) / "archive.tar.gz"
        content = unsealed(sealed.read_bytes(), identity_path(os.environ), f"the backup {name}")
        files.replace(archive, content)
        found = _told(archive, name, opened.spec, opened.pins.entries["k3s"].version)
        _keep_secrets(opened, archive, report)
        yield found


def _told(archive: Path, name: str, spec: Spec, pinned: str) -> Restore:
    """What an archive says of itself; ``pinned`` is the version of K3s that it is for.

    Raises:
        InputError: it is another node's, or of a later K3s.
        StepError: it is no backup.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            first = tar.next()
            source = tar.extractfile(first) if first is not None and first.name == "about.json" else None
            about = json.loads(source.read()) if source is not None else {}
            node, form = str(about["node"]), int(about["format"])
            found = Restore(name, str(about["taken"]), archive, {str(k): int(v) for k, v in about["files"].items()})
            datetime.fromisoformat(found.taken)
            then = str(about["versions"]["k3s"])
    except (tarfile.TarError, OSError, ValueError, KeyError, TypeError, EOFError):
        raise StepError("here", f"read the backup {name}", "it is none of binder-node's", "give another one") from None
    if form > FORMAT:
        raise StepError(
            "here", f"read the backup {name}", f"its form is {form}, newer than known", "update binder-node"
        )
    if node != spec.name:
        wrong = f"the backup is of {node}, this is {spec.name}"
        raise InputError(Problem("", 0, "--restore-from", wrong, "its cluster would wait for a machine of that name"))
    if minor_of(then) > minor_of(pinned):
        wrong = f"the backup is of {then}, which {pinned} may not understand"
        raise InputError(Problem("", 0, "pins (k3s)", wrong, "pin that version, restore, then go on from there"))
    return found


def minor_of(version: str) -> tuple[int, ...]:
    """Major and minor of a version of K3s; empty where there is none in the text. Pure.

    >>> minor_of("k3s version v1.35.4+k3s1 (0a1b2c)"), minor_of("")
    ((1, 35), ())
    """
    word = next((word for word in version.split() if word.startswith("v") and word[1:2].isdigit()), "")
    return tuple(int(part) for part in word[1:].split(".")[:2] if part.isdigit())


def _keep_secrets(opened: Opened, archive: Path, report: Reporter) -> None:
    """The node's secrets from its backup, where they are not here; encrypted as they were.

    Raises:
        InputError: K3s's token is another one by now; with it K3s does not start on what it had.
        StepError: they are not to be read with the operator's identity.
    """
    store = SecretStore(opened.inventory, opened.spec)
    with tarfile.open(archive, "r:gz") as tar:
        source = next((tar.extractfile(member) for member in tar if member.name == SEALED), None)
        content = source.read() if source is not None else b""
    if not content:
        return
    if not store.file.exists:
        store.file.make_folder()
        files.replace(store.path, content)
        report(Event("done", STAGE, f"{store.path}: the node's secrets, from its backup"))
        return
    then = parse(unsealed(content, store.identity, f"the secrets in the backup of {opened.spec.name}"))
    if then is not None and then.get(TOKEN) != store.document().get(TOKEN):
        right = f"move {store.path} away: without it the backup's own are taken"
        raise InputError(Problem(str(store.path), 0, TOKEN, "is another one than when the backup was made", right))


# --- reaching the bucket -------------------------------------------------------------------------------------------


@contextmanager
def reading(node: Node, access: Access | None) -> Iterator[Endpoint]:
    """The bucket with the key that operators read backups with."""
    with BackupStage(node, access).endpoint() as endpoint:
        yield endpoint


@contextmanager
def _bucket(opened: Opened) -> Iterator[Endpoint]:
    """The same for a node whose machine may be gone: with keys from the environment where its secrets are not here."""
    store = SecretStore(opened.inventory, opened.spec)
    access = access_of(opened)[0] if own_key(opened.spec) else None
    secrets = store.load() if store.file.exists else store.preview()
    with reading(Node(opened.spec, secrets, {}, opened.pins.images, opened.runtime), access) as endpoint:
        yield endpoint


def _refuse_gone(spec: Spec) -> None:
    if own_key(spec):
        wrong = "the bucket is on the machine itself (storage.kind: node), and goes with it"
        right = "give a file that `binder-node backup --file` wrote, by --restore-from"
        raise InputError(Problem("", 0, "--restore", wrong, right))


def _refuse_none(opened: Opened) -> None:
    if not opened.spec.backup.hours:
        raise InputError(Problem(str(opened.inventory), 0, "backup.hours", "0: there are none", "write 1 or more"))


def _place(spec: Spec) -> str:
    return getattr(spec.storage, "endpoint", "the node's own MinIO")
