"""A cgroup of its own for a machine, so that all it makes lies below one folder and goes with it."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

BASE = Path("/sys/fs/cgroup")


def hierarchies(base: Path = BASE) -> list[Path]:
    """The mounted cgroup hierarchies: the one of v2, or every controller of v1."""
    if (base / "cgroup.controllers").exists():
        return [base]
    found = {path.resolve() for path in base.iterdir() if (path / "cgroup.procs").exists()} if base.exists() else set()
    return sorted(found)


def groups(name: str, base: Path = BASE) -> list[Path]:
    """The cgroup ``name`` in every hierarchy."""
    return [hierarchy / name for hierarchy in hierarchies(base)]


def make(name: str, base: Path = BASE) -> list[Path]:
    """Make the machine's cgroups; returns the ``cgroup.procs`` files that take a process in."""
    for group in groups(name, base):
        _offer_all(group.parent)
        group.mkdir(exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):  # v1 takes no process into a cpuset without them
            if (group / file).exists() and not (group / file).read_text().strip():
                (group / file).write_text((group.parent / file).read_text())
    return [group / "cgroup.procs" for group in groups(name, base)]


def _offer_all(root: Path) -> None:
    """Offer every controller of a v2 hierarchy to the groups below; the kubelet in the machine asks for cpuset.

    systemd offers only those that a unit of this computer asked for.
    """
    offered = root / "cgroup.subtree_control"
    if not offered.exists():
        return
    for controller in (root / "cgroup.controllers").read_text().split():
        with contextlib.suppress(OSError):  # one that the kernel keeps to itself: the kubelet will say so if it matters
            offered.write_text(f"+{controller}")


def remove(name: str, seconds: float = 10, base: Path = BASE) -> list[Path]:
    """Remove the machine's cgroups with everything below; returns those that are still there after ``seconds``."""
    deadline = time.monotonic() + seconds
    while left := [group for group in groups(name, base) if group.exists()]:
        for group in left:
            for folder, _, _ in os.walk(group, topdown=False):
                with contextlib.suppress(OSError):  # still busy: its processes are about to be gone
                    os.rmdir(folder)
        if time.monotonic() > deadline:
            return [group for group in left if group.exists()]
        time.sleep(0.05)
    return []
