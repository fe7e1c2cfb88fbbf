"""When K3s may be restarted."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from binder_node.spec.window import WINDOW, parse

SATURDAY = datetime(2026, 11, 21, tzinfo=UTC)  # a Saturday


def at(day: int, hour: int, minute: int = 0) -> datetime:
    """In the week of :data:`SATURDAY`: day 21 is it."""
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("window", "now", "opens"),
    [
        ("Sun 00:00-02:00", at(21, 19), at(22, 0)),
        ("Sun 00:00-02:00", at(22, 0), at(22, 0)),
        ("Sun 00:00-02:00", at(22, 1, 59), at(22, 1, 59)),
        ("Sun 00:00-02:00", at(22, 2), at(29, 0)),
        ("Sat 23:00-01:00", at(22, 0, 30), at(22, 0, 30)),
        ("Sat 23:00-01:00", at(22, 1), at(28, 23)),
        ("Mon,Thu 03:00-04:00", at(21, 12), at(23, 3)),
        ("Thu,Mon 03:00-04:00", at(24, 12), at(26, 3)),
        ("daily 03:00-05:00", at(21, 5), at(22, 3)),
        ("Sat 12:00-12:00", at(22, 11, 59), at(22, 11, 59)),
    ],
)
def test_when_it_opens_next(window: str, now: datetime, opens: datetime) -> None:
    assert parse(window).opens(now) == opens


@pytest.mark.parametrize("text", ["", "Sun 00:00-02:00", "Mon,Fri 23:30-01:00", "daily 00:00-23:59"])
def test_what_an_inventory_may_say(text: str) -> None:
    assert re.match(WINDOW, text)


@pytest.mark.parametrize("text", ["sunday 0-2", "Sun 24:00-02:00", "Sun 00:00", "Sun,, 00:00-01:00", "Sun 0:00-2:00 "])
def test_what_it_may_not(text: str) -> None:
    assert not re.match(WINDOW, text)
