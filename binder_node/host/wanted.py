"""What a machine shall be, as data: components made of files, links, users and units.

Everything here is made by pure functions (one module a component) and compared with what is on the machine
(:mod:`binder_node.host.diff`). Paths are absolute, on the node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from binder_node.artifacts.model import Artifact
from binder_node.layout import stored

UNITS = "/etc/systemd/system"


@dataclass(frozen=True, slots=True)
class File:
    """A small text. ``secret``: its text and its difference are never shown. Written whole, by rename."""

    path: str
    content: bytes
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    path: str
    target: str


@dataclass(frozen=True, slots=True)
class Folder:
    path: str
    mode: int = 0o755
    owner: str = "root"
    group: str = "root"


@dataclass(frozen=True, slots=True)
class Upload:
    """An artifact under its digest in :data:`binder_node.layout.STORE`; what lies there was verified."""

    artifact: Artifact
    mode: int = 0o755

    @property
    def path(self) -> str:
        return str(stored(self.artifact.name, self.artifact.sha256))


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of a stored artifact, for folders that are mounted alone (a link out of them would dangle)."""

    artifact: Artifact
    path: str

    @property
    def source(self) -> str:
        return str(stored(self.artifact.name, self.artifact.sha256))


@dataclass(frozen=True, slots=True)
class Block:
    """Our lines in a file that is not ours, between two marker lines.

    A path may begin with ``~user/``: the file then is that user's, and closed to others where it has to be made.
    """

    path: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DataDisk:
    """An extra disk for the state folder: ``said`` is ``auto`` or a stable name, ``where`` its mount point.

    ``uuid`` marks the filesystem as this node's, ``size`` is what the inventory says of it in bytes; ``erase`` the
    name of the disk whose content may go, empty when none may.
    """

    said: str
    where: str
    uuid: str
    size: int
    erase: str = ""


@dataclass(frozen=True, slots=True)
class User:
    """A system user with a group of the same name, without login or home."""

    name: str


@dataclass(frozen=True, slots=True)
class Wait:
    """When a started unit is really up: ``tcp`` port on loopback, ``unix`` socket, ``path`` that exists, or a
    ``command`` that succeeds."""

    kind: Literal["tcp", "unix", "path", "command"]
    target: str


@dataclass(frozen=True, slots=True)
class Unit:
    """A systemd unit. ``content`` is None for one that the distribution brings.

    ``restart_on`` are paths (files, links, copies) of which a change restarts it; its own file always does, unless
    ``restarts`` is False (a mount cannot be taken from under what uses it). ``running`` False: enabled only.
    ``instead_of``: not wanted where one of these units is enabled.
    """

    name: str
    content: str | None = None
    enabled: bool = True
    running: bool = True
    restarts: bool = True
    restart_on: tuple[str, ...] = ()
    waits: tuple[Wait, ...] = ()
    deadline: float = 60.0
    instead_of: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        return f"{UNITS}/{self.name}"


@dataclass(frozen=True, slots=True)
class Component:
    """One part of the node.

    ``sysctls`` are values that the kernel must have now (dotted name to value); a key that this kernel does not
    have is left alone.
    """

    name: str
    packages: tuple[str, ...] = ()
    users: tuple[User, ...] = ()
    folders: tuple[Folder, ...] = ()
    uploads: tuple[Upload, ...] = ()
    copies: tuple[Copy, ...] = ()
    files: tuple[File, ...] = ()
    links: tuple[Link, ...] = ()
    blocks: tuple[Block, ...] = ()
    units: tuple[Unit, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    disk: DataDisk | None = None

    def own_paths(self) -> list[str]:
        """What it puts that a later version would have to take away: files, links and copies."""
        return [
            *(file.path for file in self.all_files()),
            *(link.path for link in self.links),
            *(copy.path for copy in self.copies),
        ]

    def all_files(self) -> Iterator[File]:
        """Its files and those of its own units."""
        yield from self.files
        for unit in self.units:
            if unit.content is not None:
                yield File(unit.path, unit.content.encode())


@dataclass(frozen=True, slots=True)
class Wanted:
    """A whole machine; components in the order in which their files are made. systemd orders their units."""

    node: str
    components: tuple[Component, ...]

    def component(self, name: str) -> Component:
        """Raises KeyError when there is none of that name."""
        for component in self.components:
            if component.name == name:
                return component
        raise KeyError(name)


# For what is started again for ever: systemd else refuses to start it after five failures in ten seconds, and the next
# start may be the one that mends it, an upgrade's way back among them (StartLimitIntervalSec in systemd.unit(5)).
FOR_EVER = ("StartLimitIntervalSec", "0")


def unit_file(**sections: list[tuple[str, str]]) -> str:
    """A unit's text from its sections, in order: ``unit_file(Unit=[("Description", "...")])``."""
    parts = []
    for name, settings in sections.items():
        parts.append(f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in settings))
    return "# Made by binder-node; changes here are undone by the next `up`.\n" + "\n".join(parts)
