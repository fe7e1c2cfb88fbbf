"""What is to be done to a machine, from what is wanted and what was seen. Pure."""

from __future__ import annotations

import base64
import difflib
from dataclasses import dataclass
from typing import Any

from binder_node.changes import Action, Change
from binder_node.host.disk import DiskWork, disk_changes, disk_work_of
from binder_node.host.observe import MANIFEST, Seen, digest, manifest_of
from binder_node.host.wanted import Block, Component, Copy, File, Folder, Link, Unit, Upload, Wanted
from binder_node.layout import STORE

STAGE = "host"
# Uploads that were cut; nothing looks into them again.
PART = ".part-"


@dataclass(frozen=True, slots=True)
class Work:
    """What one component lacks."""

    component: str
    packages: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    folders: tuple[Folder, ...] = ()
    uploads: tuple[Upload, ...] = ()
    copies: tuple[Copy, ...] = ()
    files: tuple[File, ...] = ()
    links: tuple[Link, ...] = ()
    blocks: tuple[Block, ...] = ()
    disk: DiskWork | None = None

    @property
    def empty(self) -> bool:
        return self == Work(self.component)

    @property
    def touched(self) -> set[str]:
        """Paths that change under a unit's feet."""
        return {*(c.path for c in self.copies), *(f.path for f in self.files), *(link.path for link in self.links)}


@dataclass(frozen=True, slots=True)
class Todo:
    """All that is to be done, in the order of its fields; ``changes`` says it line by line.

    ``first_manifest`` also names what is still to be removed, ``manifest`` is the last thing written.
    """

    works: tuple[Work, ...]
    gone_units: tuple[str, ...]
    enable: tuple[str, ...]
    restart: tuple[str, ...]
    reload: bool
    removed: tuple[str, ...]
    first_manifest: bytes | None
    manifest: bytes | None
    changes: tuple[Change, ...]


def todo(wanted: Wanted, seen: Seen) -> Todo:
    """Compare. On a machine that does not exist, everything is to be done."""
    works = [_work(component, seen) for component in wanted.components]
    # Of all components: two may have units of one binary.
    touched = {path for work in works for path in work.touched}
    units = [_units(component, touched, seen) for component in wanted.components]
    enable = tuple(name for found in units for name in found.enable)
    restart = tuple(name for found in units for name, _ in found.restart)
    gone_units, removed = _leftovers(wanted, seen)
    manifest = manifest_of(wanted)
    old = seen.files.get(MANIFEST)
    new_manifest = old is None or old.get("sha256") != digest(manifest)
    own = {unit.path for component in wanted.components for unit in component.units if unit.content is not None}
    changes = [change for work in works for change in _changes(work, seen)]
    changes += [Change(STAGE, "delete", f"unit {name}, no longer wanted") for name in gone_units]
    changes += [Change(STAGE, "delete", f"{path}, no longer wanted") for path in removed]
    changes += [Change(STAGE, "update", f"enable {name}") for name in enable]
    changes += [change for found in units for change in found.changes()]
    if new_manifest and not changes:
        changes.append(Change(STAGE, "update", f"{MANIFEST}: what binder-node put here"))
    return Todo(
        works=tuple(work for work in works if not work.empty),
        gone_units=gone_units,
        enable=enable,
        restart=restart,
        reload=bool(own & touched) or any(found.reload for found in units),
        removed=removed,
        first_manifest=manifest_of(wanted, seen.manifest) if new_manifest else None,
        manifest=manifest if new_manifest or removed or gone_units else None,
        changes=tuple(changes),
    )


# --- files ---------------------------------------------------------------------------------------------------------


def _work(component: Component, seen: Seen) -> Work:
    missing_units = [
        unit.name.removesuffix(".service")
        for unit in component.units
        if unit.instead_of
        and seen.exists
        and not _replaced(unit, seen)
        and _property(seen, unit, "LoadState") != "loaded"
    ]
    packages = (
        component.packages if not seen.exists else tuple(p for p in component.packages if p in seen.missing_packages)
    )
    return Work(
        component.name,
        packages=(*packages, *missing_units),
        users=tuple(user.name for user in component.users if not seen.exists or user.name in seen.missing_users),
        folders=tuple(folder for folder in component.folders if not _folder_is(folder, seen)),
        uploads=tuple(upload for upload in component.uploads if not _upload_is(upload, seen)),
        copies=tuple(copy for copy in component.copies if not _copy_is(copy, component, seen)),
        files=tuple(file for file in component.all_files() if not _file_is(file, seen)),
        links=tuple(link for link in component.links if not _link_is(link, seen)),
        blocks=tuple(block for block in component.blocks if seen.blocks.get(block.path) != list(block.lines)),
        disk=disk_work_of(component.disk, seen.disks) if component.disk is not None else None,
    )


