"""Launches in numbers: by day, repository and reason, from a node and from the archive alike; and as a picture."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from binder_node.federation.archive import PROVIDERS, launched
from binder_node.host.on_node import events as program
from binder_node.launches.numbers import Log, from_archive, from_node, repository
from binder_node.launches.plot import picture
from tests.unit.event_samples import launch

DAY = date(2026, 11, 21)
TOLD = {
    "first": "2026-11-20",
    "launches": [
        ["2026-11-20T23", "GitHub", "org/name/HEAD", "success", 3],
        ["2026-11-21T00", "GitHub", "org/name/feature/x", "success", 2],
        ["2026-11-21T00", "Zenodo", "10.5281/zenodo.3242074", "success", 1],
        ["2026-11-21T00", "Zenodo", "10.5281/zenodo.3242074", "failure", 7],
    ],
    "failures": [
        ["2026-11-21T01", "gh/org/name/HEAD", "building", "no space", 2],
        ["2026-11-21T02", "gh/other/name/HEAD", "building", "no space", 1],
        ["2026-11-21T02", "git/https%3A%2F%2Fexample.org%2Fa/main", "", "Could not resolve ref", 4],
    ],
}


def sample() -> Log:
    return from_node(TOLD, DAY, PROVIDERS)


def test_launches_and_failures_are_counted_by_day() -> None:
    assert sample().by_day() == [(date(2026, 11, 20), 3, 0), (DAY, 3, 7)]
    assert (sample().launches, sample().failed_launches) == (6, 7)


def test_a_repository_is_one_whatever_its_ref() -> None:
    assert sample().top(10) == [("gh/org/name", 5), ("zenodo/10.5281/zenodo.3242074", 1)]
    assert sample().top(1) == [("gh/org/name", 5)]


def test_reasons_are_ranked_over_all_repositories() -> None:
    assert sample().top_reasons(2) == [("Could not resolve ref", 4, 1, ""), ("no space", 3, 2, "building")]


@pytest.mark.parametrize(
    ("provider", "spec", "expected"),
    [
        ("gh", "a/b/HEAD", "gh/a/b"),
        ("gh", "a/b/feature/x", "gh/a/b"),
        ("gl", "group%2Fsub%2Fname/main", "gl/group/sub/name"),
        ("git", "https%3A%2F%2Fexample.org%2Fa/v1", "git/https://example.org/a"),
        ("gist", "user/0123/HEAD", "gist/user/0123"),
        ("dataverse", "10.7910/DVN/6ZXAGT", "dataverse/10.7910/DVN/6ZXAGT"),
    ],
)
def test_specs_of_every_provider(provider: str, spec: str, expected: str) -> None:
    assert repository(provider, spec) == expected


def test_the_archive_gives_the_same_numbers_without_failures() -> None:
    events = [launch("2026-11-20T23:10:00.5Z")] * 3 + [launch("2026-11-21T00:00:00.0Z", "org/name/feature/x")] * 2
    lines = program.public(events).decode().splitlines()
    log = from_archive(["", "nonsense", '{"a": 1}', *lines], date(2026, 11, 20), DAY, PROVIDERS)
    assert log.launched == {datetime(2026, 11, 20, 23, tzinfo=UTC): 3, datetime(2026, 11, 21, 0, tzinfo=UTC): 2}
    assert log.top(5) == [("gh/org/name", 5)]
    assert not log.reasons
    # What warms nodes from the public archive reads ours as well.
    assert list(launched(lines)) == ["gh/org/name/HEAD"] * 3 + ["gh/org/name/feature/x"] * 2


def test_lines_of_one_minute_tell_nothing_by_their_order() -> None:
    early, late = launch("2026-11-20T23:10:01Z", "org/z/HEAD"), launch("2026-11-20T23:10:59Z", "org/a/HEAD")
    assert program.public([early, late]) == program.public([late, early])
    assert b":10:01" not in program.public([early])


def test_a_day_is_the_same_from_any_order_of_its_parts() -> None:
    parts = [program.public([launch(f"2026-11-20T{hour:02}:00:00Z")] * 2) for hour in (3, 1, 2)]
    assert program.merged(parts) == program.merged(reversed(parts))
    assert len(program.merged(parts)) == sum(len(part) for part in parts)  # by which a whole day is known


@pytest.mark.parametrize(("first", "bars"), [(date(2026, 11, 20), "in an hour"), (date(2026, 10, 1), "in a day")])
def test_a_plot_has_a_bar_for_each_hour_or_day_with_launches(first: date, bars: str) -> None:
    log = sample()
    shown = picture(Log(first, DAY, log.launched, log.failed, log.repositories), "bids <1>")
    root = ElementTree.fromstring(shown)
    assert root.attrib["aria-label"] == "bids <1>: 6 launches, 7 failures"
    assert bars in shown
    rectangles = [item for item in root.iter("{http://www.w3.org/2000/svg}rect") if float(item.attrib["height"]) > 10]
    launched_bars = len(log.launched) if bars == "in an hour" else 2
    failed_bars = len(log.failed) if bars == "in an hour" else 1
    assert len(rectangles) == 1 + launched_bars + failed_bars  # the first is the background


def test_a_plot_of_nothing_is_a_plot() -> None:
    assert "0 launches" in picture(Log(DAY, DAY), "bids")


def test_wrong_options_are_told_before_anything_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from binder_node.cli.main import app

    repository_root = Path(__file__).parents[2]
    monkeypatch.setenv("BINDER_NODE_STATE", str(tmp_path))
    inventory = str(repository_root / "inventories/demo.yaml")
    ran = CliRunner().invoke(app, ["events", inventory, "--bucket", "--archive"])
    assert ran.exit_code == 2
    ran = CliRunner().invoke(app, ["events", inventory, "--plot", str(tmp_path / "none/plot.svg")])
    assert ran.exit_code == 2
    assert "its folder is not there" in ran.stderr


def test_the_document_for_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    from binder_node.cli import main
    from binder_node.lifecycle import events as lifecycle

    told = lifecycle.Told(sample(), "2026-11-21T01:00:00+00:00", "no answer", ("2026-11-21",))
    monkeypatch.setattr(lifecycle, "of_node", lambda *_, **__: told)
    inventory = str(Path(__file__).parents[2] / "inventories/demo.yaml")
    ran = CliRunner().invoke(main.app, ["events", inventory, "-o", "json", "--top", "1"])
    assert ran.exit_code == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["repositories"] == [{"repository": "gh/org/name", "launches": 5}]
    assert found["reasons"] == [{"message": "Could not resolve ref", "failures": 4, "repositories": 1, "phase": ""}]
    assert found["waiting"] == ["2026-11-21"]
    shown = CliRunner().invoke(main.app, ["events", inventory]).stderr
    assert "6 launches, 7 failures" in shown
    assert "the archive is behind: no answer" in shown
