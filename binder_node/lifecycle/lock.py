"""One run a node at a time. The lock is the kernel's (flock): it ends with the process that holds it."""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from binder_node.errors import LockedError


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a node's lock. ``since`` is seconds since the epoch."""

    pid: int
    user: str
    host: str
    verb: str
    since: float

    def describe(self, now: float) -> str:
        """``up by root@laptop, process 4711, for 12 min``"""
        return f"{self.verb} by {self.user}@{self.host}, process {self.pid}, for {_age(now - self.since)}"


def _age(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _path(runtime: Path) -> Path:
    return runtime / "lock"


def holder(runtime: Path) -> Holder | None:
    """Who holds the lock of the node whose runtime folder this is, or None when it is free."""
    try:
        handle = os.open(_path(runtime), os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        if _try(handle):
            return None
        return _read(handle)
    finally:
        os.close(handle)


def _try(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(handle: int) -> Holder:
    text = os.pread(handle, 4096, 0)
    try:
        return Holder(**json.loads(text))
    except (ValueError, TypeError):
        # Taken a moment ago and not yet signed.
        return Holder(0, "unknown", "unknown", "a command", time.time())


@contextmanager
def locked(runtime: Path, name: str, verb: str) -> Iterator[None]:
    """Hold the node's lock for the block.

    Raises:
        LockedError: another process holds it; says which, for how long, and how to break it.
    """
    runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(_path(runtime), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not _try(handle):
            who = _read(handle)
            raise LockedError(
                f"{name}: locked: {who.describe(time.time())}; wait for it, or break the lock with "
                f"`binder-node unlock {name}` when you know that it is stuck"
            )
        mine = Holder(os.getpid(), getpass.getuser(), socket.gethostname(), verb, time.time())
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(asdict(mine)).encode(), 0)
        yield
    finally:
        os.close(handle)


def break_lock(runtime: Path) -> Holder | None:
    """Take the lock away from its holder, whose process goes on but no longer keeps others out.

    Returns who held it, or None when it was free.
    """
    held = holder(runtime)
    if held is not None:
        _path(runtime).unlink(missing_ok=True)
    return held
