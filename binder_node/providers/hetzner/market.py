"""What Hetzner sells, where and for how much, and which of it a node may take. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

from binder_node.errors import StepError
from binder_node.providers.offers import CpuKind, Offer, Tariff, money
from binder_node.spec.model import HetznerProvider, Spec
from binder_node.spec.quantity import shortest
from binder_node.spec.rules_clouds import bucket_location
from binder_node.spec.sizing import GB

ARCHITECTURES = {"x86": "amd64", "arm": "arm64"}
# Object storage has no API of prices: https://docs.hetzner.com/storage/object-storage/overview (2024-12-06): 4.99 EUR
# a month for an account, with 1 TB stored; 0.0067 EUR for each further TB and hour, 744 of which make a month.
OBJECTS_BASE, OBJECTS_GB, OBJECTS_INCLUDED = Decimal("4.99"), Decimal("0.0067") * 744 / 1000, 10**12


@dataclass(frozen=True, slots=True)
class TypeRow:
    """One server type as the API tells it; sizes in GB. ``places``: (location, available, the day of its end)."""

    name: str
    cores: int
    memory: float
    disk: int
    architecture: str
    cpu: CpuKind
    prices: tuple[Mapping[str, Any], ...]
    places: tuple[tuple[str, bool, date | None], ...]


@dataclass(frozen=True, slots=True)
class Market:
    """Live prices of a month without VAT: ``addresses`` by location, ``volume`` for a GB. ``zones`` by location."""

    offers: tuple[Offer, ...]
    addresses: Mapping[str, Decimal] = field(default_factory=dict)
    volume: Decimal = Decimal(0)
    zones: Mapping[str, str] = field(default_factory=dict)
    currency: str = "EUR"
    vat: Decimal = Decimal(0)

    def find(self, type: str, location: str) -> Offer | None:
        return next((one for one in self.offers if (one.type, one.location) == (type, location)), None)

    def tariff(self, location: str) -> Tariff:
        """Unit prices in ``location``; the dearest address where it is not known which."""
        address = self.addresses.get(location, max(self.addresses.values(), default=None))
        return Tariff(self.currency, address, self.volume, OBJECTS_GB, OBJECTS_BASE, OBJECTS_INCLUDED, self.vat)


def market(types: Iterable[TypeRow], pricing: Mapping[str, Any], zones: Mapping[str, str]) -> Market:
    """From the types, ``GET /pricing`` and the locations' network zones."""
    currency = str(pricing["currency"])
    ipv4: Iterable[Mapping[str, Any]] = next(
        (row["prices"] for row in pricing["primary_ips"] if row["type"] == "ipv4"), []
    )
    return Market(
        offers=tuple(offer for row in types for offer in _offers(row, currency)),
        addresses={row["location"]: Decimal(row["price_monthly"]["net"]) for row in ipv4},
        volume=Decimal(pricing["volume"]["price_per_gb_month"]["net"]),
        zones=dict(zones),
        currency=currency,
        vat=Decimal(pricing["vat_rate"]) / 100,
    )


def _offers(row: TypeRow, currency: str) -> Iterable[Offer]:
    places = {location: (available, end) for location, available, end in row.places}
    for price in row.prices:
        location = str(price["location"])
        # A type that has a price for a location but does not list it is not sold there.
        available, end = places.get(location, (not places, None))
        yield Offer(
            provider="hetzner",
            type=row.name,
            location=location,
            cpus=row.cores,
            memory=int(row.memory * GB),
            disk=row.disk * GB,
            arch=ARCHITECTURES.get(row.architecture, row.architecture),
            cpu_kind=row.cpu,
            monthly=Decimal(price["price_monthly"]["net"]),
            hourly=Decimal(price["price_hourly"]["net"]),
            currency=currency,
            traffic_included=int(price["included_traffic"]),
            traffic_price=Decimal(price["price_per_tb_traffic"]["net"]),
            available=available,
            deprecated=end,
        )


