"""Which process a build step's address is of: BuildKit gives each step a network namespace of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
PROC = Path("/proc")


def processes(parent: str) -> Iterator[int]:
    """The first process of each running step, below the group ``parent`` (as engine/guard.py finds them)."""
    unified = (CGROUPS / "cgroup.controllers").exists()
    base = (CGROUPS if unified else CGROUPS / "memory") / parent.strip("/") / "buildkit"
    for group in base.glob("*/cgroup.procs"):
        with contextlib.suppress(OSError):
            found = group.read_text().split()
            if found:
                yield int(found[0])


def has(process: int, address: str) -> bool:
    """Whether ``address`` is one of the process's network namespace's own."""
    try:
        lines = (PROC / str(process) / "net/fib_trie").read_text().splitlines()
    except OSError:
        return False
    return any(line.split()[-1:] == [address] and "host LOCAL" in below for line, below in pairwise(lines))


def command(parent: str, address: str) -> str:
    """The command of the step with ``address``, without its shell; empty where the step has ended."""
    for process in processes(parent):
        if has(process, address):
            try:
                words = (PROC / str(process) / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
            except OSError:
                return ""
            return said(words)
    return ""


def said(words: list[str]) -> str:
    """What stands behind ``RUN``: BuildKit runs it as ``/bin/sh -c TEXT``.

    >>> said(["/bin/sh", "-c", "pip install numpy", ""]), said(["python3", "scan.py", ""])
    ('pip install numpy', 'python3 scan.py')
    """
    plain = [word for word in words if word]
    return plain[2] if len(plain) > 2 and plain[1] == "-c" else " ".join(plain)
