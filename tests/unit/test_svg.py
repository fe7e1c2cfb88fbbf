"""Plots: marks, places, and text that cannot break out."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from binder_node.svg import LEFT, RIGHT, WIDTH, Panel, picture, text, ticks, unit_of


def test_ticks_are_round_numbers_that_cover_all() -> None:
    assert ticks(130) == [0, 50, 100, 150]
    assert ticks(0.07)[-1] == pytest.approx(0.08)
    assert all(ticks(most)[-1] >= most * 0.999 for most in (1, 3, 9, 99, 1234, 0.4))


def test_a_panels_corners() -> None:
    panel = Panel(top=100, height=120, seconds=60, marks=[0, 5, 10])
    assert (panel.x(0), panel.x(60)) == (LEFT, WIDTH - RIGHT)
    assert (panel.y(0), panel.y(10)) == (220, 120)


def test_steps_stay_until_the_next_one() -> None:
    panel = Panel(top=0, height=30, seconds=10, marks=[0, 10])
    line = ElementTree.fromstring(panel.steps([(5, 10)], "red"))
    heights = [float(point.split(",")[1]) for point in line.attrib["points"].split()]
    assert heights == [30, 30, 20, 20]


def test_words_stay_words() -> None:
    shown = picture(20, [text(0, 0, "<b>&"), Panel.of(0, 10, 1, 1).dot(0, 0, "red", "</title><script>")], 'a "b" <c>')
    found = ElementTree.fromstring(shown)
    assert [one.text for one in found.iter() if one.text and one.text.strip()] == ["<b>&", "</title><script>"]
    assert found.attrib["aria-label"] == 'a "b" <c>'


@pytest.mark.parametrize(("seconds", "unit"), [(90, "s"), (121, "min"), (7200, "h")])
def test_the_unit_of_time(seconds: float, unit: str) -> None:
    assert unit_of(seconds)[1] == unit
