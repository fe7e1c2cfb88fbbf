"""From the Spec and what is seen to the steps that are left, and back. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from binder_node.changes import Action, Change
from binder_node.errors import StepError
from binder_node.layout import API_PORT
from binder_node.providers.base import Kept, Leftover
from binder_node.providers.hetzner.model import (
    Address,
    Group,
    Project,
    Rule,
    Seen,
    Server,
    Thing,
    Volume,
    of_node,
)
from binder_node.spec.model import HetznerProvider, Spec
from binder_node.spec.sizing import GB

STAGE = "machine"
EVERYWHERE = ("0.0.0.0/0",)
# Statuses of a server that will pass by themselves (OpenAPI, schema server).
PASSING = frozenset({"initializing", "starting", "stopping", "migrating", "rebuilding"})

Kind = Literal[
    "key", "firewall", "group", "broken", "server", "address", "volume", "attach", "wait", "start", "guard", "ssh",
    "mount",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """One step of ``apply``, in its order; ``what`` is the line that ``plan`` shows."""

    kind: Kind
    action: Action
    what: str

    def change(self) -> Change:
        return Change(STAGE, self.action, self.what)


def hetzner(spec: Spec) -> HetznerProvider:
    assert isinstance(spec.provider, HetznerProvider)
    return spec.provider


def rules(spec: Spec) -> tuple[Rule, ...]:
    """What the firewall in front of the server lets in; the node's own (nftables) says the same and more."""
    admins = tuple(str(network) for network in spec.ssh.admin_networks)
    api = tuple(str(network) for network in spec.kubernetes.api_from)
    return (
        Rule("icmp", "", EVERYWHERE, "ping"),
        *([Rule("tcp", str(spec.ssh.port), admins, "ssh")] if admins else []),
        Rule("tcp", "80", EVERYWHERE, "http"),
        Rule("tcp", "443", EVERYWHERE, "https"),
        *([Rule("tcp", str(API_PORT), api, "Kubernetes")] if api else []),
    )


def same_rules(one: Iterable[Rule], other: Iterable[Rule]) -> bool:
    """Whether they let in the same; descriptions and order do not matter."""

    def plain(found: Iterable[Rule]) -> set[tuple[str, str, frozenset[str]]]:
        return {(rule.protocol, rule.port, frozenset(rule.sources)) for rule in found}

    return plain(one) == plain(other)


def gigabytes(spec: Spec) -> int:
    """Size of the volume in GB; 0 where none is wanted."""
    volume = hetzner(spec).volume
    return 0 if volume is None else int(volume) // GB


def check(spec: Spec, project: Project) -> None:
    """Refuse what is not ours, or not one.

    Raises:
        StepError: a name is taken by somebody else's thing, or two servers carry the node's labels.
    """
    name = spec.name
    for kind, things in project.kinds().items():
        if kind == "placement group":
            continue  # anybody's will do
        for thing in things:
            if thing.name == name and thing.node != name:
                whose = f"belongs to the node {thing.node}" if thing.node else "was not made by binder-node"
                raise StepError(
                    name,
                    "look at the project",
                    f"{kind} {thing.name} (id {thing.id}) {whose}; it was left as it is",
                    "call the node otherwise, or take another project's token",
                )
    servers = [server for server in project.servers if server.node == name]
    if len(servers) > 1:
        two = " and ".join(f"{server.name} (id {server.id}, {server.ip})" for server in servers)
        raise StepError(
            name, "look at the project", f"{two} both carry the node's labels", "delete the wrong one in the console"
        )
    _check_places(spec, project, servers[0] if servers else None)


