"""A simulation as a picture: SVG, which every browser shows and every repository keeps as text. Pure.

Three plain panels need no library: matplotlib would put some 60 MB into every operator's environment for this one page.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from xml.sax.saxutils import escape

from binder_node.federation.simulate import Result

# Okabe and Ito's colours, which people with any colour vision tell apart; the last is for what was lost.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#777777")
LOST = "#000000"
WIDTH, LEFT, RIGHT = 960, 70, 20
PANELS = ((60, 250), (370, 170))  # top and height: pods, requests
STRIPS, STRIP = 600, 18
HOUR = 3600.0


def svg(result: Result, quotas: Mapping[str, int | None], title: str) -> str:
    """The picture: each member's pods with its quota, requests by member, and who was in rotation."""
    names = [tally.name for tally in result.tallies]
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)}
    height = STRIPS + STRIP * len(names) + 40
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        _text(LEFT, 24, title, "start", 16),
        *_legend(colours),
        *_pods(result, quotas, colours),
        *_requests(result, colours),
        *_rotation(result, colours),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _text(x: float, y: float, text: str, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'


def _legend(colours: Mapping[str, str]) -> Iterator[str]:
    x = float(LEFT)
    for name, colour in {**colours, "lost": LOST}.items():
        yield f'<rect x="{x:.1f}" y="36" width="10" height="10" fill="{colour}"/>'
        yield _text(x + 14, 45, name)
        x += 32 + 7.2 * len(name)


def _x(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def ticks(most: float, about: int = 5) -> list[float]:
    """Round numbers from 0 up to the first that is not below ``most``.

    >>> ticks(130)
    [0.0, 50.0, 100.0, 150.0]
    """
    rough = max(most, 1e-9) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * unit for unit in (1, 2, 5, 10) if power * unit >= rough * 0.999)
    return [step * number for number in range(math.ceil(most / step - 1e-9) + 1)] or [0.0]


def _frame(result: Result, panel: tuple[int, int], most: float, label: str) -> Iterator[str]:
    top, height = panel
    yield _text(LEFT, top + 12, label)
    marks = ticks(most)
    for value in marks:
        y = top + height - (value / marks[-1] if marks[-1] else 0) * (height - 20)
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>'
        yield _text(LEFT - 6, y + 4, f"{value:g}", "end")
    yield from _hours(result, top + height)


def _hours(result: Result, y: float) -> Iterator[str]:
    unit, name = (HOUR, "h") if result.seconds >= 2 * HOUR else (60.0, "min") if result.seconds >= 120 else (1.0, "s")
    for value in ticks(result.seconds / unit, 8):
        if value * unit <= result.seconds * 1.0001:
            x = _x(value * unit / result.seconds)
            yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y:.1f}" y2="{y + 4:.1f}" stroke="#777777"/>'
            yield _text(x, y + 16, f"{value:g} {name}", "middle")


def _path(values: Sequence[float], panel: tuple[int, int], full: float) -> str:
    top, height = panel
    points = (
        f"{_x((number + 1) / len(values)):.1f},{top + height - value / full * (height - 20):.1f}"
        for number, value in enumerate(values)
    )
    return " ".join(points)


def _pods(result: Result, quotas: Mapping[str, int | None], colours: Mapping[str, str]) -> Iterator[str]:
    panel = PANELS[0]
    most = max([1, *(tally.peak for tally in result.tallies), *(quota for quota in quotas.values() if quota)])
    yield from _frame(result, panel, most, "pods (dashed: quota)")
    full = ticks(most)[-1]
    for tally in result.tallies:
        quota, colour = quotas.get(tally.name), colours[tally.name]
        if quota:
            y = panel[0] + panel[1] - quota / full * (panel[1] - 20)
            yield (
                f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{colour}" '
                'stroke-dasharray="5 4"/>'
            )
        points = _path(tally.pods, panel, full)
        yield f'<polyline fill="none" stroke="{colour}" stroke-width="1.8" points="{points}"/>'


def _requests(result: Result, colours: Mapping[str, str]) -> Iterator[str]:
    """Bars, one a step, stacked by member; what was lost of them lies over their foot."""
    panel = PANELS[1]
    sums = [sum(tally.sent[step] for tally in result.tallies) for step in range(len(result.lost))]
    full = ticks(max([1, *sums]))[-1]
    unit = f"{result.step / 60:g} min" if result.step >= 60 else f"{result.step:.2g} s"
    yield from _frame(result, panel, max([1, *sums]), f"requests in {unit}")
    wide = max(_x(1 / len(sums)) - LEFT - 0.5, 0.5)
    for step in range(len(sums)):
        below = 0.0
        for tally in result.tallies:
            yield from _bar(step / len(sums), wide, below, tally.sent[step], panel, full, colours[tally.name])
            below += tally.sent[step]
        yield from _bar(step / len(sums), wide, 0, result.lost[step], panel, full, LOST)


def _bar(
    at: float, wide: float, below: float, value: float, panel: tuple[int, int], full: float, colour: str
) -> Iterator[str]:
    if value:
        scale = (panel[1] - 20) / full
        y = panel[0] + panel[1] - (below + value) * scale
        yield f'<rect x="{_x(at):.1f}" y="{y:.1f}" width="{wide:.1f}" height="{value * scale:.1f}" fill="{colour}"/>'


def _rotation(result: Result, colours: Mapping[str, str]) -> Iterator[str]:
    """A strip a member: filled while it is in; half as strong where half of the redirectors have it in."""
    yield _text(LEFT, STRIPS - 8, "in rotation")
    for row, tally in enumerate(result.tallies):
        y = STRIPS + row * STRIP
        yield f'<rect x="{LEFT}" y="{y}" width="{_x(1) - LEFT:.1f}" height="{STRIP - 6}" fill="#f2f2f2"/>'
        begin = 0
        for end in range(1, len(tally.inside) + 1):
            if end == len(tally.inside) or tally.inside[end] != tally.inside[begin]:
                left, right = _x(begin / len(tally.inside)), _x(end / len(tally.inside))
                if tally.inside[begin]:
                    yield (
                        f'<rect x="{left:.1f}" y="{y}" width="{right - left:.1f}" height="{STRIP - 6}" '
                        f'fill="{colours[tally.name]}" fill-opacity="{tally.inside[begin]:.2g}"/>'
                    )
                begin = end
