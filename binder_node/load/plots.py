"""The pictures of a load's report. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from binder_node.load.numbers import held
from binder_node.load.result import Machine, Result, Sample
from binder_node.load.visit import Visit
from binder_node.svg import COLOURS, LEFT, NAME, RIGHT, WIDTH, Panel, legend, picture, text, ticks

CACHED, BUILT, DONE, REFUSED, FAILED, CUT = COLOURS[0], COLOURS[1], COLOURS[2], COLOURS[6], COLOURS[5], COLOURS[7]
KINDS = {"cached": CACHED, "built": BUILT}
OUTCOMES = {"done": DONE, "refused": REFUSED, "failed": FAILED, "lost": "#000000", "cut": CUT, "held": "#cccccc"}
# Bars of arrivals across the page.
BARS = 60
GB = 1e9


def launches(result: Result) -> str:
    """Each launch: when it was clicked, and how long it took; crosses are those that failed, where they did."""
    shown = [visit for visit in result.visits if visit.ready is not None or visit.outcome in ("failed", "lost")]
    most = max((_took(visit) for visit in shown), default=1.0)
    panel = Panel.of(40, 260, _length(result), most)
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
    every = length / BARS
    counts = [dict.fromkeys(OUTCOMES, 0) for _ in range(BARS)]
    for visit in result.visits:
        counts[min(BARS - 1, int(visit.at / every))][visit.outcome] += 1
    bars = Panel.of(40, 150, length, max(1, *(sum(count.values()) for count in counts)))
    there = {name: colour for name, colour in OUTCOMES.items() if any(count[name] for count in counts)}
    parts = [*legend(there, 12), *bars.frame(f"users that came in {every:.3g} s, by what became of them")]
    wide = max((WIDTH - LEFT - RIGHT) / BARS - 0.5, 0.5)
    for number, count in enumerate(counts):
        below = 0.0
        for name, colour in OUTCOMES.items():
            parts += bars.bar(number * every, wide, below, count[name], colour)
            below += count[name]
    servers = held(result.visits)
    panel = Panel.of(bars.bottom + 40, 150, length, max([1, *(count for _, count in servers)]))
    parts += [*panel.frame("servers at once"), panel.steps(servers, CACHED)]
    return picture(panel.bottom + 30, parts, "Users that came, and servers at once")


def machine(result: Result, seen: Machine) -> str:
    """A node over time: CPU, memory, disk, pods."""
    length = max(_length(result), seen.samples[-1].at)
    parts: list[str] = []
    top = 10.0

    def panel(name: str, most: float, unit: str, *lines: tuple[str, str, Callable[[Sample], float | None]]) -> Panel:
        nonlocal top
        found = Panel.of(top + NAME, 120, length, most)
        parts.extend(found.frame(name, unit))
        for number, (_, colour, value) in enumerate(lines):
            points = [(one.at, value(one)) for one in seen.samples]
            parts.append(found.line([(at, number) for at, number in points if number is not None], colour))
            parts.append(text(WIDTH - RIGHT - 90 * (len(lines) - number), found.top + 12, lines[number][0], "start"))
            parts.append(_mark(WIDTH - RIGHT - 90 * (len(lines) - number) - 14, found.top + 3, colour))
        top = found.bottom + 24
        return found

    cpu = ("busy", COLOURS[0], lambda one: 100 * one.cpu)
    wait = ("waiting for disk", COLOURS[5], lambda one: 100 * one.waiting)
    panel("CPU", 100, "%", cpu, wait)
    memory = panel(
        "memory (dashed: all of it)", seen.memory / GB, " GB", ("in use", COLOURS[0], lambda one: one.memory / GB)
    )
    parts.append(memory.level(seen.memory / GB, COLOURS[7]))
    disk = panel("disk (dashed: all of it)", seen.disk / GB, " GB", ("in use", COLOURS[0], lambda one: one.disk / GB))
    parts.append(disk.level(seen.disk / GB, COLOURS[7]))
    if any(one.users is not None for one in seen.samples):
        most = max((one.users or 0) + (one.builds or 0) for one in seen.samples)
        quota = seen.quota if seen.quota and seen.quota <= 2 * most else None
        pods = panel(
            "pods" + (" (dashed: quota)" if quota else ""),
            max(1, most, quota or 0),
            "",
            ("users", COLOURS[0], lambda one: one.users),
            ("of them starting", COLOURS[4], lambda one: one.starting),
            ("builds", COLOURS[1], lambda one: one.builds),
        )
        if quota:
            parts.append(pods.level(quota, COLOURS[7]))
    return picture(top + 10, parts, f"CPU, memory, disk and pods of {seen.name}")


def _mark(x: float, y: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="10" height="10" fill="{colour}"/>'