def _owned(about: dict[str, Any], owner: str, group: str) -> bool:
    user, its_group, uid, gid = about["owner"]
    return owner in (user, uid) and group in (its_group, gid)


def _folder_is(folder: Folder, seen: Seen) -> bool:
    about = seen.paths.get(folder.path)
    return (
        about is not None
        and about["kind"] == "folder"
        and about["mode"] == folder.mode
        and _owned(about, folder.owner, folder.group)
    )


def _upload_is(upload: Upload, seen: Seen) -> bool:
    """Name and size: what has the name was verified before it was given it."""
    about = seen.paths.get(upload.path)
    return (
        about is not None
        and about["kind"] == "file"
        and about["size"] == upload.artifact.size
        and about["mode"] == upload.mode
    )


def _copy_is(copy: Copy, component: Component, seen: Seen) -> bool:
    about, source = seen.paths.get(copy.path), seen.paths.get(copy.source)
    if about is None or source is None or about["kind"] != "file":
        return False
    uploads = {upload.path: upload for upload in component.uploads}
    if copy.source in uploads and not _upload_is(uploads[copy.source], seen):
        return False
    return bool(about["size"] == source["size"] and about["modified"] == source["modified"])


def _file_is(file: File, seen: Seen) -> bool:
    about = seen.files.get(file.path)
    return (
        about is not None
        and about["kind"] == "file"
        and about["sha256"] == digest(file.content)
        and about["mode"] == file.mode
        and _owned(about, file.owner, file.group)
    )


def _link_is(link: Link, seen: Seen) -> bool:
    about = seen.paths.get(link.path)
    return about is not None and about["kind"] == "link" and about["target"] == link.target


# --- units ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Units:
    enable: tuple[str, ...]
    restart: tuple[tuple[str, str], ...]  # name, why
    reload: bool

    def changes(self) -> list[Change]:
        return [
            Change(STAGE, "start" if why == "it is not running" else "restart", f"{name}: {why}")
            for name, why in self.restart
        ]


def _units(component: Component, touched: set[str], seen: Seen) -> _Units:
    enable, restart, reload = [], [], False
    for unit in component.units:
        if _replaced(unit, seen):
            continue
        # A distribution's own unit may be static: systemd pulls it in without being asked.
        if unit.enabled and _property(seen, unit, "UnitFileState") not in ("enabled", "alias", "static"):
            enable.append(unit.name)
        reload = reload or _property(seen, unit, "NeedDaemonReload") == "yes"
        if unit.running and (why := _why_restart(unit, component, touched, seen)):
            restart.append((unit.name, why))
    return _Units(tuple(enable), tuple(restart), reload)


def _property(seen: Seen, unit: Unit, name: str) -> str:
    return str(seen.units.get(unit.name, {}).get(name, ""))


def _replaced(unit: Unit, seen: Seen) -> bool:
    return any(seen.units.get(other, {}).get("UnitFileState") == "enabled" for other in unit.instead_of)


def _why_restart(unit: Unit, component: Component, touched: set[str], seen: Seen) -> str:
    """Why the unit must be started or started anew; empty when it need not.

    A change that came before its last start is in force; one that came after (an ``up`` that was killed between the
    two) is not: the file's ctime tells, so that nothing has to be remembered.
    """
    about = seen.units.get(unit.name, {})
    # A unit whose condition said no (swap in a container) is where it shall be.
    skipped = about.get("ConditionResult") == "no" and about.get("asked", 0.0) > 0
    if about.get("ActiveState") not in ("active", "reloading") and not skipped:
        return "it is not running"
    if not unit.restarts:
        return ""
    own = (unit.path,) if unit.content is not None else ()
    if changing := [path for path in (*own, *unit.restart_on) if path in touched]:
        return f"{changing[0]} changes"
    since = about["asked"] if skipped else about["started"]
    for path in (*own, *unit.restart_on):
        there = seen.files.get(path) or seen.paths.get(path)
        if there is not None and there["changed"] > since:
            return f"{path} changed after it was started"
    if component.sysctls and unit.restart_on and unit.name == "systemd-sysctl.service":
        for key, value in component.sysctls.items():
            if (now := seen.sysctls.get(key)) is not None and now.split() != value.split():
                return f"{key} is {now}, not {value}"
    return ""


