"""From what is to be done to the operations that the child runs. Pure."""

from __future__ import annotations

import base64
import json
from typing import Any

from binder_node.host.diff import Todo, Work
from binder_node.host.disk import disk_work
from binder_node.host.observe import MANIFEST, script
from binder_node.host.wanted import File, Wanted
from binder_node.layout import MARKERS

FILES_SECONDS, PACKAGES_SECONDS, SYSTEMCTL_SECONDS = 120, 600, 60
# mkfs.xfs discards a disk of some terabytes first, which slow ones take minutes for.
FORMAT_SECONDS = 900
# Databases of some hundred MB, from memory to disk.
RESTORE_SECONDS = 600
RESTORE = "put the backup back"
UNITS = "start units"
WAIT = "wait until they are up"


def operations(wanted: Wanted, todo: Todo, restore: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """In order: the manifest of all that is and was ours, what goes, files, what is put back of a backup (``restore``
    is what on_node/restore.py is told), units all at once, the last manifest.

    systemd starts units that do not depend on each other side by side: that is all the parallelism there has to be.
    """
    found: list[dict[str, Any]] = []
    if todo.first_manifest is not None:
        found.append(_make("manifest", {"files": [_manifest(todo.first_manifest)]}))
    if todo.gone_units:
        found.append(_command("stop old units", ["systemctl", "disable", "--now", *todo.gone_units], SYSTEMCTL_SECONDS))
    for work in todo.works:
        if work.packages:
            name = f"{work.component}: packages"
            found.append({"name": name, "timeout": PACKAGES_SECONDS, "packages": list(work.packages)})
        if asked := _asked(work):
            found.append(_make(f"{work.component}: files", asked))
        if work.disk is not None:
            found.append(_script("disk: make and mount it", "disk", disk_work(work.disk), FORMAT_SECONDS))
    if restore is not None:
        found.append(_script(RESTORE, "restore", restore, RESTORE_SECONDS))
    found += _units(wanted, todo)
    if todo.manifest is not None:
        found.append(_make("tidy", {"removed": list(todo.removed), "files": [_manifest(todo.manifest)]}))
        if todo.gone_units:
            found.append(_command("forget old units", ["systemctl", "daemon-reload"], SYSTEMCTL_SECONDS))
    return found


def _units(wanted: Wanted, todo: Todo) -> list[dict[str, Any]]:
    found = []
    if todo.reload:
        found.append(_command("read units", ["systemctl", "daemon-reload"], SYSTEMCTL_SECONDS))
    if todo.enable:
        found.append(_command("enable units", ["systemctl", "enable", *todo.enable], SYSTEMCTL_SECONDS))
    if todo.restart:
        units = [unit for component in wanted.components for unit in component.units]
        longest = max(unit.deadline for unit in units)
        found.append(_command(UNITS, ["systemctl", "restart", *todo.restart], longest + SYSTEMCTL_SECONDS))
        waits = [
            {"unit": unit.name, "kind": wait.kind, "target": wait.target, "deadline": unit.deadline}
            for unit in units
            for wait in unit.waits
        ]
        found.append(_script(WAIT, "wait", waits, longest + SYSTEMCTL_SECONDS))
    return found


def _asked(work: Work) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "users": list(work.users),
        "folders": [
            {"path": folder.path, "mode": folder.mode, "owner": folder.owner, "group": folder.group}
            for folder in work.folders
        ],
        "copies": [{"path": copy.path, "source": copy.source} for copy in work.copies],
        "files": [_file(file) for file in work.files],
        "links": [{"path": link.path, "target": link.target} for link in work.links],
        "blocks": [
            {"path": block.path, "lines": list(block.lines), "begin": MARKERS[0], "end": MARKERS[1]}
            for block in work.blocks
        ],
    }
    return {kind: things for kind, things in asked.items() if things}


def _file(file: File) -> dict[str, Any]:
    return {
        "path": file.path,
        "content": base64.b64encode(file.content).decode(),
        "mode": file.mode,
        "owner": file.owner,
        "group": file.group,
    }


def _manifest(content: bytes) -> dict[str, Any]:
    return _file(File(MANIFEST, content))


def _make(name: str, asked: dict[str, Any]) -> dict[str, Any]:
    return _script(name, "make", asked, FILES_SECONDS)


def _script(name: str, which: str, asked: Any, timeout: float) -> dict[str, Any]:
    return {"name": name, "timeout": int(timeout), "script": script(which), "ask": json.dumps(asked)}


def _command(name: str, words: list[str], timeout: float) -> dict[str, Any]:
    return {"name": name, "timeout": int(timeout), "command": words}
