"""Our programs on the node that talk to a bucket: one package, of which each component puts its own part there."""

from __future__ import annotations

from binder_node.host.observe import script
from binder_node.host.wanted import Component, File, Folder
from binder_node.layout import LIB

PACKAGE = "on_node"
FOLDER = f"{LIB}/{PACKAGE}"
# `python3 -m` looks for it there first. (Python 3.10 has no -P; nobody but root writes there.)
FROM = ("WorkingDirectory", str(LIB))


def programs() -> Component:
    """What they have in common."""
    return Component("programs", folders=(Folder(FOLDER),), files=(program("__init__"), program("s3")))


def program(name: str) -> File:
    """One module; ``name`` is its path below :mod:`binder_node.host.on_node`."""
    return File(f"{FOLDER}/{name}.py", script(name).encode())


def run(name: str, *words: str) -> str:
    """Its command line in a unit that has :data:`FROM`."""
    return " ".join(("/usr/bin/python3", "-m", f"{PACKAGE}.{name}", *words))
