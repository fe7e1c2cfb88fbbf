"""A Hetzner project and its market, small enough to be read."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

from binder_node.providers.hetzner.market import Market, TypeRow, market
from binder_node.providers.hetzner.model import (
    Address,
    Firewall,
    Group,
    Key,
    Project,
    Seen,
    Server,
    Volume,
    labels,
)
from binder_node.providers.hetzner.plan import rules
from binder_node.spec.model import Spec
from tests.unit.host_samples import sample_spec

NAME = "bids-1"
TODAY = date(2026, 11, 21)
LOGIN_KEY = "ssh-ed25519 AAAAKEY bids-1"
OURS = labels(NAME)
ZONES = {"fsn1": "eu-central", "nbg1": "eu-central", "ash": "us-east"}


def spec(machine: dict[str, Any] | None = None, storage: dict[str, Any] | None = None, **provider: Any) -> Spec:
    """A node of 48 cores and 192 GB in nbg1 or fsn1."""
    base = sample_spec(machine={"cpus": 48, "memory": "192G", "disk": "900G", **(machine or {})})
    said = {"kind": "hetzner", "types": ["ccx63"], "locations": ["nbg1", "fsn1"], **provider}
    data = {**base.model_dump(mode="json"), "provider": said, **({"storage": storage} if storage else {})}
    return Spec.model_validate_json(json.dumps(data), strict=True)


def price(location: str, monthly: str) -> dict[str, Any]:
    """As in the API's server types."""
    return {
        "location": location,
        "price_monthly": {"net": monthly, "gross": "999"},
        "price_hourly": {"net": "0.1", "gross": "9"},
        "included_traffic": 20 * 10**12,
        "price_per_tb_traffic": {"net": "1.0000000000", "gross": "9"},
    }


def row(name: str, cores: int, memory: int, disk: int, monthly: str, **said: Any) -> TypeRow:
    places = said.pop("places", (("nbg1", True, None), ("fsn1", True, None), ("ash", True, None)))
    prices = tuple(price(place, monthly) for place in ("nbg1", "fsn1", "ash"))
    return TypeRow(name, cores, memory, disk, said.get("architecture", "x86"), "dedicated", prices, places)


PRICING = {
    "currency": "EUR",
    "vat_rate": "19.000000",
    "volume": {"price_per_gb_month": {"net": "0.0440000000", "gross": "9"}},
    "primary_ips": [
        {"type": "ipv6", "prices": []},
        {"type": "ipv4", "prices": [{"location": p, "price_monthly": {"net": "0.5000", "gross": "9"}} for p in ZONES]},
    ],
}
BIG = row("ccx63", 48, 192, 960, "288.4900000000")
ROWS = (BIG, row("ccx53", 32, 128, 600, "192.49"), row("ccx43", 16, 64, 360, "96.49"), row("cx23", 2, 4, 40, "3.49"))


def sample_market(*rows: TypeRow) -> Market:
    return market(rows or ROWS, PRICING, ZONES)


def server(**said: Any) -> Server:
    given: dict[str, Any] = {
        "status": "running",
        "type": "ccx63",
        "location": "nbg1",
        "ip": "203.0.113.20",
        "address": 5,
    } | said
    given = {"firewalls": frozenset({2}), **given}
    return Server(4, given.pop("name", NAME), given.pop("labels", OURS), **given)


def whole(node: Spec, **said: Any) -> Project:
    """The project when there is nothing left to do."""
    kinds: dict[str, Any] = {
        "servers": (server(),),
        "keys": (Key(1, NAME, OURS, LOGIN_KEY),),
        "firewalls": (Firewall(2, NAME, OURS, rules(node)),),
        "addresses": (Address(5, NAME, OURS, "203.0.113.20", "nbg1", 4),),
        **said,
    }
    return Project(**kinds)


def seen(node: Spec, **said: Any) -> Seen:
    return Seen(whole(node, **said), hindrance="", mounted=True)


STRANGER: dict[str, str] = {}
VOLUME = Volume(6, NAME, OURS, 100, "nbg1", 4, "/dev/disk/by-id/scsi-0HC_Volume_6")
GROUP = Group(7, "members", OURS, (4,))