# --- leftovers -----------------------------------------------------------------------------------------------------


def _leftovers(wanted: Wanted, seen: Seen) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Units and paths that an older version put and this one does not; stored artifacts but the one before."""
    ours = {path for component in wanted.components for path in component.own_paths()}
    own_units = {unit.name for c in wanted.components for unit in c.units if unit.content is not None}
    units = tuple(name for name in seen.manifest.get("units", []) if name not in own_units)
    paths = [path for path in seen.manifest.get("paths", []) if path not in ours]
    uploads = {upload.path for c in wanted.components for upload in c.uploads}
    old: dict[str, list[tuple[float, str]]] = {}
    for name, came in seen.store.items():
        path = f"{STORE}/{name}"
        if name.startswith(PART):
            paths.append(path)
        elif path not in uploads:
            old.setdefault(name.rpartition("-")[0], []).append((came, path))
    # The version before stays: going back is a link.
    paths += [path for found in old.values() for _, path in sorted(found, reverse=True)[1:]]
    return units, tuple(paths)


# --- what a person reads -------------------------------------------------------------------------------------------


def _changes(work: Work, seen: Seen) -> list[Change]:
    def change(action: Action, what: str, diff: str = "") -> Change:
        return Change(STAGE, action, f"{work.component}: {what}", diff)

    changes = [change("create", f"package {name}") for name in work.packages]
    changes += [change("create", f"user {name}") for name in work.users]
    for folder in work.folders:
        what = f"folder {folder.path} ({folder.mode:04o} {folder.owner}:{folder.group})"
        changes.append(change("update" if seen.paths.get(folder.path) else "create", what))
    for upload in work.uploads:
        artifact = upload.artifact
        changes.append(change("create", f"upload {artifact.name} {artifact.version} ({artifact.size / 1e6:.0f} MB)"))
    changes += [change("create", f"copy {copy.path} of {copy.artifact.name}") for copy in work.copies]
    for file in work.files:
        about = seen.files.get(file.path)
        changes.append(change("update" if about else "create", file.path, file_diff(file, about)))
    for link in work.links:
        about = seen.paths.get(link.path)
        changes.append(change("update" if about else "create", f"link {link.path} -> {link.target}"))
    for block in work.blocks:
        old = seen.blocks.get(block.path) or []
        changes.append(change("update", f"lines in {block.path}", unified(block.path, old, list(block.lines))))
    changes += [change(action, what) for action, what in disk_changes(work.disk)]
    return changes


def file_diff(file: File, about: dict[str, Any] | None) -> str:
    """A unified diff; of a secret file, and of one that is too large, only that it changes."""
    if about is None or about.get("kind") != "file":
        return "(secret)\n" if file.secret else unified(file.path, [], _lines(file.content))
    notes = ""
    if about["mode"] != file.mode:
        notes += f"mode {about['mode']:04o} -> {file.mode:04o}\n"
    if not _owned(about, file.owner, file.group):
        user, group, *_ = about["owner"]
        notes += f"owner {user}:{group} -> {file.owner}:{file.group}\n"
    if about["sha256"] == digest(file.content):
        return notes
    if file.secret:
        return notes + "(secret; it changes)\n"
    if "text" not in about:
        return notes + "(too large to show)\n"
    return notes + unified(file.path, _lines(base64.b64decode(about["text"])), _lines(file.content))


def _lines(content: bytes) -> list[str]:
    return content.decode("utf-8", "replace").splitlines()


def unified(path: str, old: list[str], new: list[str]) -> str:
    """A unified diff of two lists of lines, with a line end after each."""
    names = (path if old else "/dev/null", path)
    return "".join(f"{line}\n" for line in difflib.unified_diff(old, new, *names, lineterm="", n=2))
