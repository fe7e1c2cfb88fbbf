"""Plots as SVG, which every browser shows and every repository keeps as text. Pure.

Plain panels need no library: matplotlib would put some 60 MB into every operator's environment for a few lines.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

# Okabe and Ito's colours, which people with any colour vision tell apart; the last is grey.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#777777")
BLACK = "#000000"
WIDTH, LEFT, RIGHT = 960, 70, 20
# Room for a panel's name above its highest mark.
NAME = 20
HOUR, MINUTE = 3600.0, 60.0


def picture(height: float, parts: Iterable[str], title: str = "") -> str:
    """A whole picture; ``title`` is for who cannot see it."""
    named = f' role="img" aria-label="{escape(title, {chr(34): "&quot;"})}"' if title else ""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:g}" '
        f'viewBox="0 0 {WIDTH} {height:g}" font-family="sans-serif" font-size="12"{named}>',
        f'<rect width="{WIDTH}" height="{height:g}" fill="white"/>',
        *parts,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def text(x: float, y: float, words: str, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(words)}</text>'


def legend(colours: Mapping[str, str], y: float, *, right: bool = False) -> Iterator[str]:
    """A row of names with their colours, its top at ``y``; from the left, or up to the ``right``."""
    wide = {name: 32 + 7.2 * len(name) for name in colours}
    x = WIDTH - RIGHT - sum(wide.values()) if right else float(LEFT)
    for name, colour in colours.items():
        yield f'<rect x="{x:.1f}" y="{y:g}" width="10" height="10" fill="{colour}"/>'
        yield text(x + 14, y + 9, name)
        x += wide[name]


def ticks(most: float, about: int = 5, least: float = 0.0) -> list[float]:
    """Round numbers from 0 up to the first that is not below ``most``, ``least`` or more apart.

    >>> ticks(130)
    [0.0, 50.0, 100.0, 150.0]
    >>> ticks(2, least=1)
    [0.0, 1.0, 2.0]
    """
    rough = max(most, 1e-9) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = max(least, next(power * unit for unit in (1, 2, 5, 10) if power * unit >= rough * 0.999))
    return [step * number for number in range(math.ceil(most / step - 1e-9) + 1)] or [0.0]


def unit_of(seconds: float) -> tuple[float, str]:
    """In what a time axis of that length is told: seconds in it, and its name."""
    if seconds >= 2 * HOUR:
        return HOUR, "h"
    return (MINUTE, "min") if seconds >= 2 * MINUTE else (1.0, "s")


@dataclass(frozen=True, slots=True)
class Panel:
    """A plot over time, from 0 to ``seconds``. ``marks``: the numbers at its side, ascending from 0."""

    top: float
    height: float
    seconds: float
    marks: Sequence[float]

    @staticmethod
    def of(top: float, height: float, seconds: float, most: float, least: float = 0.0) -> Panel:
        """A panel that has room for ``most``, its marks ``least`` or more apart: 1 for what is counted."""
        return Panel(top, height, seconds, ticks(most, least=least))

    @property
    def bottom(self) -> float:
        return self.top + self.height

    def x(self, at: float) -> float:
        return LEFT + (at / self.seconds if self.seconds else 0) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return self.bottom - value * self.scale

    @property
    def scale(self) -> float:
        """Pixels of 1."""
        return (self.height - NAME) / self.marks[-1] if self.marks[-1] else 0.0

    def frame(self, name: str, unit: str = "") -> Iterator[str]:
        """Its name, its marks (``unit`` behind each), and the time below."""
        yield text(LEFT, self.top + 12, name)
        for value in self.marks:
            y = self.y(value)
            yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>'
            yield text(LEFT - 6, y + 4, f"{value:g}{unit}", "end")
        yield from self.times()

    def times(self) -> Iterator[str]:
        length, name = unit_of(self.seconds)
        for value in ticks(self.seconds / length, 8):
            if value * length <= self.seconds * 1.0001:
                x = self.x(value * length)
                y = self.bottom
                yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y:.1f}" y2="{y + 4:.1f}" stroke="#777777"/>'
                yield text(x, y + 16, f"{value:g} {name}", "middle")

    def line(self, points: Iterable[tuple[float, float]], colour: str, width: float = 1.8) -> str:
        """A line through ``(at, value)``."""
        found = " ".join(f"{self.x(at):.1f},{self.y(value):.1f}" for at, value in points)
        return f'<polyline fill="none" stroke="{colour}" stroke-width="{width:g}" points="{found}"/>'

    def steps(self, points: Iterable[tuple[float, float]], colour: str, width: float = 1.8) -> str:
        """A line that stays at each ``(at, value)`` until the next one."""
        found, before = [], 0.0
        for at, value in points:
            found += [(at, before), (at, value)]
            before = value
        return self.line([(0.0, 0.0), *found, (self.seconds, before)], colour, width)

    def level(self, value: float, colour: str) -> str:
        """A dashed line all the way."""
        y = self.y(value)
        return (
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{colour}" '
            'stroke-dasharray="5 4"/>'
        )

    def bar(self, at: float, wide: float, below: float, value: float, colour: str) -> Iterator[str]:
        """A bar from ``at``, ``wide`` pixels, that stands on ``below``; none for nothing."""
        if value:
            y, height = self.y(below + value), value * self.scale
            yield (f'<rect x="{self.x(at):.1f}" y="{y:.1f}" width="{wide:.1f}" height="{height:.1f}" fill="{colour}"/>')

    def dot(self, at: float, value: float, colour: str, about: str = "") -> str:
        """A dot; ``about`` shows when the mouse is over it."""
        told = f"<title>{escape(about)}</title>" if about else ""
        x, y = self.x(at), self.y(value)
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{colour}" fill-opacity="0.75">{told}</circle>'

    def cross(self, at: float, value: float, colour: str, about: str = "") -> str:
        """As :meth:`dot`, for what went wrong."""
        told = f"<title>{escape(about)}</title>" if about else ""
        x, y = self.x(at), self.y(value)
        way = f"M{x - 3.5:.1f} {y - 3.5:.1f}l7 7m0 -7l-7 7"
        return f'<path d="{way}" stroke="{colour}" stroke-width="1.8" fill="none">{told}</path>'
