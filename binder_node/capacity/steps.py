"""The search for the rate at which a node still does what is wanted: one step of load a rate. Pure.

A step is a minute or so of arrivals at one rate. Rates go up until a step is worse than the goal, then the gap between
the highest good one and the lowest bad one is halved (geometrically) until it is narrow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from binder_node.load.numbers import percentile

# From one step to the next while everything is good: three steps a factor of 3.4.
UP = 1.5
# A bad step this close above a good one ends the search: repeated steps of one node differ by as much.
CLOSE = 1.15


@dataclass(frozen=True, slots=True)
class Goal:
    """What is wanted: ``p95`` seconds from the request to a server that answers, of launches whose image is there;
    and at most ``failures`` (a share) that failed or were refused."""

    p95: float = 15.0
    failures: float = 0.01


@dataclass(frozen=True, slots=True)
class Step:
    """What a node did at ``rate`` launches a second, asked for during ``seconds``.

    ``ready`` are the seconds to a server of each launch that got one. ``refused``: told that the node is full.
    ``cpu`` is the share of all cores that was busy in the mean, ``memory`` the most bytes in use, ``sessions`` the
    most at once; None where nobody looked.
    """

    rate: float
    seconds: float
    ready: tuple[float, ...] = ()
    refused: int = 0
    failed: int = 0
    cpu: float | None = None
    memory: int | None = None
    sessions: int | None = None

    @property
    def launches(self) -> int:
        return len(self.ready) + self.refused + self.failed

    @property
    def lost(self) -> float:
        """The share that got no server."""
        return (self.refused + self.failed) / self.launches if self.launches else 0.0

    @property
    def p95(self) -> float | None:
        """None where nothing was ready."""
        return percentile(self.ready, 95) if self.ready else None


def good(step: Step, goal: Goal) -> bool:
    """Whether the step did what is wanted. One in which nothing was asked for shows nothing, and is not good."""
    return step.p95 is not None and step.p95 <= goal.p95 and step.lost <= goal.failures


def why_not(step: Step, goal: Goal) -> str:
    """What was worse than the goal, in words; empty for a good step."""
    found = []
    if not step.launches:
        return "nothing was launched"
    if step.failed and step.lost > goal.failures:
        found.append(f"{step.failed} of {step.launches} failed")
    if step.refused and step.lost > goal.failures:
        found.append(f"{step.refused} of {step.launches} refused: its quota is full")
    if step.p95 is not None and step.p95 > goal.p95:
        found.append(f"p95 {step.p95:.1f} s")
    return ", ".join(found)


@dataclass(frozen=True, slots=True)
class Bounds:
    """``good`` is the highest rate that did what is wanted below every one that did not (0: none); ``bad`` the lowest
    that did not (infinite: none)."""

    good: float
    bad: float

    @property
    def closed(self) -> bool:
        return self.good > 0 and self.bad <= self.good * CLOSE


def bounds(tried: Sequence[Step], goal: Goal) -> Bounds:
    """What the steps so far say of the saturation. A good step above a bad one counts for nothing: it was luck."""
    bad = min((step.rate for step in tried if not good(step, goal)), default=math.inf)
    return Bounds(max((step.rate for step in tried if good(step, goal) and step.rate < bad), default=0.0), bad)


def next_rate(tried: Sequence[Step], goal: Goal, start: float, least: float) -> float | None:
    """The rate to try next; None when the saturation is known, or lies below ``least``.

    >>> next_rate([], Goal(), 0.4, 0.05)
    0.4
    >>> next_rate([Step(0.4, 60, (3.0,))], Goal(), 0.4, 0.05)
    0.6
    """
    if not tried:
        return start
    found = bounds(tried, goal)
    if found.closed:
        return None
    if found.good == 0:
        lower = found.bad / UP / UP
        return lower if lower >= least else None
    return round(found.good * UP if math.isinf(found.bad) else math.sqrt(found.good * found.bad), 3)
