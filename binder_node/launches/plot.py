"""Launches of a period as a picture: bars by hour or by day, what failed on top. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from math import ceil

from binder_node import svg
from binder_node.launches.numbers import Log

TOP, HEIGHT = 60.0, 260.0
# Up to so many days a bar is an hour.
HOURLY_DAYS = 7
# Names of days that find room below.
MOST_NAMES = 10
LAUNCHED, FAILED = svg.COLOURS[0], svg.COLOURS[5]
DAY = 86400.0


def picture(log: Log, title: str) -> str:
    """An SVG picture; its title tells the sums, for who cannot see it."""
    hourly = len(log.days) <= HOURLY_DAYS
    bars = list(_hours(log) if hourly else _days(log))
    seconds = len(log.days) * DAY
    panel = svg.Panel.of(TOP, HEIGHT, seconds, max([1, *(launched + failed for _, launched, failed in bars)]))
    about = f"{title}: {log.launches} launches, {log.failed_launches} failures"
    parts = [
        svg.text(svg.LEFT, 24, title, size=16),
        *svg.legend({f"launches ({log.launches})": LAUNCHED, f"failures ({log.failed_launches})": FAILED}, 36),
        *_frame(panel, f"in {'an hour' if hourly else 'a day'}"),
        *_names(panel, log),
    ]
    wide = max(panel.x(seconds / len(bars)) - svg.LEFT - 0.5, 0.5)
    for at, launched, failed in bars:
        parts += panel.bar(at, wide, 0, launched, LAUNCHED)
        parts += panel.bar(at, wide, launched, failed, FAILED)
    return svg.picture(TOP + HEIGHT + 40, parts, about)


def _hours(log: Log) -> Iterator[tuple[float, int, int]]:
    begin = datetime(log.first.year, log.first.month, log.first.day, tzinfo=UTC)
    for number in range(len(log.days) * 24):
        hour = begin + timedelta(hours=number)
        yield number * 3600.0, log.launched.get(hour, 0), log.failed.get(hour, 0)


def _days(log: Log) -> Iterator[tuple[float, int, int]]:
    for number, (_, launched, failed) in enumerate(log.by_day()):
        yield number * DAY, launched, failed


def _frame(panel: svg.Panel, name: str) -> Iterator[str]:
    yield svg.text(svg.LEFT, panel.top + 12, name)
    for value in panel.marks:
        y = panel.y(value)
        yield f'<line x1="{svg.LEFT}" x2="{svg.WIDTH - svg.RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>'
        yield svg.text(svg.LEFT - 6, y + 4, f"{value:g}", "end")


def _names(panel: svg.Panel, log: Log) -> Iterator[str]:
    every = ceil(len(log.days) / MOST_NAMES)
    for number, day in enumerate(log.days):
        if number % every == 0:
            x = panel.x(number * DAY)
            yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{panel.bottom:.1f}" y2="{panel.bottom + 4:.1f}" stroke="#777"/>'
            yield svg.text(x + 2, panel.bottom + 16, day.isoformat())
