"""The BinderHub configuration that keeps banned repositories from being launched: a text for ``extraConfig``, a mount.

BinderHub's own ``banned_specs`` are patterns of one provider's specs, read at its start. Ours are repositories,
whatever provider asks for them, in files of the node: a new list needs no restart, which would break off launches.
"""

from __future__ import annotations

from inspect import getsource
from string import Template
from typing import Any

from binder_node.layout import BANNED_FETCHED, BANNED_OWN
from binder_node.spec import lists

POD_BANNED, VOLUME, CONFIG = "/run/binder-node/banned", "binder-node-banned", "40-binder-node-banned"

_SOURCE = Template('''\
import os
import posixpath
import re
import sys
from urllib.parse import unquote

from binderhub.repoproviders import RepoProvider

$place

$is_banned

_read = {}


def _listed(path):
    """A file's lines, read again when it is another one; what cannot be read is as it was."""
    try:
        about = os.stat(path)
        mark = (about.st_ino, about.st_mtime_ns)
        if _read.get(path, (None,))[0] != mark:
            with open(path, encoding="utf-8") as file:
                _read[path] = (mark, file.read().split())
    except FileNotFoundError:
        _read.pop(path, None)
    except (OSError, ValueError) as error:
        print(f"binder-node: who is banned cannot be read: {error}", file=sys.stderr, flush=True)
    return _read.get(path, (None, ()))[1]


def _banning(upstream):
    def banned(self):
        if upstream(self):
            return True
        try:
            return any(is_banned(self.get_repo_url(), _listed(path)) for path in $paths)
        except Exception as error:  # a provider that cannot tell its URL yet
            print(f"binder-node: not known whether {self.spec} is banned: {error!r}", file=sys.stderr, flush=True)
            return False

    return banned


if hasattr(RepoProvider, "is_banned"):
    RepoProvider.is_banned = _banning(RepoProvider.is_banned)
else:
    print("binder-node: nothing is banned: this BinderHub has no RepoProvider.is_banned", file=sys.stderr, flush=True)
''')


def banned_source(by_url: bool) -> str:
    """Python source. Tried with the providers of binderhub b9fad995."""
    names = (BANNED_OWN, *([BANNED_FETCHED] if by_url else []))
    return _SOURCE.substitute(
        place=getsource(lists.place),
        is_banned=getsource(lists.is_banned).replace("Iterable[str]", "list"),
        paths=repr([f"{POD_BANNED}/{name}" for name in names]),
    )


def banned_mount(folder: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Volume and mount; ``folder`` is the node's."""
    return (
        {"name": VOLUME, "hostPath": {"path": folder, "type": "Directory"}},
        {"name": VOLUME, "mountPath": POD_BANNED, "readOnly": True},
    )
