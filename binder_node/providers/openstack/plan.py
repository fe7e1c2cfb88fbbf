"""What to do next, from what is there: pure. Every operator decides by the same rules, so that two agree."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from binder_node.providers.openstack.market import candidates, openstack, volume_size, why_not
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
    title,
)
from binder_node.providers.openstack.things import (
    Address,
    Candidate,
    Found,
    Market,
    Port,
    Rule,
    Server,
    Thing,
    Volume,
)
from binder_node.spec.model import Spec

EVERYWHERE = "0.0.0.0/0"
API_PORT = 6443
# States that pass by themselves (https://docs.openstack.org/api-guide/compute/server_concepts.html).
PASSING = frozenset({"BUILD", "REBOOT", "HARD_REBOOT", "PASSWORD", "REBUILD", "RESIZE", "MIGRATING", "REVERT_RESIZE"})
GONE = frozenset({"DELETED", "SOFT_DELETED"})
# Cinder's: a volume that is on its way to or from a server, or just being made.
PASSING_VOLUME = frozenset({"creating", "downloading", "reserved", "attaching", "detaching", "in-use", "deleting"})

T = TypeVar("T", bound=Thing)


def wanted_rules(spec: Spec) -> frozenset[Rule]:
    """Who is let in: ssh from the operators' networks, the web from everywhere, the API only from whom the Spec names.

    The node's own firewall says the same once more; this one holds before there is one.
    """
    web = {Rule(port, EVERYWHERE) for port in (80, 443)}
    ssh = {Rule(spec.ssh.port, str(network)) for network in spec.ssh.admin_networks}
    return frozenset(web | ssh | {Rule(API_PORT, str(network)) for network in spec.kubernetes.api_from})


def vanishing(server: Server) -> bool:
    return server.task == "deleting" or server.status in GONE


def elected(things: Iterable[T]) -> T | None:
    """The one that stays where there are several: one that has been in use, else the oldest, else by its id."""
    return min(things, key=lambda thing: (not thing.used, thing.age), default=None)


def next_step(
    spec: Spec,
    found: Found,
    markets: Sequence[Market],
    tried: Mapping[Candidate, str],
    *,
    answered: bool,
    mounted: bool = False,
) -> Step | None:
    """What to do next; None when the machine is as it should be.

    ``tried``: what did not work in this run, and why. ``answered``: ssh lets us in; ``mounted``: the
    state folder lies on the volume.
    """
    live = [server for server in found.servers if not vanishing(server)]
    for server in live:
        if server.status == "ERROR" and not server.used:
            return Remove(server, f"it was not built: {server.fault or 'no reason was given'}")
    chosen = elected(live)
    if chosen is None:
        return _make(spec, found, markets, tried)
    for other in live:
        if other is not chosen:
            if other.used:
                reason = f"two servers of this node have been in use, {chosen.id} and {other.id}"
                return Refuse("choose the server", reason, "look which one serves, and delete the other by hand")
            return Remove(other, "a second one, which another run made")
    return _keep(spec, found, chosen, answered=answered, mounted=mounted)


def _keep(spec: Spec, found: Found, server: Server, *, answered: bool, mounted: bool) -> Step | None:
    """What a server that is there still needs."""
    if server.status in PASSING or (server.task and not server.task.startswith("image_")):  # a snapshot may go on
        return Wait(server, f"{title(server)} to be up", f"{server.status} {server.task}".strip())
    if server.status == "SHUTOFF":
        return Start(server)
    if server.status != "ACTIVE":
        reason = f"{title(server)} is in state {server.status}{': ' if server.fault else ''}{server.fault}"
        return Refuse("reach the machine", reason, "bring it to ACTIVE in the cloud's manager, or destroy the node")
    port = elected(port for port in found.ports if port.device == server.id)
    if port is None:
        reason = f"{title(server)} has no port of this node"
        return Refuse("reach the machine", reason, "attach it again, or destroy the node")
    if (guard := _guard(spec, found, server.region, port)) is not None:
        return guard
    address, step = _address(spec, found, port, None)
    if step is not None:
        return step
    volume, step = _volume(spec, found, server)
    if step is not None:
        return step
    kept: list[Thing] = [thing for thing in (server, address, port, volume) if thing is not None]
    if not answered:
        return Knock(server, address.address if address else port.address)
    if volume is not None and not mounted:
        return Mount(volume, spec.machine.state)
    group = elected(group for group in found.groups if group.id in port.groups)
    for thing in found.all():
        if thing not in kept and thing != group and not thing.used and not _busy(thing):
            return Remove(thing, "of no use: left by a run that took another")
    fresh = tuple(thing for thing in kept if not thing.used)
    return Mark(fresh) if fresh else None


def _busy(thing: Thing) -> bool:
    """Whether it is on its way out already, or in the hands of something that is not ours."""
    if isinstance(thing, Server):
        return vanishing(thing)
    if isinstance(thing, Port):
        return bool(thing.device)
    return isinstance(thing, Volume) and (bool(thing.server) or thing.status in PASSING_VOLUME)


def _guard(spec: Spec, found: Found, region: str, port: Port | None) -> Step | None:
    """The security group, its rules, and (where there is one) the port behind it."""
    groups = [group for group in found.groups if group.region == region]
    group = elected(group for group in groups if port and group.id in port.groups) or elected(groups)
    if group is None:
        return MakeGroup(region)
    wanted, there = wanted_rules(spec), {rule for _, rule in group.rules}
    seen: set[Rule | None] = set()
    drop = []
    for id_, rule in group.rules:
        if rule not in wanted or rule in seen:
            drop.append(id_)
        seen.add(rule)
    if drop or not wanted <= there:
        return SetRules(group, tuple(sorted(wanted - there)), tuple(drop))
    return SetGroup(port, group) if port is not None and port.groups != (group.id,) else None


def _address(spec: Spec, found: Found, port: Port, market: Market | None) -> tuple[Address | None, Step | None]:
    """The floating address of the port, or what has to be done for it; neither where the port's own is public."""
    provider = openstack(spec)
    if not provider.floating_from:
        return None, None
    here = [address for address in found.addresses if address.region == port.region]
    address = elected(one for one in here if one.port == port.id) or elected(one for one in here if not one.port)
    if address is None:
        return None, MakeAddress(port.region, market.floating if market else "", port)
    return address, None if address.port == port.id else SetPort(address, port)


