"""A cgroup of its own for a machine, so that all it makes lies below one folder and goes with it."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

BASE = Path("/sys/fs/cgroup")
PARENT = "binder-node-local"


def hierarchies(base: Path = BASE) -> list[Path]:
    """The mounted cgroup hierarchies: the one of v2, or every controller of v1."""
    if (base / "cgroup.controllers").exists():
        return [base]
    found = {path.resolve() for path in base.iterdir() if (path / "cgroup.procs").exists()} if base.exists() else set()
    return sorted(found)


def groups(name: str) -> list[Path]:
    """The machine's cgroup in every hierarchy."""
    return [hierarchy / f"{PARENT}-{name}" for hierarchy in hierarchies()]


def make(name: str) -> list[Path]:
    """Make the machine's cgroups; returns the ``cgroup.procs`` files that take a process in."""
    for group in groups(name):
        group.mkdir(exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):  # v1 takes no process into a cpuset without them
            if (group / file).exists() and not (group / file).read_text().strip():
                (group / file).write_text((group.parent / file).read_text())
    return [group / "cgroup.procs" for group in groups(name)]


def remove(name: str, seconds: float = 10) -> list[Path]:
    """Remove the machine's cgroups with everything below; returns those that are still there after ``seconds``."""
    deadline = time.monotonic() + seconds
    while left := [group for group in groups(name) if group.exists()]:
        for group in left:
            for folder, _, _ in os.walk(group, topdown=False):
                with contextlib.suppress(OSError):  # still busy: its processes are about to be gone
                    os.rmdir(folder)
        if time.monotonic() > deadline:
            return [group for group in left if group.exists()]
        time.sleep(0.05)
    return []
