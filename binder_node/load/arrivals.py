"""Who comes when, for what, and how long they stay: the whole load, drawn before it begins. Pure.

One seed gives one load, so that two nodes, or one node before and after a change, can be given the same.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
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


def ranked(paths: Sequence[str], skew: float = 1.0) -> dict[str, float]:
    """How often each of ``paths`` is asked for: the n-th 1/n**``skew`` as often as the first (0: all alike).

    >>> ranked(["a", "b"])
    {'a': 1.0, 'b': 0.5}
    """
    return {path: 1 / rank**skew for rank, path in enumerate(paths, 1)}


def poisson(
    popularity: Mapping[str, float],
    habits: Habits,
    *,
    rate: float,
    seconds: float,
    most: int | None = None,
    seed: int = 0,
) -> list[Arrival]:
    """Arrivals at random, ``rate`` a second for ``seconds``, ``most`` in all, in order.

    ``popularity`` has the repositories, as ``/build/`` takes them, and how often each is asked for, by any measure.
    """
    draw = random.Random(seed)
    paths, sums = list(popularity), list(accumulate(popularity.values()))
    found: list[Arrival] = []
    at = draw.expovariate(rate)
    while at < seconds and (most is None or len(found) < most):
        path = paths[min(bisect_left(sums, draw.random() * sums[-1]), len(paths) - 1)]
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
    found: list[Arrival] = []
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


def cells_of(text: str) -> tuple[str, ...]:
    """The cells of a Python file: parted by lines that begin with ``# %%``, as editors and Jupytext have it.

    >>> cells_of("# %% one\\na = 1\\n# %%\\nprint(a)\\n")
    ('a = 1', 'print(a)')
    """
    cells: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.startswith("# %%"):
            cells.append([])
        else:
            cells[-1].append(line)
    found = ("\n".join(lines).strip("\n") for lines in cells)
    return tuple(cell for cell in found if cell.strip())
