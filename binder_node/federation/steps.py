"""The steps of a ramp: where to begin, how far to go, and what comes after a step. Pure.

The rule is made of the ramps that the federation had (field guide, 3): 10 -> 20 -> 40 -> 60 -> 20 -> 40 -> 60 -> 70 in
three days, 5 -> 25 -> 50 in thirteen days, 10 -> 30 -> 50. They began at a tenth to a fifth of their target, so this
one at an eighth. Steps of two fold held; the one to three quarters of the quota stepped back, two thirds of the way
(20 of 60). So a step doubles at most, ends in the target, and never where pods would take more than four fifths of
what the quota leaves. A prime that began high had a build storm (#3173).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from binder_node.federation.config import Federation
from binder_node.federation.gate import Judgement
from binder_node.federation.measured import Numbers

BEGIN = 8  # the first weight is this part of the target
FACTOR = 2.0
# A step that would end this near to the target goes there at once.
SNAP = 0.8
# Of the pods that the quota leaves below the redirector's headroom, as many may be expected.
ROOM = 0.8


@dataclass(frozen=True, slots=True)
class Target:
    """``weight`` to end at, and why it is that."""

    weight: int
    why: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do after a window: ``go`` on to ``weight``, ``hold`` where it is, go ``back`` to ``weight``, or ``done``.

    ``reasons`` say why, one sentence each.
    """

    what: str
    weight: int
    reasons: tuple[str, ...] = ()


def steps(now: int, target: int) -> list[int]:
    """The weights from ``now`` (0: none yet) to ``target``, ``now`` itself left out.

    >>> steps(0, 50), steps(0, 70), steps(0, 3), steps(12, 50), steps(50, 50)
    ([6, 12, 24, 50], [9, 18, 36, 70], [1, 2, 3], [24, 50], [])
    """
    found = []
    while now < target:
        now = after(now, target)
        found.append(now)
    return found


def after(now: int, target: int) -> int:
    """The weight after ``now``, headroom left out of account."""
    if now == 0:
        return max(1, math.floor(target / BEGIN + 0.5))
    wide = math.floor(now * FACTOR)
    return target if wide >= SNAP * target else wide


def before(now: int, target: int) -> int:
    """The weight to step back to: the greatest step on the way to ``target`` that is less than ``now``; 0 below all.

    >>> before(24, 50), before(30, 50), before(6, 50)
    (12, 24, 0)
    """
    return max((step for step in steps(0, target) if step < now), default=0)


def target(
    wanted: int, federation: Federation, member: str, quota: int | None, pods: Sequence[int], headroom: int
) -> Target:
    """Where the ramp ends: ``wanted`` (0: the median of the others' weights), or less where the quota is too small.

    ``pods`` are the other members' pods now, as their /health tells: the traffic there is to take a share of.
    """
    others = [one.weight for one in federation.routed if one.name != member]
    weight, why = (wanted, "as asked") if wanted else (0, "")
    if not weight:
        weight = max(1, round(median(others))) if others else 50
        why = "the median of the other members' weights" if others else "a federation of one"
    if quota is not None and pods and others:
        fits = _fitting(quota, headroom, sum(pods), sum(others))
        if fits < weight:
            return Target(fits, f"{sum(pods)} pods of the others and a quota of {quota} allow no more")
    return Target(weight, why)


def _fitting(quota: int, headroom: int, demand: float, others: float) -> int:
    """The weight at which a share of ``demand`` (pods of all) comes to what the quota has room for; at least 1."""
    share = ROOM * max(0, quota - headroom) / demand if demand else 1.0
    return 10**6 if share >= 1 else max(1, math.floor(others * share / (1 - share)))


def room(weight: int, others: float, seen: Numbers, headroom: int) -> int:
    """The greatest weight at which the pods seen at ``weight`` would still fit, when they grow as the share does."""
    if seen.quota is None or not seen.pods or not weight:
        return 10**6
    share = weight / (weight + others)
    bound = share * ROOM * max(0, seen.quota - headroom) / seen.pods
    return 10**6 if bound >= 1 else math.floor(others * bound / (1 - bound))


def decide(now: int, goal: int, others: float, seen: Numbers, judgement: Judgement, headroom: int) -> Decision:
    """What a window at weight ``now`` means. ``others`` is the sum of the other members' weights."""
    if judgement.back:
        return Decision("back", before(now, goal), judgement.back)
    if now >= goal:
        return Decision("done", now, (f"{now} is the target",))
    if judgement.hold:
        return Decision("hold", now, judgement.hold)
    wanted, fits = after(now, goal), room(now, others, seen, headroom)
    if fits <= now:
        return Decision(
            "hold", now, (f"quota: {seen.pods} pods of {seen.quota} at weight {now} leave no room for more",)
        )
    if fits < wanted:
        why = f"{seen.pods} pods of {seen.quota} at weight {now} leave room for {fits}, not {wanted}"
        return Decision("go", fits, (_well(seen), why))
    return Decision("go", wanted, (_well(seen),))


def _well(seen: Numbers) -> str:
    took = f", 95 of 100 ready within {seen.ready:.0f} s" if seen.ready is not None else ""
    of = "no quota" if seen.quota is None else seen.quota
    return f"{seen.launched} launches, {seen.failed} failed{took}, {seen.pods} pods of {of}"
