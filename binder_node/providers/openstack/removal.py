"""What goes and what stays when a node is taken away, and what is nobody's: pure."""

from __future__ import annotations

from binder_node.providers.base import Kept
from binder_node.providers.openstack.market import openstack
from binder_node.providers.openstack.plan import PASSING_VOLUME, elected, vanishing
from binder_node.providers.openstack.steps import Remove, Wait, title
from binder_node.providers.openstack.things import Address, Found, Port, Thing, Volume
from binder_node.spec.model import Spec

WHY = "the node is taken away"


def stays(spec: Spec, found: Found, keep: frozenset[Kept]) -> list[Thing]:
    """What outlives the server: the address, the volume, and the security group of a port that stays.

    Only what has been in use: an address that nothing ever pointed to is worth nothing.
    """
    kept: list[Thing] = []
    if "address" in keep:
        floating = bool(openstack(spec).floating_from)
        kept += [one for one in (found.addresses if floating else found.ports) if one.used]
    if "volume" in keep:
        kept += [volume for volume in found.volumes if volume.used]
    behind = {group for port in kept if isinstance(port, Port) for group in port.groups}
    return kept + [group for group in found.groups if group.id in behind]


def doomed(spec: Spec, found: Found, keep: frozenset[Kept]) -> list[Thing]:
    """What goes, in the order in which it can: servers let go of ports and volumes, ports of groups."""
    kept = stays(spec, found, keep)
    return [thing for thing in found.all() if thing not in kept]


def next_removal(spec: Spec, found: Found, keep: frozenset[Kept]) -> Remove | Wait | None:
    """What to do next; None when only what is kept is there. Servers go side by side, and first."""
    for server in found.servers:
        if not vanishing(server):
            return Remove(server, WHY)
    for server in found.servers:
        return Wait(server, f"{title(server)} to be gone", server.task or server.status)
    for thing in doomed(spec, found, keep):
        if isinstance(thing, Volume) and thing.status in PASSING_VOLUME:
            what = "gone" if thing.status == "deleting" else "available"
            return Wait(thing, f"{title(thing)} to be {what}", thing.status)
        return Remove(thing, WHY)
    return None


def surplus(spec: Spec, found: Found) -> list[Thing]:
    """Of the node's own things, those that its server does not use, but for what was kept on purpose."""
    server = elected(server for server in found.servers if not vanishing(server))
    if server is None:
        kept = stays(spec, found, frozenset({"address", "volume"}))
        return [thing for thing in found.all() if thing not in kept]
    ports = [port for port in found.ports if port.device == server.id]
    groups = {group for port in ports for group in port.groups}
    in_use: list[Thing] = [server, *ports]
    in_use += [volume for volume in found.volumes if volume.server == server.id]
    in_use += [address for address in found.addresses if address.port in {port.id for port in ports}]
    in_use += [group for group in found.groups if group.id in groups]
    return [thing for thing in found.all() if thing not in in_use]


def note(thing: Thing) -> str:
    """What an operator should know of a leftover."""
    words = [thing.region]
    if isinstance(thing, Address):
        words.append("costs while it is unused")
    if isinstance(thing, Volume):
        words.append(f"{thing.size} GiB, {thing.status}")
    return ", ".join(words)
