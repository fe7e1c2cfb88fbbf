"""``binder-node load`` from its options to its exit code, against a BinderHub that is played; no machine is watched."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from binder_node.cli.main import app
from binder_node.lifecycle import loading, opened
from binder_node.load.result import Machine, Sample, read
from tests.integration.load_fixtures import PlayedBinder, binderhub

REPO = ["--repo", "gh/org/name", "--rate", "20/s", "--stay", "0s"]


class Seen:
    """A node that was looked at twice."""

    def __init__(self, machine: Machine) -> None:
        looks = [Sample(at=at, cpu=0.5 * at, memory=3 * 10**9, disk=10**10, users=1) for at in (1.0, 2.0)]
        size = {"cpus": 2, "memory": 8 * 10**9, "disk": 4 * 10**10}
        self.machine = machine.model_copy(update={**size, "samples": tuple(looks)})


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedBinder]:
    """Stands where the node ``bids`` is."""
    monkeypatch.chdir(tmp_path)

    @contextlib.contextmanager
    def watched(node: Machine, began: float, told: Any) -> Iterator[Seen]:
        del began, told
        yield Seen(node)

    with binderhub() as found:
        found.server.routes["GET /versions"] = lambda to: to.reply(200, {"binderhub": "1"})
        monkeypatch.setattr(opened, "open_spec", lambda name, _: name)
        monkeypatch.setattr(loading, "own", lambda name: Machine(name=name))
        monkeypatch.setattr(loading, "node_target", lambda _: found.target)
        monkeypatch.setattr(loading, "_watched", watched)
        yield found


def load(*words: str) -> Result:
    return CliRunner().invoke(app, ["load", "bids", *REPO, *words])


@pytest.mark.usefixtures("hub")
def test_a_load_is_told_and_written() -> None:
    told = load("--for", "1s", "--users", "6", "--report", "out")
    assert told.exit_code == 0, told.stderr
    assert told.stdout == ""
    assert "6 done" in told.stderr
    assert "bids: CPU up to 100% of 2, memory up to 3.0 GB of 8.0 GB" in told.stderr
    assert "report: out.html and out.json" in told.stderr
    result = read(Path("out.json"))
    assert (len(result.visits), result.versions, result.settings["rate"]) == (6, {"binderhub": "1"}, "20/s")
    assert "<h1>Load on bids</h1>" in Path("out.html").read_text()


@pytest.mark.usefixtures("hub")
def test_machines_get_one_document() -> None:
    told = load("--for", "1s", "--users", "3", "-o", "json")
    found = json.loads(told.stdout)
    assert (found["outcomes"], found["cached"]["count"], told.stderr) == ({"done": 3}, 3, "")


def test_failures_end_with_1_unless_some_may_fail_refusals_do_not(hub: PlayedBinder) -> None:
    hub.end = {"phase": "failed", "message": "Failed to launch image"}
    assert load("--for", "1s", "--users", "2").exit_code == 1
    assert "2 failed (launch): launch failed: Failed to launch image" in load("--for", "1s", "--users", "2").stderr
    assert load("--for", "1s", "--users", "2", "--may-fail", "1").exit_code == 0
    hub.end = {"phase": "failed", "message": "Too many users on this BinderHub! Try again soon."}
    assert load("--for", "1s", "--users", "2").exit_code == 0


def test_a_binderhub_that_is_not_there_ends_it_before_it_begins(hub: PlayedBinder) -> None:
    del hub.server.routes["GET /versions"]
    told = load("--for", "1s")
    assert told.exit_code == 1
    assert "ask BinderHub for /versions: HTTP 404" in told.stderr
    assert hub.asked("GET /build") == []


@pytest.mark.usefixtures("hub")
def test_ctrl_c_writes_what_there_is() -> None:
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    told = load("--for", "60s", "--users", "3", "--stay", "1h", "--report", "out")
    assert told.exit_code == 130
    assert read(Path("out.json")).stopped == "interrupted"
    assert "3 done" in told.stderr
