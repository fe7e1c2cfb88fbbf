"""What machines cost: offers, unit prices, and what a node comes to a month. Pure; money is exact (Decimal)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal

from binder_node.spec import sizing
from binder_node.spec.model import Spec

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
    """One line of a bill: ``count`` times ``unit_price`` make ``monthly``. ``unit`` says what is counted: ``GB``."""

    what: str
    unit_price: Decimal
    unit: str
    count: Decimal
    monthly: Decimal


def line(what: str, unit_price: Decimal, unit: str = "month", count: Decimal | int = 1) -> PriceLine:
    """A line with its product, to the cent.

    >>> line("volume", Decimal("0.044"), "GB", 500).monthly
    Decimal('22.00')
    """
    return PriceLine(what, unit_price, unit, Decimal(count), money(unit_price * count))


def money(value: Decimal) -> Decimal:
    """``value`` to the cent."""
    return value.quantize(CENT, ROUND_HALF_UP)


def total(lines: Iterable[PriceLine]) -> Decimal:
    """What the lines come to."""
    return money(sum((one.monthly for one in lines), Decimal(0)))


def stated_tariff(spec: Spec) -> Tariff:
    """The unit prices that the inventory states: for providers whose API tells none."""
    cost = spec.cost
    return Tariff(
        currency=cost.currency,
        address=_decimal(cost.address),
        volume=_decimal(cost.volume),
        objects=_decimal(cost.objects),
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


# Hours of a month as clouds bill them (365 days / 12).
HOURS = 730


def _decimal(value: float | None) -> Decimal | None:
    return None if value is None else Decimal(str(value))
