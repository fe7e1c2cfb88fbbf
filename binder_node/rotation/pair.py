"""Whether two inventories are two generations of one node. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from binder_node.errors import Problem
from binder_node.spec.model import LocalProvider, NodeStorage, Spec, SshProvider
from binder_node.spec.public import NoDns, ZoneDns


def alone(spec: Spec, file: str) -> Iterator[Problem]:
    """Why a node cannot be rotated at all."""
    if isinstance(spec.dns, NoDns):
        wrong = "none: what moves launches to the new node is the record of names.binder"
        yield Problem(file, 0, "dns.kind", wrong, "say who has the zone: cloudflare, hetzner, rfc2136 or manual")
    if spec.central:
        wrong = "federation: its central deploy would have to deploy the new node, move its names and drain the old one"
        right = "add the new node as a member, then `federation leave` with the old one"
        yield Problem(file, 0, "deploy", wrong, right)
    if spec.replaces:
        wrong = f"it takes the place of {spec.replaces}, and has not done so yet"
        yield Problem(file, 0, "replaces", wrong, f"go on with `binder-node rotate {spec.replaces}` first")


def together(old: Spec, new: Spec, file: str) -> Iterator[Problem]:
    """What of ``new``, the inventory in ``file``, keeps it from taking the place of ``old``."""
    if new.replaces != old.name:
        wrong = f"'{new.replaces}'" if new.replaces else "is not set"
        yield Problem(file, 0, "replaces", wrong, f"write {old.name}, or name another node by --to")
    for key, mine, theirs in (
        ("names.binder", new.names.binder, old.names.binder),
        ("names.registry", new.names.registry, old.names.registry),
        ("registry.prefix", new.registry.prefix, old.registry.prefix),
        ("federation.member", new.federation.member, old.federation.member),
    ):
        if mine != theirs:
            yield Problem(file, 0, key, f"'{mine}', and {old.name} has '{theirs}'", "write the same")
    if new.names.hub == old.names.hub:
        wrong = f"'{new.names.hub}' is {old.name}'s, whose sessions go on under it"
        yield Problem(file, 0, "names.hub", wrong, "write one of its own")
    if new.dns.kind != old.dns.kind or _zone(new) != _zone(old):
        yield Problem(file, 0, "dns", f"is not {old.name}'s", "both write the records of one zone: write the same")
    for kind in (LocalProvider, SshProvider):
        one, other = new.provider, old.provider
        if isinstance(one, kind) and isinstance(other, kind) and one.address == other.address:
            wrong = f"{one.address} is {old.name}'s"
            right = "give the new machine's: --set provider.address=..., before there is an inventory"
            yield Problem(file, 0, "provider.address", wrong, right)


def drawn(old: Spec, new: Spec) -> Iterator[Problem]:
    """What of an inventory that is about to be written keeps it from taking the place of ``old``."""
    yield from together(old, new, "")
    if new.binderhub.quota == 0:  # later it may be: of an abort that was broken off
        yield Problem("", 0, "binderhub.quota", "is 0: nothing would be launched", "say --set binderhub.quota=...")


def _zone(spec: Spec) -> str:
    return spec.dns.zone if isinstance(spec.dns, ZoneDns) else ""


def mirrored(old: Spec, new: Spec) -> bool:
    """Whether the new node has another bucket, so that images are to be carried."""
    if isinstance(old.storage, NodeStorage) or isinstance(new.storage, NodeStorage):
        return True
    return (old.storage.endpoint, old.storage.bucket) != (new.storage.endpoint, new.storage.bucket)
