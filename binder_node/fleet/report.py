"""Nodes as one page: a table of how they are, and plots of how they were. Pure.

The page has its looks in it: the next one that writes it reads them back, so that plots need no other file.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from statistics import median

from pydantic import TypeAdapter, ValidationError

from binder_node.fleet.look import COLUMNS, Look, rows, sentence
from binder_node.page import page, table, tiles
from binder_node.svg import COLOURS, LEFT, RIGHT, WIDTH, Panel, legend, picture, text

MARK = '<script type="application/json" id="looks">'
LOOKS = TypeAdapter(list[Look])
HEIGHT, STRIP = 120.0, 14.0
GB = 1e9
STATES = {"well": COLOURS[2], "changes wanted": COLOURS[1], "not all seen": COLOURS[7], "out": COLOURS[5]}
# A line is broken where nobody looked for so many times the usual pause.
GAP = 3.5


def html(looks: Sequence[Look], *, refresh: float = 0) -> str:
    """The page of ``looks``, oldest first: of each node the newest is its state now."""
    now = {look.node: look for look in looks}
    newest = [now[name] for name in sorted(now)]
    first, last = looks[0].at, max(look.at for look in looks)
    parts = [
        f"<h1>{escape(sentence(newest))}</h1>",
        f'<p class="about">{escape(_when(last))}; {len(looks)} looks since {escape(_when(first))}</p>',
        tiles(_numbers(newest)),
        table(
            COLUMNS, [[_linked(look), *map(escape, row[1:])] for look, row in zip(newest, rows(newest), strict=True)]
        ),
        *(
            part
            for look in newest
            for part in _node(look, [one for one in looks if one.node == look.node], first, last)
        ),
        f"{MARK}{_embedded(looks)}</script>",
    ]
    return page("Nodes", parts, refresh=refresh)


def read(document: str) -> list[Look]:
    """The looks in a page of :func:`html`, oldest first.

    Raises:
        ValueError: it is no such page.
    """
    line = next((row for row in document.splitlines() if row.startswith(MARK)), None)
    if line is None:
        raise ValueError("it is no page of `status --html`")
    try:
        return LOOKS.validate_json(line.removeprefix(MARK).removesuffix("</script>"))
    except ValidationError:
        raise ValueError("its looks are of another version of binder-node") from None


def _embedded(looks: Sequence[Look]) -> str:
    """On one line, and with nothing in it that ends a script."""
    found = [look.model_dump(mode="json", exclude_defaults=True) for look in looks]
    return json.dumps(found, separators=(",", ":")).replace("<", "\\u003c")


def _when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _linked(look: Look) -> str:
    return f'<a href="#{escape(look.node)}">{escape(look.node)}</a>'


def _numbers(looks: Sequence[Look]) -> list[tuple[str, str]]:
    quota = sum(look.quota or 0 for look in looks)
    return [
        (f"{sum(look.well for look in looks)} of {len(looks)}", "well"),
        (str(sum(look.inside is True for look in looks)), "take people"),
        (str(sum(look.users or 0 for look in looks)), "users' servers"),
        (str(sum(look.builds or 0 for look in looks)), "builds"),
        (f"{sum(look.pods or 0 for look in looks)}" + (f" of {quota}" if quota else ""), "pods of the quotas"),
    ]


def _node(look: Look, looks: Sequence[Look], first: float, last: float) -> list[str]:
    title = f'<h2 id="{escape(look.node)}">{escape(look.node)}: {escape(look.state)}</h2>'
    about = [f"<p>{escape(look.url)}{escape('; ' + look.rotation if look.rotation else '')}</p>"] if look.url else []
    why = [f"<li>{escape(reason)}</li>" for reason in look.why]
    return [title, *about, *(["<ul>", *why, "</ul>"] if why else []), plot(looks, first, last)]


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a panel, and its value in a look; None where it was not seen."""

    name: str
    colour: str
    value: Callable[[Look], float | None]


