"""A load's visits in numbers."""

from __future__ import annotations

import random

import pytest

from binder_node.load.numbers import held, percentile, spread, summary
from tests.unit.load_samples import failed, visit


def test_percentiles_as_numpy_has_them() -> None:
    values = [15.0, 20.0, 35.0, 40.0, 50.0]
    random.Random(0).shuffle(values)
    # numpy.percentile([15, 20, 35, 40, 50], [0, 40, 50, 95, 100])
    assert [percentile(values, share) for share in (0, 40, 50, 95, 100)] == pytest.approx([15, 29, 35, 48, 50])
    assert percentile([7.0], 99) == 7
    assert spread([]) is None


def test_shares_leave_out_who_was_refused_cut_or_held() -> None:
    visits = [
        *(visit(number) for number in range(7)),
        failed(7),
        visit(8, outcome="lost", stage="cell", cause="HTTP 404"),
        visit(9, None, outcome="refused", stage="launch", cause="quota"),
        visit(10, None, outcome="cut", cause="the load's end"),
        visit(11, None, outcome="held", cause="as many as allowed are there"),
    ]
    found = summary(visits, 60)
    assert (found.sent, found.launched) == (11, 8)
    assert found.failing == pytest.approx(2 / 9)
    assert found.outcomes == {"done": 7, "failed": 1, "lost": 1, "refused": 1, "cut": 1, "held": 1}
    assert found.rate == pytest.approx(11 / 60)


def test_cached_and_built_apart() -> None:
    visits = [visit(number, 1.0 + number) for number in range(3)] + [visit(3, 60.0, kind="built", answered=61.0)]
    found = summary(visits, 10)
    assert found.cached is not None
    assert found.built is not None
    assert found.answered is not None
    assert (found.cached.count, found.cached.percentiles[50.0], found.built.most) == (3, 2.0, 60.0)
    assert found.answered.count == 1


def test_causes_the_most_frequent_first_with_an_example() -> None:
    other = {"outcome": "refused", "stage": "launch", "cause": "quota", "message": "Too many users"}
    found = summary([failed(0, **other), failed(1), failed(2), visit(3)], 10).causes
    assert [(one.count, one.outcome, one.cause) for one in found] == [
        (2, "failed", "build failed"),
        (1, "refused", "quota"),
    ]
    assert found[0].example == "pip: no such <package>"


def test_servers_at_once() -> None:
    visits = [visit(0, 1.0, at=0.0, left=10.0), visit(1, 1.0, at=5.0, left=3.0), failed(2, at=6.0)]
    assert held(visits) == [(1.0, 1), (6.0, 2), (8.0, 1), (10.0, 0)]
    assert summary(visits, 10).peak == 2


def test_a_load_of_nobody() -> None:
    found = summary([], 0)
    assert (found.sent, found.failing, found.rate, found.ready, found.peak) == (0, 0, 0, None, 0)
