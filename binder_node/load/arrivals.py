"""Who comes when, for what, and how long they stay: the whole load, drawn before it begins. Pure.

One seed gives one load, so that two nodes, or one node before and after a change, can be given the same.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from binder_node.federation import demand

Leaving = Literal["stops", "closes"]


@dataclass(frozen=True, slots=True)
class Arrival:
    """One user. ``at``: seconds from the load's beginning. ``path``: what ``/build/`` takes, without a leading slash.

    ``stay``: seconds from the ready server to leaving. ``cells``: when each cell is run, in seconds after the server
    was ready, ascending. Who ``stops`` shuts the server down; who ``closes`` leaves it to the hub's culler.
    """

    at: float
    path: str
    stay: float
    cells: tuple[float, ...] = (0.0,)
    leaving: Leaving = "stops"


@dataclass(frozen=True, slots=True)
class Habits:
    """What users do. Times in seconds.

    ``stay`` is the mean of an exponential distribution, cut at ``longest``; ``pause`` the mean between two cells.
    ``closing``: the share (0 to 1) that only closes the tab.
    """

    stay: float = 300.0
    longest: float = 3600.0
    pause: float = 30.0
    closing: float = 0.0


def poisson(
    paths: Sequence[str],
    habits: Habits,
    *,
    rate: float,
    seconds: float,
    most: int | None = None,
    skew: float = 1.0,
    seed: int = 0,
) -> list[Arrival]:
    """Arrivals at random, ``rate`` a second for ``seconds``, ``most`` in all, in order.

    The n-th of ``paths`` is asked for as often as 1/n**``skew`` of the first (0: all alike).
    """
    draw = random.Random(seed)
    popularity = list(accumulate(1 / rank**skew for rank in range(1, len(paths) + 1)))
    found: list[Arrival] = []
    at = draw.expovariate(rate)
    while at < seconds and (most is None or len(found) < most):
        path = paths[bisect_left(popularity, draw.random() * popularity[-1])]
        found.append(_user(at, path, habits, draw))
        at += draw.expovariate(rate)
    return found


def recorded(
    lines: Iterable[str],
    file: str,
    habits: Habits,
    *,
    speed: float = 1.0,
    scale: float = 1.0,
    seconds: float | None = None,
    most: int | None = None,
    seed: int = 0,
) -> list[Arrival]:
    """Launches of the federation's archive (:func:`binder_node.federation.demand.recorded`), in order.

    ``speed`` 60 plays an hour in a minute; ``scale`` 2 has each launch twice. Those after ``seconds`` are left out.

    Raises:
        InputError: a line is no launch.
    """
    draw = random.Random(seed)
    found = []
    for event in demand.recorded(lines, file, scale=scale, seed=seed):
        at = event.at / speed
        if (seconds is not None and at >= seconds) or (most is not None and len(found) >= most):
            break
        found.append(_user(at, event.path.removeprefix("/build/"), habits, draw))
    return found


def _user(at: float, path: str, habits: Habits, draw: random.Random) -> Arrival:
    stay = min(habits.longest, draw.expovariate(1 / habits.stay)) if habits.stay > 0 else 0.0
    cells, cell = [0.0], draw.expovariate(1 / habits.pause)
    while cell < stay:
        cells.append(cell)
        cell += draw.expovariate(1 / habits.pause)
    leaving: Leaving = "closes" if draw.random() < habits.closing else "stops"
    return Arrival(at, path, stay, tuple(cells), leaving)
