"""Who asks for what, and when: made up by a few numbers, or as the public archive of launches has it. Pure."""

from __future__ import annotations

import json
import math
import random
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from urllib.parse import quote

from binder_node.errors import InputError, Problem
from binder_node.federation.archive import PROVIDERS, URL

HOUR = 3600.0
# The busiest hour of the day, UTC: afternoon in Europe, morning in America. An assumption, as is the shape (a sine).
PEAK_HOUR = 15.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request at the redirector: ``at`` in seconds from the start, its ``path``, and whose cookies it brings."""

    at: float
    path: str
    visitor: int


def synthetic(
    *,
    hours: float,
    per_hour: float,
    swing: float = 0.4,
    repositories: int = 1000,
    returning: float = 0.1,
    memory: float = 4 * HOUR,
    seed: int = 0,
) -> list[Arrival]:
    """Requests at random over ``hours``, ``per_hour`` in the mean of a day, in order.

    ``swing``: by how much of the mean a day goes up and down. The n-th of ``repositories`` is asked for as often as
    1/n of the first. ``returning``: the share of requests that repeat somebody's of the last ``memory`` seconds.
    """
    draw = random.Random(seed)
    popularity = list(accumulate(1 / rank for rank in range(1, repositories + 1)))
    found: list[Arrival] = []
    times: list[float] = []
    at = 0.0
    while per_hour > 0:
        at += draw.expovariate(per_hour * (1 + swing) / HOUR)
        if at >= hours * HOUR:
            break
        if draw.random() * (1 + swing) > _level(at, swing):
            continue
        number = bisect_left(popularity, draw.random() * popularity[-1])
        again, which = draw.random() < returning, draw.random()
        first = bisect_left(times, at - memory)
        if again and first < len(found):
            before = found[first + int(which * (len(found) - first))]
            found.append(Arrival(at, before.path, before.visitor))
        else:
            found.append(Arrival(at, f"/build/gh/example/repository-{number}/HEAD", len(found)))
        times.append(at)
    return found


def _level(at: float, swing: float) -> float:
    return 1 + swing * math.cos(2 * math.pi * (at / HOUR - PEAK_HOUR) / 24)


def recorded(lines: Iterable[str], file: str, *, scale: float = 1.0, seed: int = 0) -> list[Arrival]:
    """:func:`spread` of one file's :func:`launches`. Raises InputError."""
    return spread(launches(lines, file), scale=scale, seed=seed)


def launches(lines: Iterable[str], file: str) -> list[tuple[float, str]]:
    """Launches of the public archive (``events-YYYY-MM-DD.jsonl``): seconds since the epoch, and the request's path.

    Raises InputError, with the line, for what is none of the archive's.
    """
    events = [_event(line, number, file) for number, line in enumerate(lines, 1) if line.strip()]
    if not events:
        raise InputError(Problem(file, 0, "", "has no launches", f"take a file of {URL}"))
    return events


def spread(events: Sequence[tuple[float, str]], *, scale: float = 1.0, seed: int = 0) -> list[Arrival]:
    """Requests, in order, from the first launch's minute on.

    The archive has minutes only: within one, launches are spread at random. It has no visitors: each launch is
    somebody else's. ``scale`` 2 has each of them twice, 0.5 each other one at random.
    """
    draw = random.Random(seed)
    start = min(minute for minute, _ in events)
    times = sorted(
        (minute - start + 60 * draw.random(), path)
        for minute, path in events
        for _ in range(int(scale) + (draw.random() < scale % 1))
    )
    return [Arrival(at, path, visitor) for visitor, (at, path) in enumerate(times)]


def _event(line: str, number: int, file: str) -> tuple[float, str]:
    try:
        event = json.loads(line)
        at = datetime.fromisoformat(event["timestamp"]).timestamp()
        provider, spec = str(event["provider"]), str(event["spec"])
    except (ValueError, TypeError, KeyError) as error:
        wrong = f"is no launch of the archive ({type(error).__name__}: {error})"
        raise InputError(Problem(file, number, "", wrong, "each line has timestamp, provider and spec")) from None
    prefix = PROVIDERS.get(provider, provider.lower())
    return at, f"/build/{prefix}/{quote(spec, safe='/%')}"
