"""Simulated users on a whole node: real launches, kernels and refusals, the node watched meanwhile."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from binder_node.load.result import Result, read
from tests.integration.binder_server import Handler, Played, played
from tests.node.harness import Home

pytestmark = pytest.mark.node
REPO = "minimal.git"
STOPPED_SECONDS = 60.0
RUNNING = "k3s kubectl get pods -n binder -l component=singleuser-server -o name --field-selector status.phase=Running"


@pytest.fixture(scope="module")
def repository(home: Home) -> str:
    """One whose image is there."""
    home.launch(f"{home.git}/{REPO}").ok()
    return f"{home.git}/{REPO}"


def load(home: Home, *words: str, code: int = 0) -> dict[str, Any]:
    """The document that ``load`` prints."""
    ran = home.run("load", *words, "-o", "json", timeout=180)
    assert ran.code == code, ran.shown[-3000:]
    return dict(json.loads(ran.out))


def test_users_launch_work_and_leave_and_the_node_is_watched(home: Home, repository: str) -> None:
    report, others = home.folder / "load", running(home)
    words = ["--repo", repository, "--rate", "2/s", "--for", "20s", "--users", "3", "--stay", "4s", "--pause", "1s"]
    found = load(home, *words, "--at-once", "6", "--report", str(report))
    assert (found["sent"], found["outcomes"]) == (3, {"done": 3})
    assert found["cached"]["count"] == 3
    result = read(Path(f"{report}.json"))
    assert {visit.member for visit in result.visits} == {f"{home.name}.test"}
    assert all(visit.cells >= 1 and visit.answered for visit in result.visits)
    _watched(result)
    assert "<h1>Load on" in Path(f"{report}.html").read_text()
    # Those who left have no server any more: it ends by itself.
    until = time.monotonic() + STOPPED_SECONDS
    while left := running(home) - others:
        assert time.monotonic() < until, left
        time.sleep(1)


def running(home: Home) -> set[str]:
    """Pods of users' servers that run."""
    return set(home.ssh(RUNNING).split())


def _watched(result: Result) -> None:
    (machine,) = result.machines
    assert (machine.error, machine.cpus > 0, machine.quota is not None) == ("", True, True)
    assert len(machine.samples) >= 2
    assert max(one.users or 0 for one in machine.samples) >= 1
    assert all(one.others for one in machine.samples)
    assert max(one.cpu for one in machine.samples) > 0.1


@pytest.mark.soak  # tests/integration has the refusals of a BinderHub that is played
def test_a_full_node_refuses_with_a_clear_word_and_that_is_no_failure(home: Home, repository: str) -> None:
    text = home.inventory.read_text()
    home.inventory.write_text(f"{text}binderhub: {{quota: 2}}\n")
    try:
        home.up().ok()
        words = ["--repo", repository, "--rate", "2/s", "--users", "5", "--for", "20s", "--stay", "60s"]
        found = load(home, *words)
    finally:
        home.inventory.write_text(text)
        home.up().ok()
    assert found["failing"] == 0
    assert found["outcomes"]["refused"] >= 2
    (cause,) = found["causes"]
    assert (cause["outcome"], cause["cause"]) == ("refused", "quota")
    assert cause["example"].startswith("Too many users")


@pytest.fixture
def redirector(home: Home) -> Iterator[Played]:
    """As the federation's answers: its members, the prime's page, and who is to build."""
    with played() as found:
        member = f"http://{home.name}.test"

        def sends(to: Handler) -> None:
            to.send_response(307)
            to.send_header("Location", f"{member}{to.path}")
            to.send_header("Content-Length", "0")
            to.end_headers()

        found.routes["GET /active_hosts"] = lambda to: to.reply(200, {"active_hosts": {home.name: {"url": member}}})
        found.routes["GET /versions"] = lambda to: to.reply(200, {})
        found.routes[f"GET /build/git/http%3A%2F%2F{home.network}.10%2F{REPO}/HEAD"] = sends
        found.routes[f"GET /v2/git/http%3A%2F%2F{home.network}.10%2F{REPO}/HEAD"] = lambda to: to.reply(
            200, "", "text/html"
        )
        yield found


def test_behind_a_redirector_it_is_told_who_served_and_foreigners_are_refused(
    home: Home, repository: str, redirector: Played
) -> None:
    front = f"http://127.0.0.1:{redirector.port}"
    words = [
        "--redirector",
        front,
        "--repo",
        repository,
        "--rate",
        "1/s",
        "--users",
        "1",
        "--for",
        "20s",
        "--stay",
        "1s",
    ]
    assert load(home, *words)["members"] == {f"{home.name}.test": 1}
    foreign = {"active_hosts": {"other": {"url": "https://other.example.org"}}}
    redirector.routes["GET /active_hosts"] = lambda to: to.reply(200, foreign)
    ran = home.run("load", *words)
    assert ran.code == 2
    assert "https://other.example.org, which is none of yours" in ran.err
