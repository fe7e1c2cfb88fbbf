"""From hcloud's objects to plain data. Reads what came with the answer: hcloud fetches the rest unasked."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from binder_node.providers.hetzner.market import TypeRow
from binder_node.providers.hetzner.model import Address, Firewall, Group, Key, Rule, Server, Volume

if TYPE_CHECKING:
    from hcloud.core import BoundModelBase


def _raw(thing: BoundModelBase[Any]) -> Any:
    return thing.data_model


def _name(place: Any) -> str:
    return str(place.data_model.name) if place is not None else ""


def _id(thing: Any) -> int | None:
    return None if thing is None else int(thing if isinstance(thing, int) else thing.data_model.id)


def key(thing: BoundModelBase[Any]) -> Key:
    raw = _raw(thing)
    return Key(raw.id, raw.name, dict(raw.labels or {}), str(raw.public_key))


def firewall(thing: BoundModelBase[Any]) -> Firewall:
    raw = _raw(thing)
    inward = (rule for rule in raw.rules or [] if rule.direction == "in")
    rules = tuple(
        Rule(rule.protocol, rule.port or "", tuple(rule.source_ips), rule.description or "") for rule in inward
    )
    return Firewall(raw.id, raw.name, dict(raw.labels or {}), rules)


def group(thing: BoundModelBase[Any]) -> Group:
    raw = _raw(thing)
    return Group(raw.id, raw.name, dict(raw.labels or {}), tuple(raw.servers or ()))


def address(thing: BoundModelBase[Any]) -> Address:
    raw = _raw(thing)
    return Address(
        raw.id,
        raw.name,
        dict(raw.labels or {}),
        ip=raw.ip,
        location=_name(raw.location),
        server=raw.assignee_id,
        auto_delete=bool(raw.auto_delete),
        protected=bool((raw.protection or {}).get("delete")),
    )


def volume(thing: BoundModelBase[Any]) -> Volume:
    raw = _raw(thing)
    return Volume(
        raw.id,
        raw.name,
        dict(raw.labels or {}),
        size=int(raw.size),
        location=_name(raw.location),
        server=_id(raw.server),
        device=raw.linux_device or "",
        protected=bool((raw.protection or {}).get("delete")),
    )


def server(thing: BoundModelBase[Any]) -> Server:
    raw = _raw(thing)
    net = raw.public_net
    return Server(
        raw.id,
        raw.name,
        dict(raw.labels or {}),
        status=raw.status,
        type=_name(raw.server_type),
        location=_name(raw.location),
        ip=net.ipv4.ip if net and net.ipv4 else "",
        address=_id(net.primary_ipv4) if net else None,
        firewalls=frozenset(number for one in (net.firewalls if net else ()) if (number := _id(one.firewall))),
        locked=bool(raw.locked),
        protected=bool((raw.protection or {}).get("delete")),
    )


def type_row(thing: BoundModelBase[Any]) -> TypeRow:
    raw = _raw(thing)
    places = []
    for place in raw.locations or []:
        gone: date | None = None
        if place.deprecation is not None and place.deprecation.unavailable_after is not None:
            gone = place.deprecation.unavailable_after.date()
        places.append((_name(place.location), place.available is not False, gone))
    return TypeRow(
        name=raw.name,
        cores=int(raw.cores),
        memory=float(raw.memory),
        disk=int(raw.disk),
        architecture=raw.architecture,
        cpu=raw.cpu_type,
        prices=tuple(raw.prices or ()),
        places=tuple(places),
    )