def plot(looks: Sequence[Look], first: float, last: float) -> str:
    """One node over time, from ``first`` to ``last``: its state, pods, CPU, memory, disk, answers."""
    length = max(last - first, 60.0)
    gap = _gap(looks, length)
    parts = [*legend(STATES, 12), *_strip(looks, first, length, gap)]
    top = 64.0
    for name, unit, most, level, lines in _panels(looks):
        if not any(line.value(look) is not None for line in lines for look in looks):
            continue
        panel = Panel.of(top, HEIGHT, length, most, 1 if not unit else 0.0)
        named = {line.name: line.colour for line in lines if line.name}
        parts += [*panel.frame(name, unit), *legend(named, top + 2, right=True)]
        for line in lines:
            parts += [panel.line(run, line.colour) for run in _runs(looks, line, first, gap)]
        if level is not None:
            parts.append(panel.level(level, COLOURS[7]))
        top = panel.bottom + 36
    return picture(top, parts, f"State, pods, CPU, memory, disk and answers of {looks[-1].node}")


def _panels(looks: Sequence[Look]) -> Iterator[tuple[str, str, float, float | None, list[_Line]]]:
    """Name, unit, highest value, dashed level, lines."""
    most = max((look.pods or 0 for look in looks), default=0)
    # A quota far above what was there would press all lines to the ground.
    limit = _last(look.quota for look in looks)
    quota = limit if limit and limit <= 4 * max(most, 1) else None
    pods = [
        _Line("of the quota", COLOURS[7], lambda look: look.pods),
        _Line("users", COLOURS[0], lambda look: look.users),
        _Line("builds", COLOURS[1], lambda look: look.builds),
    ]
    yield "pods (dashed: quota)" if quota else "pods", "", max(1.0, most, quota or 0), quota, pods
    yield "CPU", "%", 100, None, [_Line("", COLOURS[0], lambda look: None if look.cpu is None else 100 * look.cpu)]
    memory = _Line("", COLOURS[0], lambda look: None if look.memory is None else look.memory / GB)
    disk = _Line("", COLOURS[0], lambda look: None if look.disk is None else look.disk / GB)
    sizes = _last(look.memory_all for look in looks), _last(look.disk_all for look in looks)
    for name, used, size in (("memory", memory, sizes[0]), ("disk", disk, sizes[1])):
        level = size / GB if size else None
        yield f"{name} in use (dashed: all)", " GB", level or 1.0, level, [used]
    slowest = max((look.answer or 0 for look in looks), default=0.0)
    yield "BinderHub's slowest answer", " s", max(slowest, 0.1), None, [_Line("", COLOURS[3], lambda look: look.answer)]


def _last(values: Iterable[int | None]) -> float | None:
    """The newest that was seen: a node that is away now had a size."""
    return next((float(value) for value in reversed(list(values)) if value is not None), None)


def _gap(looks: Sequence[Look], length: float) -> float:
    """Seconds without a look after which nothing is known: by the usual pause."""
    pauses = [after.at - before.at for before, after in itertools.pairwise(looks)]
    return GAP * median(pauses) if pauses else length


def _strip(looks: Sequence[Look], first: float, length: float, gap: float) -> Iterator[str]:
    """A bar of states over time, each until the next look."""
    scale = (WIDTH - LEFT - RIGHT) / length
    yield text(LEFT - 6, 30 + STRIP - 3, "state", "end")
    for number, look in enumerate(looks):
        after = looks[number + 1].at if number + 1 < len(looks) else look.at + gap / GAP
        until = min(after, look.at + gap, first + length) - first
        wide = max((until - (look.at - first)) * scale, 1.5)
        x = LEFT + (look.at - first) * scale
        name = "changes wanted" if look.state not in STATES else look.state
        told = escape(f"{_when(look.at)}: {look.state}{': ' + look.why[0] if look.why else ''}")
        yield (
            f'<rect x="{x:.1f}" y="30" width="{wide:.1f}" height="{STRIP:g}" fill="{STATES[name]}">'
            f"<title>{told}</title></rect>"
        )


def _runs(looks: Sequence[Look], line: _Line, first: float, gap: float) -> list[list[tuple[float, float]]]:
    """Points without a gap between them; a single one is made a short line, so that it is seen."""
    runs: list[list[tuple[float, float]]] = []
    for look in looks:
        if (value := line.value(look)) is None:
            continue
        at = look.at - first
        if runs and at - runs[-1][-1][0] <= gap:
            runs[-1].append((at, value))
        else:
            runs.append([(at, value)])
    return [run if len(run) > 1 else [run[0], (run[0][0] + gap / GAP / 4, run[0][1])] for run in runs]
