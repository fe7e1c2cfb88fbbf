"""What ``plan`` shows: the steps of ``up``, each imagined as gone well. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from binder_node.changes import Change
from binder_node.providers.openstack.plan import next_step, vanishing
from binder_node.providers.openstack.steps import (
    Attach,
    Knock,
    MakeAddress,
    MakeGroup,
    MakePort,
    MakeServer,
    MakeVolume,
    Mark,
    Mount,
    Refuse,
    Remove,
    SetGroup,
    SetPort,
    SetRules,
    Start,
    Step,
    Wait,
    change,
)
from binder_node.providers.openstack.things import Address, Found, Group, Market, Port, Server, Volume
from binder_node.spec.model import Spec

NEW = "new"  # the id of what is not there yet
MOST_STEPS = 50  # more than any plan has: each step leaves less to do
LATEST = "9999"  # younger than anything that is


def planned(
    spec: Spec, found: Found, markets: Sequence[Market], *, answered: bool, mounted: bool = False
) -> list[Change]:
    """Every change up to the end, found by imagining each step done: what ``plan`` shows is what ``up`` does."""
    changes = []
    for _ in range(MOST_STEPS):
        step = next_step(spec, found, markets, {}, answered=answered, mounted=mounted)
        if step is None:
            break
        changes.append(change(step, spec.name))
        if isinstance(step, Refuse):
            break
        found = imagined(spec, found, step)
        answered, mounted = answered or isinstance(step, Knock), mounted or isinstance(step, Mount)
    return changes


def imagined(spec: Spec, found: Found, step: Step) -> Found:
    """What would be there after a step that went well."""
    name = spec.name
    match step:
        case Remove(thing) | Wait(Server(status="DELETED" | "SOFT_DELETED") as thing):
            return found.without(thing)
        case Wait(Server() as server):
            return (
                found.without(server) if vanishing(server) else found.having(replace(server, status="ACTIVE", task=""))
            )
        case Wait(Port() as port):
            return found.having(replace(port, device=""))
        case Wait(Volume() as volume):
            return found.having(replace(volume, status="available", server=""))
        case MakeGroup(region):
            return found.having(Group(region=region, id=NEW, name=name, node=name, created=LATEST))
        case SetRules(group, add, drop):
            kept = tuple((id_, rule) for id_, rule in group.rules if id_ not in drop)
            return found.having(replace(group, rules=kept + tuple((NEW, rule) for rule in add)))
        case MakePort(region, _, group):
            return found.having(Port(region=region, groups=(group.id,), id=NEW, name=name, node=name, created=LATEST))
        case SetGroup(port, group):
            return found.having(replace(port, groups=(group.id,)))
        case MakeAddress(region, _, port):
            return found.having(Address(region=region, port=port.id, id=NEW, name=name, node=name, created=LATEST))
        case SetPort(address, port):
            return found.having(replace(address, port=port.id))
        case MakeVolume(region, size):
            return found.having(
                Volume(region=region, size=size, status="available", id=NEW, name=name, node=name, created=LATEST)
            )
        case MakeServer(candidate, _, _, port):
            server = Server(region=candidate.region, id=NEW, name=name, node=name, created=LATEST, status="ACTIVE")
            return found.having(server).having(replace(port, device=server.id))
        case Attach(volume, server):
            return found.having(replace(volume, server=server.id, status="in-use"))
        case Start(server):
            return found.having(replace(server, status="ACTIVE"))
        case Mark(things):
            for thing in things:
                found = found.having(replace(thing, used=True))
            return found
        case _:
            return found
