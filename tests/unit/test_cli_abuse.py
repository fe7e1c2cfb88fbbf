"""``abuse`` and ``explain``: what they ask for, refuse and show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from binder_node.abuse import report
from binder_node.cli.main import app
from binder_node.lifecycle import abuse

INVENTORY = """\
name: bids-1
provider: {kind: local}
machine: {cpus: 2, memory: 12G, disk: 40G}
names: {binder: bids.example.org}
tls: {mode: none}
storage: {kind: node}
"""
WHO = {"kind": "session", "pod": "jupyter-x", "repo": "https://github.com/o/r", "ref": "abc"}
CUT = {"at": "2026-11-21T20:00:00Z", "kind": "cut", "why": "too_many", "source": "10.42.0.5", "who": WHO}
STARTED = {"at": "2026-11-21T19:59:00Z", "kind": "pod", "who": WHO, "address": "10.42.0.5", "state": "Running"}
MET = {"at": "2026-11-21T19:59:30Z", "kind": "met", "source": "10.42.0.5", "to": "192.0.2.77:80", "who": WHO}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the command line on an inventory; the node answers with all of the records above."""
    (tmp_path / "bids-1.yaml").write_text(INVENTORY)
    asked: list[dict[str, Any]] = []

    def read(opened: object, ask: dict[str, Any]) -> dict[str, Any]:
        del opened
        asked.append(ask)
        records = [one for one in (STARTED, MET, CUT) if one["kind"] in ask["kinds"]]
        live = [{"elem": {"val": "10.42.0.5", "expires": 212, "counter": {"packets": 701, "bytes": 1}}}]
        totals = {"since": "2026-11-02T09:12:44Z", "totals": {"too_many": 701, "mail": 0}}
        return {"records": records, "sets": {"too_many": live}, "totals": totals, "logs": {}, "more": 0}

    monkeypatch.setattr(abuse, "_read", read)
    monkeypatch.setenv("COLUMNS", "200")

    def runs(*words: str) -> Any:
        verb, *rest = words
        done = CliRunner().invoke(app, [verb, str(tmp_path / "bids-1.yaml"), *rest])
        return done, asked

    return runs


def test_who_is_cut_is_shown_with_repository_pod_address_and_count(run: Any) -> None:
    done, _ = run("abuse")
    assert done.exit_code == 0
    for said in (
        "a scan",
        "https://github.com/o/r jupyter-x",
        "10.42.0.5",
        "701",
        "212 s left",
        "1 cut in the last 24",
    ):
        assert said in done.output
    assert "mail" not in done.output  # nothing was counted of it


def test_a_complaint_is_asked_for_around_its_time(run: Any) -> None:
    done, asked = run("explain", "--to", "192.0.2.77", "--at", "2026-11-21T20:00Z")
    assert done.exit_code == 0
    assert asked[0]["to"] == "192.0.2.77"
    assert asked[0]["since"] == report.moment("2026-11-21T20:00Z") - report.COMPLAINT_BEFORE
    assert "https://github.com/o/r jupyter-x" in done.output


def test_a_launch_is_shown_in_its_order(run: Any) -> None:
    done, asked = run("explain", "gh/o/r")
    assert done.exit_code == 0
    assert asked[0]["words"] == ("o/r",)
    assert done.output.index("session: Running") < done.output.index("192.0.2.77:80") < done.output.index("CUT for a")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "say a launch, or --to ADDRESS"),
        (("o/r", "--to", "192.0.2.77"), "say a launch, or --to ADDRESS"),
        (("--to", "example.org"), "--to: 'example.org' is no IPv4 address"),
        (("--to", "192.0.2.77", "--at", "noon"), "--at: 'noon' is no time"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_asked(run: Any, words: tuple[str, ...], said: str) -> None:
    done, asked = run("explain", *words)
    assert done.exit_code == 2
    assert said in done.output
    assert asked == []


def test_a_launch_that_nobody_remembers_is_told(run: Any) -> None:
    done, _ = run("explain", "nothing/like-it")
    assert done.exit_code == 1
    assert "14 days are kept" in done.output
