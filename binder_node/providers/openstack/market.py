"""What can be had, and at what price: the inventory's wishes against what a region offers. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from decimal import ROUND_HALF_UP, Decimal

from binder_node.providers.offers import HOURS, Offer, money
from binder_node.providers.openstack.things import Candidate, Flavor, Market
from binder_node.spec.model import OpenStackProvider, Spec
from binder_node.spec.sizing import GB

GIB = 2**30


def openstack(spec: Spec) -> OpenStackProvider:
    """The Spec's provider, which is an OpenStack one wherever this package is asked."""
    assert isinstance(spec.provider, OpenStackProvider)
    return spec.provider


def volume_size(spec: Spec) -> int:
    """In GiB, as Cinder counts; 0 where none is wanted."""
    return -(-int(openstack(spec).volume or 0) // GIB)


def shortfall(flavor: Flavor, spec: Spec) -> str:
    """How a flavor is less than the machine that everything is sized for; empty when it is not."""
    machine = spec.machine
    lacks = []
    if flavor.cpus < machine.cpus:
        lacks.append(f"{flavor.cpus} cores, not {machine.cpus}")
    if flavor.memory < machine.memory:
        lacks.append(f"{flavor.memory / 1e9:.0f}G of RAM, not {machine.memory}")
    if not openstack(spec).volume and 0 < flavor.disk < machine.disk:
        lacks.append(f"a disk of {flavor.disk / 1e9:.0f}G, not {machine.disk}")
    return f"has {' and '.join(lacks)}" if lacks else ""


def lacking(market: Market, flavor: Flavor, spec: Spec, *, volume: bool) -> str:
    """What the region's quota lacks for one more server of the flavor, and a ``volume``; empty when nothing."""
    quota = market.quota
    wanted: list[tuple[str, int, int | None, int]] = [
        ("servers", 1, quota.servers, 1),
        ("cores", flavor.cpus, quota.cpus, 1),
        ("GB of RAM", flavor.memory, quota.memory, 10**9),
    ]
    if volume:
        wanted += [("volumes", 1, quota.volumes, 1), ("GiB of volumes", volume_size(spec), quota.volume, 1)]
    short = [
        f"{what}: {need // unit} wanted, {max(left, 0) // unit} left"
        for what, need, left, unit in wanted
        if left is not None and need > left
    ]
    return f"the project's quota is full: {'; '.join(short)}" if short else ""


def why_not(candidate: Candidate, markets: Sequence[Market], spec: Spec, *, volume: bool) -> str:
    """Why a flavor cannot be had in a region; empty when nothing is known against it. ``volume``: so must one."""
    provider = openstack(spec)
    market = next((market for market in markets if market.region == candidate.region), None)
    if market is None:
        return "the catalog has no such region"
    flavor = next((flavor for flavor in market.flavors if flavor.name == candidate.flavor), None)
    if flavor is None:
        return "there is no such flavor"
    if flavor.disabled:
        return "the flavor is withdrawn"
    for what, name, id_ in (
        ("image", provider.image, market.image),
        ("network", provider.network, market.network),
        ("network", provider.floating_from, market.floating),
    ):
        if name and not id_:
            return f"there is no {what} {name}"
    return dear(spec, flavor.name) or shortfall(flavor, spec) or lacking(market, flavor, spec, volume=volume)


def hoped(spec: Spec) -> tuple[Market, ...]:
    """What the inventory hopes for: every flavor as large as the machine, in every region."""
    machine, provider = spec.machine, openstack(spec)
    flavors = tuple(
        Flavor(name, name, machine.cpus, int(machine.memory), int(machine.disk)) for name in provider.flavors
    )
    return tuple(
        Market(region, flavors, provider.image, provider.network, provider.floating_from) for region in provider.regions
    )


def price(spec: Spec, flavor: str) -> float | None:
    """What the inventory says that a month of the flavor costs; None where it says nothing."""
    provider = openstack(spec)
    first = spec.cost.machine if flavor == provider.flavors[0] else None
    return provider.prices.get(flavor, first)


def offered(spec: Spec, market: Market, flavor: Flavor) -> Offer | None:
    """A flavor as an offer; None where the inventory states no price of it."""
    stated = price(spec, flavor.name)
    if stated is None:
        return None
    cost, monthly = spec.cost, Decimal(str(stated))
    return Offer(
        provider="openstack",
        type=flavor.name,
        location=market.region,
        cpus=flavor.cpus,
        memory=flavor.memory,
        disk=flavor.disk,
        arch=spec.machine.arch,
        cpu_kind="dedicated" if flavor.dedicated else "shared",
        monthly=monthly,
        hourly=(monthly / HOURS).quantize(Decimal("0.0001"), ROUND_HALF_UP),
        currency=cost.currency,
        traffic_included=int(cost.traffic_included or 0),
        traffic_price=Decimal(str(cost.traffic_price or 0)),
        available=not flavor.disabled and not lacking(market, flavor, spec, volume=False),
    )


def fixed(spec: Spec, flavor: str) -> Decimal | None:
    """A month of server, address and volume; None where the inventory states no price of the flavor."""
    stated, cost = price(spec, flavor), spec.cost
    if stated is None:
        return None
    volume = Decimal(int(openstack(spec).volume or 0)) / GB * Decimal(str(cost.volume or 0))
    return money(Decimal(str(stated)) + Decimal(str(cost.address or 0)) + volume)


def dear(spec: Spec, flavor: str) -> str:
    """Why a flavor may not be taken for its price; empty when it may."""
    most, costs = openstack(spec).max_price, fixed(spec, flavor)
    if most is None or (costs is not None and costs <= Decimal(str(most))):
        return ""
    if costs is None:
        return "its price is not in provider.prices, and provider.max_price is set"
    return f"{costs} {spec.cost.currency} a month are more than provider.max_price, {most:g}"


def candidates(spec: Spec, regions: Collection[str] | None = None) -> list[Candidate]:
    """Every flavor in the best region, then in the next; only in ``regions`` where they are given."""
    provider = openstack(spec)
    inside = [region for region in provider.regions if regions is None or region in regions]
    return [Candidate(region, flavor) for region in inside for flavor in provider.flavors]
