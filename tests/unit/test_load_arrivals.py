"""Who comes when: drawn from a seed, with the means that were asked for."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from binder_node.errors import InputError
from binder_node.load.arrivals import Habits, cells_of, poisson, ranked, recorded

ONE = {"gh/org/name/HEAD": 1.0}


def test_one_seed_is_one_load() -> None:
    first, same, other = (poisson(ONE, Habits(), rate=1, seconds=60, seed=seed) for seed in (1, 1, 2))
    assert first == same != other


def test_arrivals_have_the_rate_and_the_spread_of_poissons() -> None:
    found = poisson(ONE, Habits(), rate=2.0, seconds=5000)
    assert len(found) == pytest.approx(10000, abs=400)  # four sigma
    assert all(0 <= one.at < 5000 for one in found)
    assert found == sorted(found, key=lambda one: one.at)
    # The counts of whole seconds vary as much as their mean: neither in step nor in bunches.
    counts = Counter(int(one.at) for one in found)
    mean = len(found) / 5000
    variance = sum((counts[second] - mean) ** 2 for second in range(5000)) / 5000
    assert variance == pytest.approx(mean, rel=0.1)


def test_popularity_is_kept() -> None:
    found = Counter(one.path for one in poisson(ranked(["a", "b", "c"]), Habits(), rate=1, seconds=11000))
    assert [found[path] / 1000 for path in "abc"] == pytest.approx([6, 3, 2], rel=0.1)


def test_bounds_hold() -> None:
    assert len(poisson(ONE, Habits(), rate=10, seconds=1000, most=7)) == 7
    assert all(one.stay <= 20 for one in poisson(ONE, Habits(stay=60, longest=20), rate=1, seconds=500))


def test_cells_are_run_while_somebody_is_there_the_first_at_once() -> None:
    found = poisson(ONE, Habits(stay=100, pause=10), rate=1, seconds=2000)
    assert all(one.cells[0] == 0 and list(one.cells) == sorted(one.cells) for one in found)
    assert all(cell < one.stay for one in found for cell in one.cells[1:])
    pauses = sum(len(one.cells) - 1 for one in found) / sum(one.stay for one in found)
    assert pauses == pytest.approx(1 / 10, rel=0.1)


def test_some_only_close_the_tab() -> None:
    found = Counter(one.leaving for one in poisson(ONE, Habits(closing=0.25), rate=1, seconds=4000))
    assert found["closes"] / found.total() == pytest.approx(0.25, abs=0.04)
    assert {one.leaving for one in poisson(ONE, Habits(), rate=1, seconds=100)} == {"stops"}


def event(minute: int, spec: str = "org/name/main") -> str:
    return json.dumps({"timestamp": f"2026-11-20T10:{minute:02}:00+00:00", "provider": "GitHub", "spec": spec})


def test_launches_are_played_when_they_were_faster_if_wanted() -> None:
    lines = [event(0), event(30, "a/b/HEAD"), event(59)]
    found = recorded(lines, "events.jsonl", Habits(), speed=60)
    assert [one.path for one in found] == ["gh/org/name/main", "gh/a/b/HEAD", "gh/org/name/main"]
    assert [int(one.at) for one in found] == [0, 30, 59]  # a minute is a second now
    assert len(recorded(lines, "events.jsonl", Habits(), speed=60, seconds=40)) == 2
    assert len(recorded(lines, "events.jsonl", Habits(), scale=3, most=4)) == 4


def test_a_line_that_is_no_launch_is_told() -> None:
    with pytest.raises(InputError, match=r"events\.jsonl:2: is no launch"):
        recorded([event(0), "{}"], "events.jsonl", Habits())


def test_cells_of_a_file() -> None:
    text = "import os\n\n# %% first\nx = 1\nprint(x)\n# %%\n\n# %% [markdown]\n# a remark\n"
    assert cells_of(text) == ("import os", "x = 1\nprint(x)", "# a remark")
    assert cells_of("\n\n") == ()
