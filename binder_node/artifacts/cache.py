"""The cache: verified files under their digest, shared safely by any number of processes.

::

    ROOT/sha256/<first 2>/<digest>/<name>   the files; a name is there only when its content is whole and was hashed
    ROOT/keys/<key>.json                    which file answers which recipe, with the size and time it was verified at
    ROOT/locks/<key>.lock                   held by whoever is making it (flock: freed by the kernel at any death)
    ROOT/parts/<key>                        downloads that are under way or wait to be resumed
    ROOT/tmp/                               being written
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from binder_node.errors import DeadlineError, StepError
from binder_node.events import Event, Reporter, silent

if TYPE_CHECKING:
    import filelock

ENV = "BINDER_NODE_CACHE"
# What a disk is left with after a download: the rest of the machine writes too.
_RESERVE = 256 << 20
# Seconds between two looks whether to go on waiting for a lock.
_LOOK = 0.2
# Seconds after which nobody is taken to be at work on what lies there.
_STALE = {"tmp/*": 24 * 3600, "parts/*": 7 * 24 * 3600}


@dataclass(frozen=True, slots=True)
class Stored:
    """A file in the cache. ``size`` in bytes, ``mtime_ns`` as it was when the digest was last computed."""

    path: Path
    sha256: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Checked:
    """What ``verify`` found about one file."""

    path: Path
    sha256: str
    size: int
    good: bool


def default_root() -> Path:
    """``$BINDER_NODE_CACHE``, else the user's cache folder."""
    if given := os.environ.get(ENV):
        return Path(given)
    import platformdirs

    return platformdirs.user_cache_path("binder-node")