def _check_places(spec: Spec, project: Project, server: Server | None) -> None:
    """An address and a volume go with a server in their own location only, and with one at a time."""
    address, volume = of_node(project.addresses, spec.name), of_node(project.volumes, spec.name)
    held: list[tuple[str, Address | Volume]] = []
    if address is not None:
        held.append((f"address {address.ip}", address))
    if volume is not None and gigabytes(spec):
        held.append((f"volume {volume.name}", volume))
    for what, thing in held:
        if thing.server is not None and thing.server != (server.id if server else None):
            holder = f"{what} is with another server (id {thing.server})"
            raise StepError(spec.name, "look at the project", holder, "take it from there in the console")
        place = server.location if server else pinned(spec, project)
        if thing.location != place:
            apart = f"{what} is in {thing.location}, not in {place}"
            raise StepError(
                spec.name, "look at the project", apart, f"`binder-node destroy {spec.name} --all` lets go of both"
            )
    place = pinned(spec, project)
    if server is None and place and place not in hetzner(spec).locations:
        names = " and ".join(what for what, _ in held)
        raise StepError(
            spec.name,
            "choose a location",
            f"{names} wait in {place}, which is none of provider.locations",
            f"add {place}, or give them up: `binder-node destroy {spec.name} --all`",
        )


def pinned(spec: Spec, project: Project) -> str:
    """The location that an address or a volume from before holds the node to; empty where none does."""
    address, volume = of_node(project.addresses, spec.name), of_node(project.volumes, spec.name)
    if volume is not None and gigabytes(spec):
        return volume.location
    return address.location if address is not None else ""


def steps(spec: Spec, public_key: str, seen: Seen, offer: str = "") -> list[Step]:
    """What is left to do. ``offer`` describes the server that would be made; ``public_key`` is the login key's."""
    project, name = seen.project, spec.name
    server = of_node(project.servers, name)
    found = [*_around(spec, public_key, project)]
    if server is not None and server.failed:
        found.append(Step("broken", "delete", f"server {name}, whose creation failed: {server.failed}"))
        server = None
    elif server is not None and server.status == "deleting":
        found.append(Step("broken", "delete", f"server {name}, which is being deleted"))
        server = None
    if server is None:
        found.append(Step("server", "create", f"server {name}" + (f": {offer}" if offer else "")))
    elif server.status in PASSING:
        found.append(Step("wait", "run", f"wait for server {name}, which is {server.status}"))
    elif server.status == "off":
        found.append(Step("start", "start", f"server {name}"))
    found += _with(spec, project, server)
    if server is None or server.status != "running" or seen.hindrance:
        reason = f": {seen.hindrance}" if server is not None and server.status == "running" else ""
        found.append(Step("ssh", "run", f"wait for ssh{reason}"))
    if gigabytes(spec) and not seen.mounted:
        found.append(Step("mount", "run", f"mount volume {name} at {spec.machine.state}"))
    return found


def _around(spec: Spec, public_key: str, project: Project) -> Iterable[Step]:
    """What a server is made with."""
    name = spec.name
    key = of_node(project.keys, name)
    if key is None or _bare(key.public_key) != _bare(public_key):
        yield Step("key", "update" if key else "create", f"ssh key {name}")
    firewall = of_node(project.firewalls, name)
    if firewall is None:
        yield Step("firewall", "create", f"firewall {name}: {_opened(rules(spec))}")
    elif not same_rules(firewall.rules, rules(spec)):
        yield Step("firewall", "update", f"firewall {name}: {_opened(rules(spec))}")
    group = hetzner(spec).placement
    if group and not any(one.name == group for one in project.groups):
        yield Step("group", "create", f"placement group {group}")


def _with(spec: Spec, project: Project, server: Server | None) -> Iterable[Step]:
    """What goes with a server."""
    name, keep = spec.name, hetzner(spec).keep_address
    address = of_node(project.addresses, name)
    if keep and (address is None or address.auto_delete):
        yield Step("address", "update" if address else "create", f"primary IP {name}, which outlives the server")
    elif not keep and address is not None and not address.auto_delete:
        yield Step("address", "update", f"primary IP {name}: goes with the server")
    size, volume = gigabytes(spec), of_node(project.volumes, name)
    if size and volume is None:
        yield Step("volume", "create", f"volume {name}, {size} GB")
    elif size and volume is not None:
        if volume.size < size:
            yield Step("volume", "update", f"volume {name}: from {volume.size} to {size} GB")
        if volume.server is None and server is not None:
            yield Step("attach", "update", f"attach volume {name}")
    firewall = of_node(project.firewalls, name)
    if server is not None and firewall is not None and firewall.id not in server.firewalls:
        yield Step("guard", "update", f"put firewall {name} before the server")


