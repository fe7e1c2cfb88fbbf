"""What a node costs, what else could be had, and what is left over: looks that need no machine and no secret.

Loading an inventory is imported where it is needed: ``offers`` needs none, and is to be quick.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from binder_node.errors import InputError, Problem
from binder_node.events import Reporter
from binder_node.providers import Shop, shop_for
from binder_node.providers.base import Leftover, Provider
from binder_node.providers.offers import Bill, Use, bill, bill_of, fitting
from binder_node.spec.model import HetznerProvider, Spec

if TYPE_CHECKING:
    from binder_node.lifecycle.opened import Opened


@dataclass(frozen=True, slots=True)
class Wanted:
    """What ``offers`` is asked for. ``max_price`` is a month's, without VAT, of all that ``use`` takes."""

    sessions: int = 0
    max_price: Decimal | None = None
    arch: str = ""
    locations: tuple[str, ...] = ()
    use: Use = field(default_factory=Use)


def price(spec: Spec, provider: Provider, report: Reporter) -> Bill | None:
    """The node's bill of a month; None where nobody knows what its machine costs.

    Raises:
        StepError: the provider's API refused, or cannot be reached.
    """
    offer = provider.own_offer(report)
    return None if offer is None else bill_of(spec, offer, provider.tariff(report))


def cost(opened: Opened, report: Reporter) -> Bill:
    """As :func:`price`; raises InputError where nobody knows."""
    from binder_node.lifecycle.opened import open_unseen
    from binder_node.providers import provider_for

    found = price(opened.spec, provider_for(open_unseen(opened)), report)
    if found is None:
        wrong = "nobody knows what the machine costs: its provider has no API of prices"
        raise InputError(Problem(str(opened.inventory), 0, "cost.machine", wrong, "write what a month costs, like 90"))
    return found


def above_limit(spec: Spec, found: Bill) -> Decimal | None:
    """``provider.max_price`` where machine, address and volume cost more; what depends on use stops nobody."""
    most = spec.provider.max_price if isinstance(spec.provider, HetznerProvider) else None
    limit = None if most is None else Decimal(str(most))
    return limit if limit is not None and found.fixed > limit else None


def offers(shop: Shop, wanted: Wanted) -> list[Bill]:
    """The offers that fit, each as the bill of a month, the cheapest first."""
    now = datetime.now(UTC).date()
    found = fitting(shop.offers, now, wanted.sessions, wanted.arch, wanted.locations)
    bills = [bill(offer, shop.tariff(offer.location), wanted.use) for offer in found]
    within = [one for one in bills if wanted.max_price is None or one.monthly <= wanted.max_price]
    return sorted(within, key=lambda one: (one.monthly, one.offer.type, one.offer.location))


def check_locations(shop: Shop, wanted: Wanted) -> None:
    """Raises InputError where a location is none of the provider's."""
    known = sorted({offer.location for offer in shop.offers})
    for name in wanted.locations:
        if name not in known:
            raise InputError(Problem("", 0, "--location", f"there is no {name}", f"there are {', '.join(known)}"))


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What no inventory knows; ``unseen`` are inventories whose account could not be looked at, each with why."""

    found: list[Leftover]
    unseen: list[str]


def leftovers(folder: Path, shops: Iterable[str], report: Reporter, endpoint: str = "") -> Forgotten:
    """What carries binder-node's labels and belongs to no inventory in ``folder``.

    Every inventory's own account is looked at; ``shops`` are kinds of provider to be asked besides, at ``endpoint``
    or their own. Nothing of the name of an inventory that is wrong, or has no token here, is taken for left over.

    Raises:
        InputError: there is no token for one of ``shops``.
        StepError: an account refused, or could not be reached.
    """
    from binder_node.lifecycle.opened import open_spec, open_unseen
    from binder_node.providers import provider_for

    files = sorted(folder.glob("*.yaml"))
    known = {file.stem for file in files}
    found: dict[tuple[str, str], Leftover] = {}
    unseen = []
    for file in files:
        try:
            opened = open_spec(str(file), None)
            labelled = provider_for(open_unseen(opened)).leftovers(report)
        except InputError as error:
            unseen.append(f"{file}: {error.problems[0]}")
            continue
        for one in labelled:
            if one.node not in known or one.node == opened.spec.name:
                found[one.kind, one.id] = one
    for kind in shops:
        for one in shop_for(kind, endpoint).labelled():
            if one.node not in known:
                found[one.kind, one.id] = one
    return Forgotten(sorted(found.values(), key=lambda one: (one.node, one.kind, one.name)), unseen)
