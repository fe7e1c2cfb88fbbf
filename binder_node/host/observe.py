"""One question to a machine, asked in one round trip: what is there of what is wanted. Pure but for :func:`script`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from binder_node.host.wanted import Wanted
from binder_node.layout import ETC, JOBS_STATE, MARKERS, RESTORED, STORE

MANIFEST = str(ETC / "manifest.json")


@dataclass(frozen=True, slots=True)
class Seen:
    """What :mod:`binder_node.host.on_node.look` answered, by path or name; empty for a machine that does not exist.

    ``files`` and ``paths``: None where nothing is; ``units``: systemd's properties; ``manifest``: what an ``up``
    before this one put (``paths`` still there, ``units`` no longer wanted); ``machine``: its size and kind;
    ``restored``: the backup that it was made from, and how far that got (on_node/restore.py); ``disks``: what
    :func:`binder_node.host.disk.disks` reads, where the inventory names a data disk; ``jobs``: how what timers start
    has ended, by its name (on_node/record.py).
    """

    exists: bool = False
    files: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    paths: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    blocks: dict[str, list[str] | None] = field(default_factory=dict)
    units: dict[str, dict[str, Any]] = field(default_factory=dict)
    sysctls: dict[str, str | None] = field(default_factory=dict)
    missing_packages: list[str] = field(default_factory=list)
    missing_users: list[str] = field(default_factory=list)
    manifest: dict[str, list[str]] = field(default_factory=dict)
    store: dict[str, float] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    restored: dict[str, str] = field(default_factory=dict)
    disks: dict[str, Any] | None = None
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)


def script(name: str) -> str:
    """The text of a script of :mod:`binder_node.host.on_node`."""
    return (files("binder_node.host.on_node") / f"{name}.py").read_text(encoding="utf-8")


def question(wanted: Wanted, state: str, also: Iterable[str] = ()) -> str:
    """The JSON that ``look`` is handed: names, paths (``also`` these) and digests; no secret is in it."""
    components = wanted.components
    every = [file for component in components for file in component.all_files()]
    paths = set(also)
    for component in components:
        paths.update(folder.path for folder in component.folders)
        paths.update(link.path for link in component.links)
        paths.update(upload.path for upload in component.uploads)
        paths.update(path for copy in component.copies for path in (copy.path, copy.source))
    units = [unit for component in components for unit in component.units]
    digests = {file.path: {"sha256": digest(file.content), "show": not file.secret} for file in every}
    # The manifest is a file like the others, made last.
    digests[MANIFEST] = {"sha256": digest(manifest_of(wanted)), "show": False}
    ask = {
        "files": digests,
        "paths": sorted(paths),
        "blocks": sorted(block.path for component in components for block in component.blocks),
        "markers": MARKERS,
        "units": sorted({name for unit in units for name in (unit.name, *unit.instead_of)}),
        "sysctls": sorted(key for component in components for key in component.sysctls),
        "packages": sorted({package for component in components for package in component.packages}),
        "users": sorted({user.name for component in components for user in component.users}),
        "manifest": MANIFEST,
        "store": str(STORE),
        "restored": str(RESTORED),
        "state": state,
        "jobs": f"{state}/{JOBS_STATE}",
        "disks": any(component.disk for component in components),
    }
    return json.dumps(ask)


def answer(text: str) -> Seen:
    """Raises ValueError where ``text`` is not what ``look`` prints."""
    return Seen(exists=True, **json.loads(text))


def manifest_of(wanted: Wanted, also: dict[str, list[str]] | None = None) -> bytes:
    """What we put on the machine, so that a later version knows what to remove; ``also`` is what is still to go."""
    also = also or {}
    paths, units = set(also.get("paths", [])), set(also.get("units", []))
    for component in wanted.components:
        paths.update(component.own_paths())
        units.update(unit.name for unit in component.units if unit.content is not None)
    return (json.dumps({"paths": sorted(paths), "units": sorted(units)}, indent=1) + "\n").encode()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