def _opened(found: Iterable[Rule]) -> str:
    """``ping, ssh from 192.0.2.0/24, http, https``"""
    return ", ".join(
        rule.description + ("" if rule.sources == EVERYWHERE else f" from {', '.join(rule.sources)}") for rule in found
    )


def _bare(key: str) -> str:
    """A public key without its comment."""
    return " ".join(key.split()[:2])


def drift(spec: Spec, seen: Seen) -> str:
    """What a running server is otherwise than the Spec says, and what ``up`` does not change; empty when nothing."""
    server, provider = of_node(seen.project.servers, spec.name), hetzner(spec)
    if server is None:
        return ""
    if server.type not in provider.types:
        return f"the server is a {server.type}; provider.types says {', '.join(provider.types)}"
    if server.location not in provider.locations:
        return f"the server is in {server.location}; provider.locations says {', '.join(provider.locations)}"
    address = of_node(seen.project.addresses, spec.name)
    if provider.keep_address and address is not None and address.id != server.address:
        return f"the server has the address {server.ip}, not the kept {address.ip}"
    return ""


@dataclass(frozen=True, slots=True)
class Doomed:
    """One thing that ``destroy`` takes away."""

    kind: str
    thing: Thing
    what: str

    def change(self) -> Change:
        return Change(STAGE, "delete", self.what)


def doomed(spec: Spec, project: Project, keep: frozenset[Kept]) -> list[Doomed]:
    """What ``destroy`` takes away, in the order in which the API lets it go; only what carries the node's labels.

    Raises:
        StepError: one of them is protected against deletion: nothing is taken away then.
    """
    name, found = spec.name, []
    for server in project.servers:
        if server.node == name:
            own = of_node(project.addresses, name)
            with_it = "" if own is not None and own.id == server.address else ", with its address"
            what = f"server {server.name} ({server.type} in {server.location}, {server.ip}, id {server.id}){with_it}"
            found.append(Doomed("server", server, what))
    if "volume" not in keep:
        for volume in project.volumes:
            if volume.node == name:
                what = f"volume {volume.name} ({volume.size} GB in {volume.location}, id {volume.id})"
                found.append(Doomed("volume", volume, what))
    for address in project.addresses:
        if address.node == name and ("address" not in keep or not hetzner(spec).keep_address):
            what = f"primary IP {address.name} ({address.ip} in {address.location}, id {address.id})"
            found.append(Doomed("primary IP", address, what))
    for firewall in project.firewalls:
        if firewall.node == name:
            found.append(Doomed("firewall", firewall, f"firewall {firewall.name} (id {firewall.id})"))
    ours = {server.id for server in project.servers if server.node == name}
    for group in project.groups:
        last = set(group.servers) <= ours
        if last and (group.node == name or (group.node and group.name == hetzner(spec).placement)):
            found.append(Doomed("placement group", group, f"placement group {group.name} (id {group.id})"))
    for key in project.keys:
        if key.node == name:
            found.append(Doomed("ssh key", key, f"ssh key {key.name} (id {key.id})"))
    locked = [one.what for one in found if getattr(one.thing, "protected", False)]
    if locked:
        raise StepError(
            name,
            "destroy",
            f"protected against deletion: {', '.join(locked)}; nothing was deleted",
            "lift the protection in Hetzner's console if you mean it, then run this again",
        )
    return found


def leftovers(name: str, volume: bool, project: Project) -> list[Leftover]:
    """Of nodes other than ``name`` everything; of this one a second server, or a volume where none is wanted."""
    found, own = [], of_node(project.servers, name)
    for kind, things in project.kinds().items():
        for thing in things:
            if not thing.node or (isinstance(thing, Group) and thing.servers):
                continue  # a group that others use is not left over
            note = _note(thing)
            if thing.node == name and kind == "volume" and not volume:
                note = "provider.volume is not in the inventory"
            elif thing.node == name and kind == "server" and thing != own:
                note = "a second one"
            elif thing.node == name:
                continue
            found.append(Leftover(kind, thing.name, str(thing.id), thing.node, note))
    return found


def _note(thing: Thing) -> str:
    text = f"{thing.size} GB" if isinstance(thing, Volume) else getattr(thing, "ip", "")
    return ", ".join(filter(None, [text, "protected" if getattr(thing, "protected", False) else ""]))
