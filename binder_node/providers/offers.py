"""What machines cost: offers, unit prices, and what a node comes to a month. Pure; money is exact (Decimal)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal

from binder_node.spec import sizing
from binder_node.spec.model import HetznerProvider, S3Storage, Spec
from binder_node.spec.quantity import shortest
from binder_node.spec.sizing import GB

CpuKind = Literal["shared", "dedicated"]
CENT = Decimal("0.01")
TB = 10**12


@dataclass(frozen=True, slots=True)
class Offer:
    """A machine that a provider would make, at its live price without VAT; one for each type and location.

    ``memory``, ``disk`` and ``traffic_included`` (a month) are bytes; ``traffic_price`` is for a TB above that.
    ``available``: it could be ordered now. ``deprecated``: the day from which it cannot be ordered any more.
    """

    provider: str
    type: str
    location: str
    cpus: int
    memory: int
    disk: int
    arch: str
    cpu_kind: CpuKind
    monthly: Decimal
    hourly: Decimal
    currency: str
    traffic_included: int
    traffic_price: Decimal
    available: bool = True
    deprecated: date | None = None

    @property
    def carries(self) -> int:
        """Sessions that its memory holds."""
        return sizing.carries(self.memory)

    @property
    def quota(self) -> int:
        """The quota that a node on it gets when its inventory says none."""
        return sizing.quota(self.memory, sizing.max_pods(self.memory))


@dataclass(frozen=True, slots=True)
class Tariff:
    """A provider's prices besides the machine's, a month and without VAT. ``None``: nobody knows.

    ``address`` for a public IPv4 address; ``volume`` and ``objects`` for a GB; ``objects_base`` for having a bucket at
    all, ``objects_included`` the bytes that this holds. ``vat`` is a share: 0.19.
    """

    currency: str
    address: Decimal | None = None
    volume: Decimal | None = None
    objects: Decimal | None = None
    objects_base: Decimal = Decimal(0)
    objects_included: int = 0
    vat: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class PriceLine:
    """One line of a bill: ``count`` times ``unit_price`` make ``monthly``. ``unit`` says what is counted: ``GB``.

    ``fixed``: it is paid whatever is used.
    """

    what: str
    unit_price: Decimal
    unit: str
    count: Decimal
    monthly: Decimal
    fixed: bool = False


def line(
    what: str, unit_price: Decimal, unit: str = "month", count: Decimal | int = 1, *, fixed: bool = False
) -> PriceLine:
    """A line with its product, to the cent.

    >>> line("volume", Decimal("0.044"), "GB", 500).monthly
    Decimal('22.00')
    """
    return PriceLine(what, unit_price, unit, Decimal(count), money(unit_price * count), fixed)


def money(value: Decimal) -> Decimal:
    """``value`` to the cent."""
    return value.quantize(CENT, ROUND_HALF_UP)


def total(lines: Iterable[PriceLine]) -> Decimal:
    """What the lines come to."""
    return money(sum((one.monthly for one in lines), Decimal(0)))


def stated_tariff(spec: Spec, live: Tariff | None = None) -> Tariff:
    """The unit prices that the inventory states, over the ``live`` ones where an API tells them."""
    cost, under = spec.cost, live or Tariff(spec.cost.currency)
    objects = _decimal(cost.objects)
    return replace(
        under,
        address=under.address if cost.address is None else _decimal(cost.address),
        volume=under.volume if cost.volume is None else _decimal(cost.volume),
        objects=under.objects if objects is None else objects,
        # A price of one's own is for each GB, from the first.
        objects_base=under.objects_base if objects is None else Decimal(0),
        objects_included=under.objects_included if objects is None else 0,
    )


def stated_offer(spec: Spec, kind: str, location: str = "") -> Offer | None:
    """The node's own machine as the inventory states it; None where it states no price."""
    monthly = _decimal(spec.cost.machine)
    if monthly is None:
        return None
    return Offer(
        provider=kind,
        type=spec.name,
        location=location,
        cpus=spec.machine.cpus,
        memory=int(spec.machine.memory),
        disk=int(spec.machine.disk),
        arch=spec.machine.arch,
        cpu_kind="dedicated",
        monthly=monthly,
        hourly=(monthly / HOURS).quantize(Decimal("0.0001"), ROUND_HALF_UP),
        currency=spec.cost.currency,
        traffic_included=int(spec.cost.traffic_included or 0),
        traffic_price=_decimal(spec.cost.traffic_price) or Decimal(0),
    )


@dataclass(frozen=True, slots=True)
class Use:
    """What a month of a node takes besides the machine. Sizes are bytes; ``bucket``: it pays for object storage."""

    address: bool = True
    volume: int = 0
    bucket: bool = False
    stored: int = 0
    traffic: int = 0


