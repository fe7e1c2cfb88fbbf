"""The pictures of a load's report. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from binder_node.load.live import seconds
from binder_node.load.numbers import held
from binder_node.load.result import Machine, Result, Sample
from binder_node.load.visit import Visit
from binder_node.svg import COLOURS, LEFT, Panel, legend, picture, ticks

CACHED, BUILT, DONE, REFUSED, FAILED, CUT = COLOURS[0], COLOURS[1], COLOURS[2], COLOURS[6], COLOURS[5], COLOURS[7]
KINDS = {"cached": CACHED, "built": BUILT}
OUTCOMES = {"done": DONE, "refused": REFUSED, "failed": FAILED, "lost": "#000000", "cut": CUT, "held": "#cccccc"}
# Bars of arrivals across the page, at most, and how many seconds one may be.
BARS = 45
STEPS = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0)
GB = 1e9
NODE_HEIGHT = 120


def launches(result: Result, *others: Result) -> str:
    """Each launch: when it was clicked, and how long it took; crosses are those that failed, where they did.

    With ``others``, to the same scale as theirs.
    """
    shown = _shown(result)
    most = max((_took(visit) for one in (result, *others) for visit in _shown(one)), default=1.0)
    panel = Panel.of(40, 260, max(_length(one) for one in (result, *others)), most)
    parts = [
        *legend({**KINDS, "failed": FAILED}, 12),
        *panel.frame("seconds to a ready server, by the time of the click"),
    ]
    for visit in shown:
        about = f"user {visit.number}, {visit.path}: {_took(visit):.1f} s {visit.kind} {visit.outcome} {visit.cause}"
        if visit.ready is not None:
            parts.append(panel.dot(visit.at, visit.ready, KINDS.get(visit.kind, CUT), about))
        if visit.outcome in ("failed", "lost"):
            parts.append(panel.cross(visit.at, _took(visit), FAILED, about))
    return picture(panel.bottom + 30, parts, "Seconds to a ready server for each launch")


def _shown(result: Result) -> list[Visit]:
    return [visit for visit in result.visits if visit.ready is not None or visit.outcome in ("failed", "lost")]


def _took(visit: Visit) -> float:
    return visit.left if visit.ready is None else visit.ready


def _length(result: Result) -> float:
    return max(result.seconds, 1.0)


def shares(named: Sequence[tuple[str, Result, str]]) -> str:
    """What share of launches was ready within how many seconds; ``named``: a name, a load, cached or built."""
    lines = {
        name: sorted(one.ready for one in result.visits if one.ready is not None and one.kind == kind)
        for name, result, kind in named
    }
    lines = {name: times for name, times in lines.items() if times}
    if not lines:
        return ""
    most = ticks(max(times[-1] for times in lines.values()), 8)[-1]
    # Here the x axis is a launch's seconds, not the load's time.
    panel = Panel(40, 200, most, [0, 25, 50, 75, 100])
    colours = {name: KINDS.get(name, COLOURS[number]) for number, name in enumerate(lines)}
    parts = [*legend(colours, 12), *panel.frame("of launches ready within", "%")]
    for name, times in lines.items():
        parts.append(
            panel.steps([(at, 100 * number / len(times)) for number, at in enumerate(times, 1)], colours[name])
        )
    return picture(panel.bottom + 30, parts, "Share of launches that were ready within a time")


def users(result: Result) -> str:
    """Who came and what became of them, and how many had a server."""
    length = _length(result)
    every = next((step for step in STEPS if step * BARS >= length), STEPS[-1])
    counts = [dict.fromkeys(OUTCOMES, 0) for _ in range(math.ceil(length / every))]
    for visit in result.visits:
        counts[min(len(counts) - 1, int(visit.at / every))][visit.outcome] += 1
    bars = Panel.of(40, 150, length, max(1, *(sum(count.values()) for count in counts)), 1)
    there = {name: colour for name, colour in OUTCOMES.items() if any(count[name] for count in counts)}
    parts = [*legend(there, 12), *bars.frame(f"users that came in {seconds(every)}, by what became of them")]
    wide = max(bars.x(every) - LEFT - 0.5, 0.5)
    for number, count in enumerate(counts):
        below = 0.0
        for name, colour in OUTCOMES.items():
            parts += bars.bar(number * every, wide, below, count[name], colour)
            below += count[name]
    servers = held(result.visits)
    panel = Panel.of(bars.bottom + 40, 150, length, max([1, *(count for _, count in servers)]), 1)
    parts += [*panel.frame("servers at once"), panel.steps(servers, CACHED)]
    return picture(panel.bottom + 30, parts, "Users that came, and servers at once")


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a node's panel, and its value in a look; None where it was not seen."""

    name: str
    colour: str
    value: Callable[[Sample], float | None]


def machine(result: Result, seen: Machine) -> str:
    """A node over time: CPU, memory, disk, pods."""
    pods = [one for one in seen.samples if one.users is not None]
    most = max((one.users or 0) + (one.builds or 0) for one in pods) if pods else 0
    # A quota far above what was there would press all lines to the ground.
    quota = float(seen.quota) if seen.quota and seen.quota <= 2 * most else None
    memory, disk = seen.memory / GB, seen.disk / GB
    busy = _Line("busy", COLOURS[0], lambda one: 100 * one.cpu)
    waiting = _Line("waiting for disk", COLOURS[5], lambda one: 100 * one.waiting)
    panels: list[tuple[str, str, float, float | None, list[_Line]]] = [
        ("CPU", "%", 100, None, [busy, waiting]),
        ("memory in use (dashed: all)", " GB", memory, memory, [_Line("", COLOURS[0], lambda one: one.memory / GB)]),
        ("disk in use (dashed: all)", " GB", disk, disk, [_Line("", COLOURS[0], lambda one: one.disk / GB)]),
    ]
    if pods:
        users = _Line("users", COLOURS[0], lambda one: one.users)
        starting = _Line("users that start", COLOURS[4], lambda one: one.starting)
        builds = _Line("builds", COLOURS[1], lambda one: one.builds)
        name = "pods (dashed: quota)" if quota else "pods"
        panels.append((name, "", max(1, most, quota or 0), quota, [users, starting, builds]))
    length = max(_length(result), seen.samples[-1].at)
    parts: list[str] = []
    top = 10.0
    for name, unit, highest, level, lines in panels:
        panel = Panel.of(top, NODE_HEIGHT, length, highest, 1)
        parts += [
            *panel.frame(name, unit),
            *legend({one.name: one.colour for one in lines if one.name}, top + 2, right=True),
        ]
        parts += [panel.line(_points(seen, one), one.colour) for one in lines]
        if level is not None:
            parts.append(panel.level(level, COLOURS[7]))
        top = panel.bottom + 36
    return picture(top, parts, f"CPU, memory, disk and pods of {seen.name}")


def _points(seen: Machine, line: _Line) -> list[tuple[float, float]]:
    values = ((one.at, line.value(one)) for one in seen.samples)
    return [(at, value) for at, value in values if value is not None]
