"""A file of networks that users' code shall not reach: one a line, ``#`` begins a comment."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path

from binder_node.errors import InputError, Problem

# Wider than this is a slip that would cut the node from the world.
WIDEST = 8


def read(path: Path) -> list[str]:
    """The networks in the file at ``path``. Raises InputError with every wrong line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(Problem(str(path), 0, "", f"cannot be read: {error}", "make it a readable text")) from None
    found, problems = [], []
    for number, line in enumerate(text.splitlines(), 1):
        said = line.partition("#")[0].strip()
        if not said:
            continue
        try:
            network = IPv4Network(said, strict=False)
        except ValueError:
            right = "write an IPv4 address or network, like 203.0.113.0/24"
            problems.append(Problem(str(path), number, "", f"{said!r} is no network", right))
            continue
        if network.prefixlen < WIDEST:
            wrong = f"{said} is too much of the world"
            problems.append(Problem(str(path), number, "", wrong, f"ban networks of /{WIDEST} or narrower"))
        found.append(str(network))
    if problems:
        raise InputError(*problems)
    return found
