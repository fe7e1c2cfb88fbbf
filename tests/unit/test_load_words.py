"""A load as an operator says it: every mistake told before anything is touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from binder_node.cli.load import named
from binder_node.cli.main import app
from binder_node.errors import InputError
from binder_node.load.result import write
from binder_node.load.words import Wishes, drawn, rate
from tests.unit.load_samples import failed, result, visit

REPO = ("gh/org/name",)


@pytest.mark.parametrize(("text", "value"), [("0.5/s", 0.5), ("6/m", 0.1), ("720/h", 0.2)])
def test_a_rate(text: str, value: float) -> None:
    assert rate(text, "--rate") == pytest.approx(value)


@pytest.mark.parametrize(
    ("wishes", "wrong"),
    [
        ({}, "--repo: nothing to launch; say --repo, --popular or --replay"),
        ({"repo": ("name",)}, "REPO: 'name' is no repository"),
        ({"repo": REPO, "rate": "6"}, "--rate: '6'; write users in a time"),
        ({"repo": REPO, "rate": "0/m"}, "--rate: '0/m'"),
        ({"repo": REPO, "length": "soon"}, "--for: 'soon'; write a time like"),
        ({"repo": REPO, "stay": "5"}, "--stay: '5'"),
        ({"repo": REPO, "pause": "0s"}, "--pause: '0s'"),
        ({"repo": REPO, "rate": "1/d", "length": "1s"}, "--for: '1s'; nobody comes within it"),
        ({"repo": REPO, "cells": Path("/nowhere.py")}, "/nowhere.py: cannot be read"),
        ({"repo": REPO, "replay": (Path("x.jsonl"),)}, "--replay: says what is launched"),
        ({"repo": REPO, "popular": Path("x.jsonl")}, "--popular: says what is launched"),
    ],
)
def test_mistakes(wishes: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InputError) as told:
        drawn(Wishes(**wishes))
    assert str(told.value).startswith(wrong)


def test_what_is_drawn(tmp_path: Path) -> None:
    cells = tmp_path / "cells.py"
    cells.write_text("a = 1\n# %%\nprint(a)\n")
    found = drawn(
        Wishes(repo=REPO, rate="1/s", length="1m", users=5, at_once=3, grace="10s", cells=cells, patience="9m")
    )
    assert len(found.arrivals) == 5
    assert {one.path for one in found.arrivals} == {"gh/org/name/HEAD"}
    assert (found.limits.seconds, found.limits.at_once, found.limits.grace) == (60, 3, 10)
    assert (found.patience.cells, found.patience.launch) == (("a = 1", "print(a)"), 540)


def test_popularity_of_the_archive(tmp_path: Path) -> None:
    def event(spec: str) -> str:
        schema = "binderhub.jupyter.org/launch"
        return f'{{"schema": "{schema}", "provider": "GitHub", "spec": "{spec}", "status": "success"}}\n'

    file = tmp_path / "events.jsonl"
    file.write_text(event("a/b/HEAD") * 9 + event("c/d/HEAD"))
    paths = [one.path for one in drawn(Wishes(popular=file, rate="1/s", length="2000s")).arrivals]
    assert paths.count("gh/a/b/HEAD") / len(paths) == pytest.approx(0.9, abs=0.03)


# --- the command ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["--repo", "gh/o/n"], "NODE: no node is named"),
        (["a", "b", "--repo", "gh/o/n"], "NODE: more than one node; say the --redirector"),
        (["nowhere", "--repo", "gh/o/n"], "nowhere"),
        (["--compare", "a.json", "b.json"], "a.json: cannot be read"),
    ],
)
def test_a_wrong_command_line_ends_with_2(words: list[str], wrong: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    told = CliRunner().invoke(app, ["load", *words])
    assert (told.exit_code, told.stdout) == (2, "")
    assert wrong in told.stderr


def test_a_comparison_is_told_and_written(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    write(result(*(visit(number, 10.0) for number in range(4))), Path("a.json"))
    write(result(*(visit(number, 5.0) for number in range(3)), failed(3), settings={"rate": "9/m"}), Path("b.json"))
    told = CliRunner().invoke(app, ["load", "--compare", "a.json", "b.json", "--report", "both"])
    assert told.exit_code == 0, told.stderr
    assert "-50%" in told.stderr
    assert "--rate was 6/m, then 9/m" in told.stderr
    assert "before and after" in Path("both.html").read_text()
    machines = CliRunner().invoke(app, ["load", "--compare", "a.json", "b.json", "-o", "json"])
    assert '"name": "cached: p95 to ready"' in machines.stdout


def test_names_of_a_report() -> None:
    assert [path.name for path in named(Path("load.html"))] == ["load.html", "load.json"]
    assert [path.name for path in named(Path("v1.2"))] == ["v1.2.html", "v1.2.json"]
