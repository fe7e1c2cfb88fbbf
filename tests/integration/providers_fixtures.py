"""Names and networks that no other run of these tests on this computer has."""

from __future__ import annotations

import os


def names(prefix: str) -> tuple[str, str]:
    """A node's name, at most 12 characters, and the first three bytes of its network; by this process's id."""
    pid = os.getpid()
    return f"{prefix}{pid % 1_000_000}", f"198.19.{pid % 250 + 1}"