@dataclass(frozen=True, slots=True)
class Bill:
    """A month of a node on ``offer``, without VAT. ``unknown``: what it takes besides, at a price that nobody told.

    ``sessions`` is the quota, ``carries`` how many the memory holds.
    """

    offer: Offer
    lines: tuple[PriceLine, ...]
    unknown: tuple[str, ...]
    vat: Decimal
    sessions: int
    carries: int

    @property
    def monthly(self) -> Decimal:
        return total(self.lines)

    @property
    def fixed(self) -> Decimal:
        """Machine, address and volume."""
        return total(one for one in self.lines if one.fixed)

    @property
    def with_vat(self) -> Decimal:
        return money(self.monthly * (1 + self.vat))

    @property
    def per_session(self) -> Decimal | None:
        """Of the quota; None where that is 0."""
        return money(self.monthly / self.sessions) if self.sessions else None

    @property
    def per_carried(self) -> Decimal | None:
        """Of the sessions that the memory holds."""
        return money(self.monthly / self.carries) if self.carries else None


def bill(offer: Offer, tariff: Tariff, use: Use, sessions: int | None = None, carries: int | None = None) -> Bill:
    """What ``use`` of ``offer`` comes to. ``sessions`` and ``carries`` default to the offer's own."""
    lines, unknown = [line(f"machine {offer.type}".strip(), offer.monthly, fixed=True)], []
    if use.address and tariff.address is not None:
        lines.append(line("IPv4 address", tariff.address, fixed=True))
    if use.volume and tariff.volume is None:
        unknown.append("volume")
    elif use.volume and tariff.volume is not None:
        lines.append(line("volume", tariff.volume, "GB", Decimal(use.volume) / GB, fixed=True))
    if use.bucket and tariff.objects is None:
        unknown.append("object storage")
    elif use.bucket and tariff.objects is not None:
        if tariff.objects_base:
            lines.append(line(f"object storage, {shortest(tariff.objects_included)} included", tariff.objects_base))
        more = Decimal(max(0, use.stored - tariff.objects_included)) / GB
        if more:
            lines.append(line("object storage", tariff.objects, "GB", more))
    if use.traffic:
        what = f"traffic, {shortest(offer.traffic_included)} included"
        lines.append(line(what, offer.traffic_price, "TB", Decimal(max(0, use.traffic - offer.traffic_included)) / TB))
    return Bill(
        offer,
        tuple(lines),
        tuple(unknown),
        tariff.vat,
        offer.quota if sessions is None else sessions,
        offer.carries if carries is None else carries,
    )


def use_of(spec: Spec) -> Use:
    """What the inventory says that a month takes."""
    provider = spec.provider
    return Use(
        volume=int(provider.volume or 0) if isinstance(provider, HetznerProvider) else 0,
        bucket=isinstance(spec.storage, S3Storage),
        stored=int(spec.cost.stored),
        traffic=int(spec.cost.traffic),
    )


def bill_of(spec: Spec, offer: Offer, tariff: Tariff) -> Bill:
    """A month of the node as its inventory describes it."""
    guarantee = spec.binderhub.session.memory_guarantee
    carries = sizing.carries(spec.machine.memory, guarantee)
    return bill(stated_over(spec, offer), tariff, use_of(spec), spec.binderhub.quota, carries)


def stated_over(spec: Spec, offer: Offer) -> Offer:
    """``offer`` with what the inventory states of its price."""
    cost = spec.cost
    return replace(
        offer,
        monthly=offer.monthly if cost.machine is None else Decimal(str(cost.machine)),
        traffic_included=offer.traffic_included if cost.traffic_included is None else int(cost.traffic_included),
        traffic_price=offer.traffic_price if cost.traffic_price is None else Decimal(str(cost.traffic_price)),
    )


def fitting(
    offers: Iterable[Offer], today: date, sessions: int = 0, arch: str = "", locations: Collection[str] = ()
) -> list[Offer]:
    """The offers that can be ordered ``today`` and whose quota is ``sessions`` or more, the cheapest first."""
    found = (
        offer
        for offer in offers
        if offer.available
        and (offer.deprecated is None or offer.deprecated > today)
        and offer.quota >= sessions
        and arch in ("", offer.arch)
        and (not locations or offer.location in locations)
    )
    return sorted(found, key=lambda offer: (offer.monthly, offer.type, offer.location))


# Hours of a month as clouds bill them (365 days / 12).
HOURS = 730


def _decimal(value: float | None) -> Decimal | None:
    return None if value is None else Decimal(str(value))
