"""When a node to which no name leads any more is left alone by everybody. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from binder_node.federation.measured import Counters, Sample


@dataclass(frozen=True, slots=True)
class Traffic:
    """A look at a node, ``at`` seconds since the epoch: launches and builds under way, and those that ended by then
    (with the start of each process that counts them, so that a restart is no silence)."""

    at: float
    under_way: float
    ended: tuple[tuple[float, float], ...]


def traffic(sample: Sample) -> Traffic | None:
    """What a look tells of launches; None where it does not."""
    if sample.error or not sample.counters:
        return None
    under_way = sum(one.building + one.launching for one in sample.counters)
    return Traffic(sample.at, under_way, tuple(sorted(_ended(one) for one in sample.counters)))


def _ended(one: Counters) -> tuple[float, float]:
    return one.started, sum(one.launches.values()) + sum(one.builds.values()) + one.retries


def quiet_since(looks: Sequence[Traffic]) -> float | None:
    """Since when (as :attr:`Traffic.at`) nothing was under way and nothing ended; None: something is under way."""
    since: float | None = None
    ended = looks[-1].ended if looks else ()
    for look in reversed(looks):
        if look.under_way or look.ended != ended:
            break
        since = look.at
    return since