def fixed_price(spec: Spec, market: Market, offer: Offer) -> Decimal:
    """What ``max_price`` limits: server, address and volume, a month without VAT."""
    volume = _hetzner(spec).volume
    gigabytes = Decimal(0 if volume is None else volume) / GB
    return money(offer.monthly + (market.tariff(offer.location).address or 0) + gigabytes * market.volume)


@dataclass(frozen=True, slots=True)
class Choice:
    """``offers``: what may be taken, best first. ``rejected``: the others, each with its reason."""

    offers: tuple[Offer, ...]
    rejected: tuple[str, ...]


def choose(spec: Spec, market: Market, today: date, pinned: str = "") -> Choice:
    """The wanted types in the wanted locations, or in ``pinned`` only, where an address or a volume is already."""
    provider = _hetzner(spec)
    offers: list[Offer] = []
    rejected: list[str] = []
    for name in provider.types:
        if not any(offer.type == name for offer in market.offers):
            rejected.append(_unknown(spec, name, market, today))
            continue
        for location in (pinned,) if pinned else provider.locations:
            offer = market.find(name, location)
            reason = _against(spec, market, offer, location, today)
            if reason:
                rejected.append(f"{name} in {location}: {reason}")
            elif offer is not None:
                offers.append(offer)
    return Choice(tuple(offers), tuple(rejected))


def _unknown(spec: Spec, name: str, market: Market, today: date) -> str:
    """The type is not sold at all: which of those that would do is named most like it, or costs least?"""
    places = _hetzner(spec).locations
    fit = [
        one for one in market.offers if one.location in places and not _against(spec, market, one, one.location, today)
    ]
    cheapest = [one.type for one in sorted(fit, key=lambda one: one.monthly)]
    near = [*get_close_matches(name, sorted(set(cheapest)), 1), *cheapest][:1]
    return f"{name}: there is no such server type (any more)" + "".join(f"; {one} would do" for one in near)


def _against(spec: Spec, market: Market, offer: Offer | None, location: str, today: date) -> str:
    """Why the offer is not taken; empty when it may be."""
    machine, most = spec.machine, _hetzner(spec).max_price
    if market.zones and location not in market.zones:
        return f"there is no such location; there are {', '.join(sorted(market.zones))}"
    if offer is None:
        return "not sold there"
    if offer.deprecated is not None and offer.deprecated <= today:
        return f"withdrawn since {offer.deprecated}"
    if not offer.available:
        return "sold out"
    if offer.arch != machine.arch:
        return f"its processor is {offer.arch}, machine.arch is {machine.arch}"
    for key, has, wanted in (("memory", offer.memory, machine.memory), ("disk", offer.disk, machine.disk)):
        if has < wanted and not (key == "disk" and _hetzner(spec).volume is not None):
            return f"{shortest(has)} of {key} are less than machine.{key}, {wanted}"
    if offer.cpus < machine.cpus:
        return f"{offer.cpus} cores are less than machine.cpus, {machine.cpus}"
    bucket = bucket_location(spec)
    if bucket in market.zones and market.zones[bucket] != market.zones.get(location):
        return f"in {market.zones.get(location)}, but its bucket is in {market.zones[bucket]}"
    price = fixed_price(spec, market, offer)
    if most is not None and price > Decimal(str(most)):
        return f"{price} {market.currency} a month are more than max_price, {most:g}"
    return ""


def nothing_left(spec: Spec, reasons: Iterable[str]) -> StepError:
    """The failure when no offer is left, with everything that was tried."""
    return StepError(
        spec.name,
        "choose a server",
        "none of provider.types can be had: " + "; ".join(reasons),
        "`binder-node offers` shows what there is: add a type or a location, or raise max_price",
    )


def _hetzner(spec: Spec) -> HetznerProvider:
    assert isinstance(spec.provider, HetznerProvider)
    return spec.provider


def describe(spec: Spec, market: Market, offer: Offer) -> str:
    """``ccx63 in nbg1 (48 cores, 192G, 960G disk), 288.99 EUR a month``: with its address and its volume."""
    size = f"{offer.cpus} cores, {shortest(offer.memory)}, {shortest(offer.disk)} disk"
    price = fixed_price(spec, market, offer)
    return f"{offer.type} in {offer.location} ({size}), {price} {market.currency} a month"
