"""The inventory's own file of who is banned, in the form of :mod:`binder_node.spec.lists`."""

from __future__ import annotations

from pathlib import Path

from binder_node.errors import InputError, Problem
from binder_node.spec import lists
from binder_node.spec.lists import Banned


def read(path: Path, own: str = "") -> Banned:
    """What the file at ``path`` says; ``own`` is the node's address, empty where it is not known.

    Raises:
        InputError: it cannot be read, or has wrong lines, each of which is told.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(Problem(str(path), 0, "", f"cannot be read: {error}", "make it a readable text")) from None
    found, wrong = lists.read(text, own)
    if wrong:
        raise InputError(*(Problem(str(path), one.line, "", one.wrong, one.right) for one in wrong))
    return found
