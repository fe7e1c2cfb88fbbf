"""What a Hetzner project holds, as far as a node is concerned. Plain data: nothing here knows the API's library."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from binder_node.providers.hetzner.market import Choice

# The only memory there is. https://docs.hetzner.cloud/reference/cloud#labels
NODE_LABEL = "binder-node/node"
MANAGER_LABEL, MANAGER = "managed-by", "binder-node"


def labels(name: str) -> dict[str, str]:
    """The labels of everything that belongs to the node ``name``."""
    return {NODE_LABEL: name, MANAGER_LABEL: MANAGER}


def selector(name: str = "") -> str:
    """The label selector of the node's things; without a name, of all nodes'."""
    return f"{MANAGER_LABEL}={MANAGER}" + (f",{NODE_LABEL}={name}" if name else "")


@dataclass(frozen=True, slots=True)
class Thing:
    """What all kinds have. ``id`` is unique within its kind, and so is ``name`` within a project."""

    id: int
    name: str
    labels: Mapping[str, str]

    @property
    def node(self) -> str:
        """The node that it belongs to; empty for what is not binder-node's."""
        return self.labels.get(NODE_LABEL, "") if self.labels.get(MANAGER_LABEL) == MANAGER else ""


@dataclass(frozen=True, slots=True)
class Key(Thing):
    public_key: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Rule:
    """What a firewall lets in: ``protocol`` and ``port`` (empty for icmp) from ``sources`` in CIDR form."""

    protocol: str
    port: str
    sources: tuple[str, ...]
    description: str = ""


@dataclass(frozen=True, slots=True)
class Firewall(Thing):
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class Group(Thing):
    """A placement group; ``servers`` are ids."""

    servers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Address(Thing):
    """A primary IPv4 address. ``server`` is the id of the one that has it; ``auto_delete``: it goes with that one."""

    ip: str = ""
    location: str = ""
    server: int | None = None
    auto_delete: bool = False
    protected: bool = False


@dataclass(frozen=True, slots=True)
class Volume(Thing):
    """``size`` in GB (10**9 bytes by the price list), ``device`` its path on a server that it is attached to."""

    size: int = 0
    location: str = ""
    server: int | None = None
    device: str = ""
    protected: bool = False


@dataclass(frozen=True, slots=True)
class Server(Thing):
    """``status`` in the API's words; ``failed``: why its creation failed, where it did."""

    status: str = ""
    type: str = ""
    location: str = ""
    ip: str = ""
    address: int | None = None
    firewalls: frozenset[int] = frozenset()
    locked: bool = False
    protected: bool = False
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Project:
    """Everything that was asked for, of every kind."""

    servers: tuple[Server, ...] = ()
    keys: tuple[Key, ...] = ()
    firewalls: tuple[Firewall, ...] = ()
    groups: tuple[Group, ...] = ()
    addresses: tuple[Address, ...] = ()
    volumes: tuple[Volume, ...] = ()

    def kinds(self) -> dict[str, tuple[Thing, ...]]:
        """What there is by its kind, in the API's words."""
        return {
            "server": self.servers,
            "volume": self.volumes,
            "primary IP": self.addresses,
            "firewall": self.firewalls,
            "placement group": self.groups,
            "ssh key": self.keys,
        }


T = TypeVar("T", bound=Thing)


def of_node(things: Iterable[T], name: str) -> T | None:
    """The node's own thing among ``things``; the oldest (they are sorted by id) where there are several."""
    return next((thing for thing in sorted(things, key=lambda one: one.id) if thing.node == name), None)


@dataclass(frozen=True, slots=True)
class Seen:
    """One look. ``choice``: what could be made, where there is no server; ``hindrance``: what keeps us from logging
    in; ``mounted``: the state lies on its volume.
    """

    project: Project = field(default_factory=Project)
    choice: Choice | None = None
    hindrance: str = "there is no server yet"
    mounted: bool = False
