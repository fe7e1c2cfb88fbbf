"""A load's visits in numbers: percentiles, rates, failures by cause. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from binder_node.load.visit import Outcome, Visit

SHOWN = (50.0, 90.0, 95.0, 99.0)


@dataclass(frozen=True, slots=True)
class Spread:
    """Times of many visits in seconds: how many, their percentiles by number, the longest and the mean."""

    count: int
    percentiles: dict[float, float]
    most: float
    mean: float


@dataclass(frozen=True, slots=True)
class Cause:
    """Visits that ended early alike; ``example`` is what one of them was told."""

    outcome: Outcome
    stage: str
    cause: str
    count: int
    example: str


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of visits by outcome. ``sent`` leaves out those that were held back; ``launched`` had a ready server.

    ``failing``: the share of those sent that failed or lost their server, of those that were not refused or cut.
    ``ready`` is the time from the click to the ready server, ``cached`` and ``built`` by whether the image was there,
    ``answered`` the time to the first cell's end. ``rate``: visits sent a second while users came; ``late``: the
    95th percentile of this computer's own lateness; ``peak``: the most users with a server at once.
    """

    sent: int
    launched: int
    outcomes: dict[Outcome, int]
    failing: float
    rate: float
    ready: Spread | None
    cached: Spread | None
    built: Spread | None
    answered: Spread | None
    causes: tuple[Cause, ...]
    members: dict[str, int]
    late: float
    peak: int


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` percent of ``values`` lie, linear between two of them (numpy's default).

    >>> percentile([1.0, 2.0, 3.0, 4.0], 50)
    2.5
    """
    ranked = sorted(values)
    place = (len(ranked) - 1) * share / 100
    below = math.floor(place)
    above = min(below + 1, len(ranked) - 1)
    return ranked[below] + (ranked[above] - ranked[below]) * (place - below)


def spread(values: Iterable[float]) -> Spread | None:
    """None where there is nothing to spread."""
    found = list(values)
    if not found:
        return None
    percentiles = {share: round(percentile(found, share), 3) for share in SHOWN}
    return Spread(len(found), percentiles, round(max(found), 3), round(sum(found) / len(found), 3))


def summary(visits: Sequence[Visit], arriving: float) -> Summary:
    """The numbers of ``visits``; ``arriving``: for how many seconds users came."""
    outcomes = Counter(visit.outcome for visit in visits)
    sent = [visit for visit in visits if visit.outcome != "held"]
    counted = [visit for visit in sent if visit.outcome not in ("refused", "cut")]
    bad = sum(visit.outcome in ("failed", "lost") for visit in counted)
    return Summary(
        sent=len(sent),
        launched=sum(visit.launched for visit in sent),
        outcomes=dict(outcomes),
        failing=bad / len(counted) if counted else 0.0,
        rate=len(sent) / arriving if arriving else 0.0,
        ready=spread(visit.ready for visit in sent if visit.ready is not None),
        cached=spread(visit.ready for visit in sent if visit.ready is not None and visit.kind == "cached"),
        built=spread(visit.ready for visit in sent if visit.ready is not None and visit.kind == "built"),
        answered=spread(visit.answered for visit in sent if visit.answered is not None),
        causes=causes(visits),
        members=dict(Counter(visit.member for visit in sent if visit.member).most_common()),
        late=percentile([visit.late for visit in sent], 95) if sent else 0.0,
        peak=peak(sent),
    )


def causes(visits: Iterable[Visit]) -> tuple[Cause, ...]:
    """Why visits ended early, the most frequent first."""
    found: dict[tuple[Outcome, str, str], list[str]] = {}
    for visit in visits:
        if visit.outcome != "done":
            found.setdefault((visit.outcome, visit.stage, visit.cause), []).append(visit.message)
    rows = [Cause(*key, len(messages), messages[0]) for key, messages in found.items()]
    return tuple(sorted(rows, key=lambda row: (-row.count, row.outcome, row.stage, row.cause)))


def peak(visits: Iterable[Visit]) -> int:
    """The most users that had a server at once."""
    return max((count for _, count in held(visits)), default=0)


def held(visits: Iterable[Visit]) -> list[tuple[float, int]]:
    """``(at, servers)``: after each coming and going of a server, how many there are, in order."""
    steps: list[tuple[float, int]] = []
    for visit in visits:
        if visit.ready is not None:
            steps += [(visit.at + visit.ready, 1), (visit.at + visit.left, -1)]
    found, count = [], 0
    for at, step in sorted(steps):
        count += step
        found.append((at, count))
    return found