def _make(spec: Spec, found: Found, markets: Sequence[Market], tried: Mapping[Candidate, str]) -> Step:
    """The next of what a server needs before it can be made, and then the server."""
    for gone in found.servers:
        return Wait(gone, f"{title(gone)} to be gone", gone.task or gone.status)
    pinned = _pinned(spec, found)
    if len(pinned) > 1:
        reason = f"what was kept of it is in {' and '.join(sorted(pinned))}"
        return Refuse("choose a region", reason, "delete what is not needed there by hand")
    here, refused = choice(spec, found, markets, tried)
    if here is None:
        return _nothing_left(spec, refused, pinned)
    market = next(market for market in markets if market.region == here.region)
    port = elected(port for port in found.ports if port.region == here.region)
    if (guard := _guard(spec, found, here.region, port)) is not None:
        return guard
    group = elected(group for group in found.groups if group.region == here.region)
    assert group is not None
    if port is None:
        return MakePort(here.region, market.network, group)
    if port.device:
        return Wait(port, f"{title(port)} to be free", f"plugged into {port.device}")
    _, step = _address(spec, found, port, market)
    if step is not None:
        return step
    flavor = next(flavor for flavor in market.flavors if flavor.name == here.flavor)
    return MakeServer(here, flavor.id, market.image, port)


def choice(
    spec: Spec, found: Found, markets: Sequence[Market], tried: Mapping[Candidate, str]
) -> tuple[Candidate | None, dict[Candidate, str]]:
    """The flavor and region that a server would be made of now, and what was refused before, with the reasons."""
    refused = dict(tried)
    for candidate in candidates(spec, _pinned(spec, found) or None):
        volume = bool(volume_size(spec)) and not any(one.region == candidate.region for one in found.volumes)
        if candidate not in refused and (why := why_not(candidate, markets, spec, volume=volume)):
            refused[candidate] = why
        if candidate not in refused:
            return candidate, refused
    return None, refused


def _pinned(spec: Spec, found: Found) -> set[str]:
    """The region that a kept volume, or else a kept address, ties the node to."""
    volumes = {volume.region for volume in found.volumes if volume.used}
    kept: Sequence[Thing] = found.addresses if openstack(spec).floating_from else found.ports
    return volumes or {thing.region for thing in kept if thing.used}


def _volume(spec: Spec, found: Found, server: Server) -> tuple[Volume | None, Step | None]:
    """The volume of the server, or what has to be done for it; neither where none is wanted.

    It is made when the server is up: which region that is in is known only then.
    """
    size = volume_size(spec)
    if not size:
        return None, None
    here = [volume for volume in found.volumes if volume.region == server.region]
    volume = elected(one for one in here if one.server == server.id) or elected(here)
    if volume is None:
        return None, MakeVolume(server.region, size)
    if volume.server == server.id and volume.status == "in-use":
        return volume, None
    if volume.status in PASSING_VOLUME:
        return volume, Wait(volume, f"{title(volume)} to be available", volume.status)
    if volume.status != "available":
        if not volume.used:
            return volume, Remove(volume, f"it is in state {volume.status}")
        reason = f"{title(volume)}, which holds the state, is in state {volume.status}"
        return volume, Refuse("attach the volume", reason, "bring it to available in the cloud's manager")
    if volume.size < size:
        reason = f"{title(volume)} has {volume.size} GiB, provider.volume wants {size}"
        return volume, Refuse("attach the volume", reason, "extend it, or write its size to provider.volume")
    return volume, Attach(volume, server)


def _nothing_left(spec: Spec, refused: Mapping[Candidate, str], pinned: Collection[str]) -> Refuse:
    """Every candidate with its reason: all that was tried."""
    reason = "; ".join(f"{candidate}: {why}" for candidate, why in refused.items()) or "no region of provider.regions"
    if pinned:
        region = ", ".join(sorted(pinned))
        remedy = f"its kept address or volume is in {region}: add flavors, wait, or destroy it with what was kept"
        if not refused:
            reason = f"what was kept of it is in {region}, which is not in provider.regions"
    elif refused and all(why.startswith("the project's quota") for why in refused.values()):
        remedy = "have the quota raised in the cloud's manager, or delete what is not needed there"
    else:
        remedy = "add flavors or regions to provider.flavors and provider.regions, or wait"
    return Refuse(f"make the server {spec.name}", reason, remedy)
