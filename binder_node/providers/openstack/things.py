"""What the provider sees in a cloud, reduced to what it decides by. Pure: no SDK here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

# Keys of metadata (servers, volumes). Nova's and Cinder's keys take letters, digits and "-_:. " only, no slash:
# `metadata` in nova/api/validation/parameter_types.py.
NODE_KEY = "binder-node.node"
MANAGER_KEY, MANAGER = "managed-by", "binder-node"
# Set when the node's server has let us in once. What carries it is never removed but by `destroy`.
USED_KEY, USED = "binder-node.used", "yes"

Kind = Literal["server", "address", "port", "volume", "group"]


def labels(node: str, used: bool = False) -> dict[str, str]:
    """The labels of everything that belongs to ``node``, as metadata."""
    return {MANAGER_KEY: MANAGER, NODE_KEY: node, **({USED_KEY: USED} if used else {})}


def description(node: str, used: bool = False) -> str:
    """The same as one line: what Neutron knows has no metadata, and its tags cannot be given at creation.

    >>> description("bids")
    'managed-by=binder-node binder-node.node=bids'
    """
    return " ".join(f"{key}={value}" for key, value in labels(node, used).items())


def described(text: str | None) -> dict[str, str]:
    """The labels in a description; none in one that a person wrote.

    >>> described("managed-by=binder-node binder-node.node=bids")
    {'managed-by': 'binder-node', 'binder-node.node': 'bids'}
    """
    pairs = (word.partition("=") for word in (text or "").split())
    return {key: value for key, equals, value in pairs if equals}


def owner(found: Mapping[str, str] | None) -> str:
    """The node that labels name; empty where they are not ours."""
    if not found or found.get(MANAGER_KEY) != MANAGER:
        return ""
    return found.get(NODE_KEY, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """Something in the cloud that carries our labels. ``created`` is the API's own time, ISO 8601."""

    region: str
    id: str
    name: str
    node: str
    created: str = ""
    used: bool = False

    @property
    def kind(self) -> Kind:
        raise NotImplementedError

    @property
    def age(self) -> tuple[str, str]:
        """Sorts the oldest first, and so does every operator's: the id decides within one second."""
        return (self.created, self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server(Thing):
    """``status`` and ``task`` as Nova says them (``ACTIVE``, ``BUILD``; ``spawning``); ``fault`` what went wrong."""

    status: str = ""
    task: str = ""
    fault: str = ""
    flavor: str = ""
    locked: bool = False
    volumes: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        return "server"


@dataclass(frozen=True, slots=True, kw_only=True)
class Port(Thing):
    """``address``: its first IPv4 address; ``device``: the id of the server that it is plugged into."""

    address: str = ""
    device: str = ""
    groups: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        return "port"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address(Thing):
    """A floating address; ``port``: where it leads."""

    address: str = ""
    port: str = ""

    @property
    def kind(self) -> Kind:
        return "address"


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume(Thing):
    """``size`` in GiB, as Cinder counts; ``server``: where it is attached."""

    status: str = ""
    size: int = 0
    server: str = ""

    @property
    def kind(self) -> Kind:
        return "volume"


@dataclass(frozen=True, slots=True, order=True)
class Rule:
    """Who may reach a TCP port. ``network`` in CIDR notation."""

    port: int
    network: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group(Thing):
    """A security group; ``rules``: what it lets in, by the rules' ids. One that is not of our kind is ``None``."""

    rules: tuple[tuple[str, Rule | None], ...] = ()

    @property
    def kind(self) -> Kind:
        return "group"


@dataclass(frozen=True, slots=True)
class Found:
    """All that carries a node's labels, over all regions, each kind with the oldest first."""

    servers: tuple[Server, ...] = ()
    addresses: tuple[Address, ...] = ()
    ports: tuple[Port, ...] = ()
    volumes: tuple[Volume, ...] = ()
    groups: tuple[Group, ...] = ()

    def all(self) -> list[Thing]:
        """In the order in which they can be removed."""
        return [*self.servers, *self.addresses, *self.ports, *self.volumes, *self.groups]

    def only(self, keep: Callable[[Thing], bool]) -> Found:
        """The part of it that ``keep`` is true of."""
        return collected(thing for thing in self.all() if keep(thing))

    def without(self, thing: Thing) -> Found:
        return self.only(lambda one: (one.kind, one.region, one.id) != (thing.kind, thing.region, thing.id))

    def having(self, thing: Thing) -> Found:
        """With ``thing`` in place of what has its id, or besides what is there."""
        return collected([*self.without(thing).all(), thing])


def collected(things: Iterable[Thing]) -> Found:
    """Everything by its kind, the oldest first."""
    ours = sorted(things, key=lambda thing: thing.age)
    return Found(
        tuple(thing for thing in ours if isinstance(thing, Server)),
        tuple(thing for thing in ours if isinstance(thing, Address)),
        tuple(thing for thing in ours if isinstance(thing, Port)),
        tuple(thing for thing in ours if isinstance(thing, Volume)),
        tuple(thing for thing in ours if isinstance(thing, Group)),
    )


@dataclass(frozen=True, slots=True)
class Flavor:
    """``memory`` and ``disk`` in bytes."""

    id: str
    name: str
    cpus: int
    memory: int
    disk: int
    disabled: bool = False
    dedicated: bool = False


@dataclass(frozen=True, slots=True)
class Quota:
    """What a region still gives: None where it is without limit or not told. ``memory`` in bytes, ``volume`` in GiB."""

    servers: int | None = None
    cpus: int | None = None
    memory: int | None = None
    volumes: int | None = None
    volume: int | None = None


@dataclass(frozen=True, slots=True)
class Market:
    """What a region offers of what the inventory names; an empty id: it has no such thing."""

    region: str
    flavors: tuple[Flavor, ...] = ()
    image: str = ""
    network: str = ""
    floating: str = ""
    quota: Quota = Quota()


@dataclass(frozen=True, slots=True, order=True)
class Candidate:
    """A flavor to try in a region."""

    region: str
    flavor: str

    def __str__(self) -> str:
        return f"{self.flavor} in {self.region}"
