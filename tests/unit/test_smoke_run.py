"""A run of the checks as an operator or CI sees it, on a node that was never made: one cause, all else blocked."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest

from binder_node.cli.smoke_table import Layers
from binder_node.smoke.checks import Check, Result, catalogue

SHALLOW = [item.id for item in catalogue() if not item.deep]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the inventory of a machine that was never made, called ``lone``."""
    folder = tmp_path_factory.mktemp("home")
    done = binder_node(folder, "init", "lone", "--provider", "local")
    assert done.returncode == 0, done.stderr
    return folder


def run(folder: Path, *argv: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**variables(folder), **more}
    return subprocess.run(
        argv, cwd=folder, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )


def variables(folder: Path) -> dict[str, str]:
    """The environment, with everything that is kept in ``folder``."""
    kept = {key: value for key, value in os.environ.items() if key not in ("BINDER_NODE_PINS", "PYTEST_ADDOPTS")}
    return {
        **kept,
        "BINDER_NODE_STATE": str(folder / "state"),
        "BINDER_NODE_IDENTITY": str(folder / "identity.txt"),
        "BINDER_NODE_LOCAL_DIR": str(folder / "machines"),
        "NO_COLOR": "1",
    }


def binder_node(folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return run(folder, str(Path(sys.executable).with_name("binder-node")), *words, **more)


def plain_pytest(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "pytest", "--pyargs", "binder_node.smoke", "-p", "no:cacheprovider"]
    return run(folder, *argv, *words)


def test_one_failure_blocks_what_stands_on_it_and_everything_is_in_the_document(home: Path) -> None:
    done = binder_node(home, "smoke", "lone", "-o", "json")
    assert (done.returncode, done.stderr) == (1, "")
    told = json.loads(done.stdout)
    assert (told["node"], told["ok"]) == ("lone", False)
    assert [entry["id"] for entry in told["checks"]] == SHALLOW
    first, *others = told["checks"]
    assert (first["id"], first["outcome"]) == ("machine.ssh", "failed")
    assert "binder-node up lone" in first["reason"]
    assert {(entry["outcome"], *entry["because"]) for entry in others} == {("blocked", "machine.ssh")}


def test_people_read_the_failure_with_its_remedy_and_a_table_of_layers(home: Path) -> None:
    done = binder_node(home, "smoke", "lone")
    assert (done.returncode, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    assert lines[0].startswith("✗ machine.ssh ")
    rows = [line.split() for line in lines]
    assert any(row[:1] == ["k3s"] and row[-1] == "blocked" for row in rows)
    assert "more with --deep" in lines[-1]


def test_a_layer_is_well_only_where_something_of_it_was_looked_at() -> None:
    layers = Layers()
    a, b, c = (Check(id, "") for id in ("storage.a", "storage.b", "registry.a"))
    layers.plan([a, b, c], 0)
    for result in (Result(a, "ok"), Result(b, "skipped"), Result(c, "skipped", reason="not on this node")):
        layers.add(result)
    assert [(row[0], row[1], row[-1]) for row in layers.rows()] == [
        ("storage", "1/2", "ok"),
        ("registry", "0/1", "skipped"),
    ]


def test_on_a_terminal_the_table_is_drawn_as_the_checks_run(home: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    argv = [str(Path(sys.executable).with_name("binder-node")), "smoke", "lone"]
    environment = {**variables(home), "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
    started = subprocess.Popen(argv, cwd=home, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError), os.fdopen(ours, "rb", buffering=0) as screen:  # EIO: it has ended
        while part := screen.read(65536):
            shown += part
    assert started.wait(60) == 1
    text = shown.decode()
    assert "✗" in text
    assert text.count("layer ") > 1, "drawn once only"
    assert "blocked" in text


def test_junit_has_every_check_with_reason_and_cause(home: Path) -> None:
    binder_node(home, "smoke", "lone", "--junit", "out.xml")
    suite = xml.parse(home / "out.xml").getroot().find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == (str(len(SHALLOW)), "1", "0")
    properties = [
        {entry.get("name"): entry.get("value") for entry in case.iter("property")} for case in suite.iter("testcase")
    ]
    assert [entry["check"] for entry in properties] == SHALLOW
    assert "binder-node up lone" in str(properties[0]["reason"])
    assert {entry.get("because") for entry in properties[1:]} == {"machine.ssh"}


def test_plain_pytest_runs_the_very_same(home: Path) -> None:
    done = plain_pytest(home, "--node", "lone", "-v")
    assert done.returncode == 1
    assert f"1 failed, {len(SHALLOW) - 1} skipped" in done.stdout
    assert "machine.ssh: " in done.stdout
    assert "Traceback" not in done.stdout
    assert "not looked at: machine.ssh failed" in plain_pytest(home, "--node", "lone", "-rs").stdout


def test_a_part_runs_with_what_it_needs(home: Path) -> None:
    done = binder_node(home, "smoke", "lone", "--only", "k3s.pods", "-o", "json")
    assert [entry["id"] for entry in json.loads(done.stdout)["checks"]] == [
        "machine.ssh",
        "k3s.unit",
        "k3s.api",
        "k3s.pods",
    ]


def test_in_a_checkout_nobody_elses_tests_are_looked_at(home: Path) -> None:
    """Where most operators are: its `tests` have a conftest.py."""
    (home / "tests").mkdir()
    (home / "tests/conftest.py").write_text("raise SystemExit('somebody else')\n")
    try:
        done = binder_node(home, "smoke", "lone", "--only", "machine.ssh", "-o", "json")
    finally:
        (home / "tests/conftest.py").unlink()
        (home / "tests").rmdir()
    assert done.returncode == 1, done.stderr
    assert [entry["outcome"] for entry in json.loads(done.stdout)["checks"]] == ["failed"]


@pytest.mark.parametrize("file", [".", "lone.xml/out.xml"])
def test_a_report_that_cannot_be_written_is_told_before_anything_is_run(home: Path, file: str) -> None:
    (home / "lone.xml").touch()
    done = binder_node(home, "smoke", "lone", "--junit", file)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{file}: --junit: cannot be written: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", [["smoke", "lone", "--only", "k3s,frobs"], ["smoke", "nobody"]])
def test_what_there_is_not_is_told_and_nothing_is_run(home: Path, words: list[str]) -> None:
    done = binder_node(home, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "frobs" in done.stderr or "nobody" in done.stderr


def test_plain_pytest_wants_a_node(home: Path) -> None:
    done = plain_pytest(home)
    assert done.returncode == 4
    assert "--node NODE" in done.stderr


def test_a_shells_settings_for_pytest_change_nothing(home: Path) -> None:
    (home / "pytest.ini").write_text("[pytest]\naddopts = --strict-config -k nothing\npython_files = none.py\n")
    try:
        own = {"PYTEST_ADDOPTS": "-x --maxfail=1 -n 2", "PYTEST_PLUGINS": "a_plugin_that_is_not_here"}
        done = binder_node(home, "smoke", "lone", "-o", "json", **own)
    finally:
        (home / "pytest.ini").unlink()
    assert len(json.loads(done.stdout)["checks"]) == len(SHALLOW)