def digest(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def disk(step: str, root: Path) -> Iterator[None]:
    """Turn a full or unwritable disk inside the block into a StepError for ``step``."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = f"make room under {root}, or set {ENV} to a folder on a larger disk"
            raise StepError("here", step, f"the disk is full: {error}", remedy) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise StepError("here", step, str(error), f"set {ENV} to a folder that you may write to") from error
        raise


class Cache:
    """See the module's text. ``lock_wait`` is how long to wait, in seconds, for another process that makes the same."""

    def __init__(self, root: Path | None = None, lock_wait: float = 3600.0, reserve: int = _RESERVE) -> None:
        self.root = (root or default_root()).absolute()
        self.lock_wait = lock_wait
        self.reserve = reserve

    # --- looking ---------------------------------------------------------------------------------------------

    def lookup(self, key: str, report: Reporter = silent) -> Stored | None:
        """The file that answers ``key``, or None. Costs a read and a stat; a file that was touched is hashed again,
        and removed (with a warning) when it is no longer what it was."""
        try:
            record = json.loads(self._record(key).read_bytes())
            stored = Stored(self._object(record["sha256"], record["name"]), *_rest(record))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, KeyError, TypeError):  # torn by a power cut: the file is found anew and recorded anew
            return None
        try:
            seen = stored.path.stat()
        except FileNotFoundError:
            return None
        if (seen.st_size, seen.st_mtime_ns) == (stored.size, stored.mtime_ns):
            return stored
        if digest(stored.path) == stored.sha256:
            return self._remember(key, stored.path, stored.sha256)
        stored.path.unlink(missing_ok=True)
        report(Event("warn", "artifacts", f"{stored.path.name} was damaged in the cache; making it anew"))
        return None

    # --- adding ----------------------------------------------------------------------------------------------

    def add(self, key: str, name: str, source: Path, *, executable: bool, sha256: str | None = None) -> Stored:
        """Move ``source`` (a file in :meth:`scratch` or :meth:`part`) into the cache as the answer to ``key``.

        ``sha256`` is its digest if the caller has just computed it. Atomic: other processes see all or nothing.
        """
        with disk(f"keep {name} in the cache", self.root):
            sha256 = sha256 or digest(source)
            source.chmod(0o555 if executable else 0o444)
            with source.open("rb") as file:
                os.fsync(file.fileno())
            target = self._object(sha256, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists() and digest(target) == sha256:
                # Others know this file by its inode and time: a link into the cache would look changed ever again.
                source.unlink()
            else:
                source.replace(target)
                _fsync_folder(target.parent)
            return self._remember(key, target, sha256)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A private folder on the cache's filesystem, removed at the end."""
        folder = self._folder("tmp")
        with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as path:
            yield Path(path)

    def part(self, key: str) -> Path:
        """Where a download with this key grows; outlives the process so that the next one goes on from there."""
        return self._folder("parts") / hashed(key)

    def room(self, size: int, what: str) -> None:
        """StepError if ``size`` bytes and the reserve do not fit on the cache's disk."""
        free = shutil.disk_usage(self._folder("tmp")).free
        if size + self.reserve > free:
            reason = (
                f"{what} needs {_megabytes(size)} and {_megabytes(self.reserve)} spare, {_megabytes(free)} are free"
            )
            remedy = f"make room under {self.root}, or set {ENV} to a folder on a larger disk"
            raise StepError("here", f"fetch {what}", reason, remedy)

    @contextlib.contextmanager
    def lock(
        self, key: str, what: str, report: Reporter = silent, halt: threading.Event | None = None
    ) -> Iterator[None]:
        """Hold ``key`` against every thread and process; says when it has to wait for ``what``.

        DeadlineError after ``lock_wait`` seconds, StepError once ``halt`` is set while it waits.
        """
        import filelock

        path = self._folder("locks") / f"{hashed(key)}.lock"
        owner = path.with_suffix(".owner")
        lock = filelock.FileLock(path)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            report(Event("log", "artifacts", f"waiting for {what} ({_read(owner)})"))
            self._wait(lock, owner, what, halt or threading.Event())
        try:
            owner.write_text(f"process {os.getpid()} since {time.strftime('%H:%M:%S')}", encoding="utf-8")
            yield
        finally:
            lock.release()

    def _wait(self, lock: filelock.BaseFileLock, owner: Path, what: str, halt: threading.Event) -> None:
        import filelock

        ends = time.monotonic() + self.lock_wait
        while time.monotonic() < ends:
            try:
                lock.acquire(timeout=min(_LOOK, self.lock_wait))
            except filelock.Timeout:
                if halt.is_set():
                    raise StepError("here", f"wait for {what}", "stopped", "run it again") from None
            else:
                return
        remedy = "wait for it, or end that process: the lock goes with it"
        raise DeadlineError("here", what, self.lock_wait, f"{_read(owner)} is at it", remedy)

    # --- keeping ---------------------------------------------------------------------------------------------

    def verify(self) -> Iterator[Checked]:
        """Hash every file; one that is not what its folder says is removed. Also sweeps what dead processes left."""
        self._sweep()
        for path in sorted(self.root.glob("sha256/??/*/*")):
            try:
                size, good = path.stat().st_size, digest(path) == path.parent.name
            except FileNotFoundError:  # another process removed it
                continue
            if not good:
                path.unlink(missing_ok=True)
            yield Checked(path, path.parent.name, size, good)

    def _sweep(self) -> None:
        for pattern, age in _STALE.items():
            for left in self.root.glob(pattern):
                with contextlib.suppress(FileNotFoundError):
                    if time.time() - left.stat().st_mtime > age:
                        shutil.rmtree(left) if left.is_dir() else left.unlink()

    # --- where things are ------------------------------------------------------------------------------------

    def _object(self, sha256: str, name: str) -> Path:
        return self.root / "sha256" / sha256[:2] / sha256 / name

    def _record(self, key: str) -> Path:
        return self.root / "keys" / f"{hashed(key)}.json"

    def _remember(self, key: str, path: Path, sha256: str) -> Stored:
        seen = path.stat()
        stored = Stored(path, sha256, seen.st_size, seen.st_mtime_ns)
        record = {**asdict(stored), "path": None, "name": path.name, "key": key}
        keys = self._folder("keys")
        with disk(f"keep {path.name} in the cache", self.root), self.scratch() as folder:
            fresh = folder / "record"
            fresh.write_text(json.dumps(record), encoding="utf-8")
            fresh.replace(keys / self._record(key).name)
        return stored

    def _folder(self, name: str) -> Path:
        folder = self.root / name
        with disk("make the cache", self.root):
            folder.mkdir(parents=True, exist_ok=True)
        return folder


def hashed(key: str) -> str:
    """A file name for a key: the first 32 hex digits of its SHA-256."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _read(owner: Path) -> str:
    try:
        return owner.read_text(encoding="utf-8")
    except FileNotFoundError:
        return "another process"


def _rest(record: dict[str, object]) -> tuple[str, int, int]:
    return str(record["sha256"]), int(str(record["size"])), int(str(record["mtime_ns"]))


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"
