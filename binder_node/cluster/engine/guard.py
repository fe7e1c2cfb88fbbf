"""Runs on the node, with Python's standard library only: ends build steps that fill the disk, and left-over ones.

    python3 guard.py --parent binder-node-builds --limit 2000000000     watch for ever
    python3 guard.py --parent binder-node-builds --sweep                end every step, once

BuildKit runs each step in a control group of its own below the one that its configuration names
(``defaultCgroupParent``), on an overlay whose upper folder is what the step has written so far. BuildKit itself
cannot say how large that is while the step writes, and the overlay has no quota: so we look.

``--sweep`` is for buildkitd's start: containerd keeps the steps of a buildkitd that was killed, and nothing else ever
ends them.
"""

from __future__ import annotations

import argparse
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
PROC = Path("/proc")
# Seconds between two looks; a look that takes long is followed by a rest at least four times as long.
PAUSE, REST = 2.0, 4.0


def groups(parent: str) -> Iterator[Path]:
    """The control group of each running step: one below ``<parent>/buildkit`` (executor/oci/spec.go, v0.33.1)."""
    unified = (CGROUPS / "cgroup.controllers").exists()
    base = (CGROUPS if unified else CGROUPS / "memory") / parent.strip("/") / "buildkit"
    if base.is_dir():
        yield from sorted(path for path in base.iterdir() if path.is_dir())


def processes(group: Path) -> list[int]:
    """The step's processes."""
    try:
        return [int(line) for line in (group / "cgroup.procs").read_text().split()]
    except OSError:
        return []  # it has ended


def written(process: int) -> Path | None:
    """The folder that takes what the step writes; None before the step has its own root, or after its end."""
    try:
        mounts = (PROC / str(process) / "mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return None
    for line in mounts:
        fields, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if fields.split(" ")[4] != "/" or kind != "overlay":
            continue
        for option in options.split(","):
            # Never the machine's own root, should that be an overlay: a process has it until it gets its own.
            if option.startswith("upperdir=") and "/snapshots/" in option:
                return Path(option.partition("=")[2])
    return None


def size(folder: Path) -> int:
    """Bytes on the disk below ``folder``, each file once; what vanishes meanwhile is not counted."""
    total, seen, waiting = 0, set(), [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    try:
                        found = entry.stat(follow_symlinks=False)
                    except OSError:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
                    elif found.st_nlink > 1:
                        if found.st_ino in seen:
                            continue
                        seen.add(found.st_ino)
                    total += found.st_blocks * 512
        except OSError:
            continue
    return total


def end(group: Path) -> int:
    """Kill every process of a step; returns how many there were."""
    found = processes(group)
    for process in found:
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return len(found)


def look(parent: str, limit: int) -> None:
    """End the steps that have written more than ``limit`` bytes, with a line for the journal each."""
    for group in groups(parent):
        for process in processes(group)[:1]:
            folder = written(process)
            used = size(folder) if folder else 0
            if used > limit:
                end(group)
                print(f"ended build step {group.name}: it had written {used} bytes, of {limit}", flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--parent", required=True, help="buildkitd's defaultCgroupParent")
    parser.add_argument("--limit", type=int, default=0, help="bytes that one step may write")
    parser.add_argument("--sweep", action="store_true", help="end every step there is, and exit")
    given = parser.parse_args()
    if given.sweep:
        ended = sum(end(group) for group in groups(given.parent))
        print(f"ended {ended} left-over processes of builds", flush=True)
        return
    while True:
        began = time.monotonic()
        look(given.parent, given.limit)
        time.sleep(max(PAUSE, REST * (time.monotonic() - began)))


if __name__ == "__main__":
    main()
