"""A member's entry in a checkout of the federation's repository, on the disk."""

from __future__ import annotations

import os
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

from binder_node import files
from binder_node.errors import InputError, Problem
from binder_node.federation import checkout
from binder_node.federation.config import Federation


@dataclass(frozen=True, slots=True)
class Checkout:
    """``path`` is the checkout's folder, or the file itself that has the hosts. ``member`` is the name there."""

    path: Path
    member: str

    @property
    def hosts(self) -> Path:
        return self.path / checkout.PROD if self.path.is_dir() else self.path

    @property
    def values(self) -> Path:
        """The member's own values."""
        return self.hosts.parent / f"{self.member}.yaml"

    def federation(self) -> Federation:
        """Who is in it. Raises InputError."""
        return checkout.federation(read(self.hosts), str(self.hosts))

    def write(self, weight: int) -> str:
        """Give the member this weight; the diff. Raises InputError."""
        old = read(self.hosts)
        new = checkout.set_weight(old, self.member, weight, str(self.hosts))
        return put(self.hosts, old, new)


def read(path: Path) -> str:
    """A file's text with its own ends of lines. Raises InputError."""
    return files.text(path, "name a checkout of the federation's repository, or its file with the hosts")


def put(path: Path, old: str, new: str) -> str:
    """Write ``new`` in the place of ``old``, as a whole; the diff, empty where nothing changed. Raises InputError."""
    if new == old:
        return ""
    try:
        files.replace(path, new.encode(), os.stat(path).st_mode & 0o7777)
    except OSError as error:
        right = "make it writable"
        raise InputError(Problem(str(path), 0, "", f"cannot be written: {error.strerror}", right)) from None
    rows = unified_diff(old.splitlines(), new.splitlines(), str(path), str(path), lineterm="", n=2)
    return "\n".join(rows)
