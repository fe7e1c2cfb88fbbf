"""What can be done to a cloud, one thing at a time: decided in :mod:`plan`, done in :mod:`work`. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from binder_node.changes import Change
from binder_node.providers.openstack.things import Address, Candidate, Group, Port, Rule, Server, Thing, Volume

STAGE = "machine"


@dataclass(frozen=True, slots=True)
class Remove:
    """``why`` is a half sentence for the operator."""

    thing: Thing
    why: str


@dataclass(frozen=True, slots=True)
class MakeGroup:
    region: str


@dataclass(frozen=True, slots=True)
class SetRules:
    """``drop``: ids of rules."""

    group: Group
    add: tuple[Rule, ...]
    drop: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MakePort:
    region: str
    network: str
    group: Group


@dataclass(frozen=True, slots=True)
class SetGroup:
    """Have the port guarded by the group, and by no other."""

    port: Port
    group: Group


@dataclass(frozen=True, slots=True)
class MakeAddress:
    region: str
    network: str
    port: Port


@dataclass(frozen=True, slots=True)
class SetPort:
    """Lead the floating address to the port."""

    address: Address
    port: Port


@dataclass(frozen=True, slots=True)
class MakeVolume:
    """``size`` in GiB."""

    region: str
    size: int


@dataclass(frozen=True, slots=True)
class MakeServer:
    """``flavor`` and ``image`` are ids."""

    candidate: Candidate
    flavor: str
    image: str
    port: Port


@dataclass(frozen=True, slots=True)
class Start:
    server: Server


@dataclass(frozen=True, slots=True)
class Wait:
    """``what`` is waited for; ``last``: what it is now."""

    thing: Thing
    what: str
    last: str


@dataclass(frozen=True, slots=True)
class Knock:
    """Wait until ssh lets us in."""

    server: Server
    address: str


@dataclass(frozen=True, slots=True)
class Attach:
    volume: Volume
    server: Server


@dataclass(frozen=True, slots=True)
class Mount:
    """Format the volume where it is empty, and have it at the state folder, now and at every boot."""

    volume: Volume
    state: Path


@dataclass(frozen=True, slots=True)
class Mark:
    """Write down that these have been in use: from now on nothing but ``destroy`` removes them."""

    things: tuple[Thing, ...]


@dataclass(frozen=True, slots=True)
class Refuse:
    """It cannot go on: why, and what to do about it. ``step`` is what was to be done."""

    step: str
    reason: str
    remedy: str


Step = (
    Remove
    | MakeGroup
    | SetRules
    | MakePort
    | SetGroup
    | MakeAddress
    | SetPort
    | MakeVolume
    | MakeServer
    | Start
    | Wait
    | Knock
    | Attach
    | Mount
    | Mark
    | Refuse
)


def title(thing: Thing) -> str:
    """A thing as an operator finds it in the cloud's manager: ``server bids in GRA11``."""
    words = {"group": "security group", "address": "floating address"}
    name = thing.address if isinstance(thing, Address) else thing.name
    if isinstance(thing, Port) and thing.address:
        name = f"{thing.name} ({thing.address})"
    return f"{words.get(thing.kind, thing.kind)} {name} in {thing.region}"


def change(step: Step, name: str) -> Change:
    """The step as ``plan`` shows it, for the node ``name``."""
    match step:
        case Remove(thing, why):
            return Change(STAGE, "delete", f"{title(thing)}: {why}")
        case MakeGroup(region):
            return Change(STAGE, "create", f"security group {name} in {region}")
        case SetRules(group, add, drop):
            lines = [f"+ port {rule.port} from {rule.network}" for rule in add]
            gone = [rule for id_, rule in group.rules if id_ in drop]
            lines += [
                f"- port {rule.port} from {rule.network}" if rule else "- a rule of another kind" for rule in gone
            ]
            return Change(STAGE, "update", f"rules of security group {name} in {group.region}", "\n".join(lines))
        case MakePort(region):
            return Change(STAGE, "create", f"port {name} in {region}, which has the address")
        case SetGroup(port):
            return Change(STAGE, "update", f"{title(port)}: guarded by security group {name}")
        case MakeAddress(region):
            return Change(STAGE, "create", f"floating address in {region}")
        case SetPort(address):
            return Change(STAGE, "update", f"{title(address)}: leads to port {name}")
        case MakeVolume(region, size):
            return Change(STAGE, "create", f"volume {name} of {size} GiB in {region}")
        case MakeServer(candidate):
            return Change(STAGE, "create", f"server {name}: {candidate}")
        case Start(server):
            return Change(STAGE, "start", title(server))
        case Wait(_, what, last):
            return Change(STAGE, "run", f"wait for {what}, which is {last}")
        case Knock(server, address):
            return Change(STAGE, "run", f"wait for ssh at {address or title(server)}")
        case Attach(volume, server):
            return Change(STAGE, "update", f"{title(volume)}: attached to {title(server)}")
        case Mount(volume, state):
            return Change(STAGE, "run", f"mount {title(volume)} at {state}")
        case Mark(things):
            names = " and ".join(title(thing) for thing in things)
            return Change(STAGE, "update", f"{names}: noted as in use")
        case Refuse(what, reason):
            return Change(STAGE, "run", f"{what}: {reason}")
