"""Names and networks that no other run of these tests on this computer has; what a run leaves."""

from __future__ import annotations

import os
from pathlib import Path


def names(prefix: str) -> tuple[str, str]:
    """A node's name, at most 12 characters, and the first three bytes of its network; by this process's id."""
    pid = os.getpid()
    return f"{prefix}{pid % 1_000_000}", f"198.19.{pid % 250 + 1}"


def processes_with(text: str) -> list[str]:
    """Command lines on this computer that have ``text`` in them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if text in command:
            found.append(command)
    return found
