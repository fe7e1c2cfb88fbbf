"""What the node's memory writes of changes that Kubernetes tells, list after list."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from binder_node.host.on_node.watch.__main__ import Watcher
from tests.unit.test_host_watch_facts import build, session

NOW = 1_700_000_000.0


@pytest.fixture
def watcher(tmp_path: Path) -> Watcher:
    given = argparse.Namespace(
        state=str(tmp_path / "state"),
        logs=str(tmp_path / "logs"),
        days=3,
        builds="10.10.0.0/16",
        group="none",
        met=3600,
    )
    return Watcher(given)


def written(watcher: Watcher) -> list[dict[str, Any]]:
    files = watcher.journal.folder.glob("*.jsonl")
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def event(uid: str, version: str) -> dict[str, Any]:
    about = {"kind": "Pod", "name": "jupyter-o-r-x"}
    return {"metadata": {"uid": uid, "resourceVersion": version}, "involvedObject": about, "reason": uid}


def test_a_pods_states_are_written_once_each_and_its_end(watcher: Watcher) -> None:
    for _ in range(2):
        watcher.change("pods", "SEEN", session(), NOW)
        watcher.change("pods", "LISTED", None, NOW)
    watcher.change("pods", "MODIFIED", session(phase="Succeeded"), NOW)
    watcher.change("pods", "DELETED", session(phase="Succeeded"), NOW)
    assert [record["state"] for record in written(watcher)] == ["Running", "Succeeded", "gone"]
    assert watcher.who("10.42.0.5") == {"kind": "unknown"}


def test_a_pod_that_a_list_no_longer_has_is_gone(watcher: Watcher) -> None:
    watcher.change("pods", "ADDED", session(), NOW)
    assert watcher.who("10.42.0.5")["repo"] == "https://github.com/o/r"
    watcher.change("pods", "LISTED", None, NOW)
    assert [record["state"] for record in written(watcher)] == ["Running", "gone"]


def test_the_systems_own_pods_are_known_and_not_written(watcher: Watcher) -> None:
    watcher.change("pods", "ADDED", {"metadata": {"name": "hub", "uid": "h"}, "status": {"podIP": "10.42.0.2"}}, NOW)
    assert written(watcher) == []
    assert watcher.who("10.42.0.2")["pod"] == "hub"


def test_a_lists_events_are_written_once_however_often_they_are_listed(watcher: Watcher) -> None:
    for _ in range(3):
        watcher.change("events", "SEEN", event("Pulled", "1"), NOW)
        watcher.change("events", "LISTED", None, NOW)
    watcher.change("events", "MODIFIED", event("Pulled", "2"), NOW)
    assert [record["reason"] for record in written(watcher)] == ["Pulled", "Pulled"]


def test_a_build_steps_address_is_the_running_builds(watcher: Watcher) -> None:
    watcher.change("pods", "ADDED", build("build-1"), NOW)
    found = watcher.who("10.10.0.9")
    assert (found["kind"], found["pod"], found["repo"]) == ("build", "build-1", "https://github.com/o/r")
    watcher.change("pods", "ADDED", build("build-2", "https://github.com/o/other"), NOW)
    assert [one["repo"] for one in watcher.who("10.10.0.9")["likely"]] == [
        "https://github.com/o/r", "https://github.com/o/other",
    ]  # fmt: skip
