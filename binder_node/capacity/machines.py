"""Which machines hold so many sessions, by what was measured on one. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from binder_node.capacity.fit import Fit, Limit, Machine, Use, limits
from binder_node.providers.offers import Offer, fitting


@dataclass(frozen=True, slots=True)
class Choice:
    """An offer and what it would hold; ``limit`` is what allows no more."""

    offer: Offer
    limit: Limit


def choices(found: Fit, use: Use, offers: Iterable[Offer], sessions: int, today: date) -> list[Choice]:
    """The offers that can be ordered ``today`` and would hold ``sessions`` or more, the cheapest first.

    Cores are taken for as fast as the measured ones: a shared core is not.
    """
    ranked = fitting(offers, today)
    held = [Choice(offer, most[0]) for offer in ranked if (most := _limits(found, use, offer))]
    return [one for one in held if one.limit.sessions >= sessions]


def _limits(found: Fit, use: Use, offer: Offer) -> list[Limit]:
    return limits(found, use, machine=Machine(offer.cpus, offer.memory))
