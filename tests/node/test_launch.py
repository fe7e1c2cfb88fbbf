"""A launch as a user gets it: built, pushed, started without a pull; the second one straight from the registry."""

from __future__ import annotations

import json

import pytest

from tests.node.harness import Home

pytestmark = pytest.mark.node


def phases(events: list[dict[str, object]]) -> list[str]:
    """The build stream's phases in order, each once."""
    seen: list[str] = []
    for event in events:
        data = event["data"]
        assert isinstance(data, dict)
        phase = data.get("phase")
        if phase and (not seen or seen[-1] != phase):
            seen.append(phase)
    return seen


def test_code_runs_in_a_server_that_the_node_built_and_the_second_launch_builds_nothing(home: Home) -> None:
    url = home.new_repository(
        "fresh", {"Dockerfile": "FROM docker.io/binder-node/base:1\nRUN echo fresh > /tmp/fresh\n"}
    )
    first = home.launch(url, "--run", "print(6 * 7)").ok()
    assert first.last["data"]["output"] == "42\n"
    assert "building" in phases(first.events)
    assert phases(first.events)[-1] == "ready"

    # What was built is in the node's image store already: the kubelet pulled nothing.
    spec = "k3s kubectl get events -n binder -o json"
    pod = "jupyter-" + first.last["data"]["url"].split("/user/")[1].strip("/")
    messages = [
        item["message"]
        for item in json.loads(home.ssh(spec))["items"]
        if item["involvedObject"]["name"] == pod and item["reason"] in {"Pulled", "Pulling"}
    ]
    assert any("already present on machine" in message for message in messages), messages
    assert not any(message.startswith("Pulling image") and "/binder/" in message for message in messages), messages

    builds = home.ssh("k3s kubectl get events -n binder -o json")
    second = home.launch(url, "--run", "print('again')").ok()
    assert second.last["data"]["output"] == "again\n"
    assert phases(second.events)[0] == "built"
    names = {
        item["involvedObject"]["name"]
        for item in json.loads(home.ssh(spec))["items"]
        if item["involvedObject"]["name"].startswith("build-")
    }
    before = {
        item["involvedObject"]["name"]
        for item in json.loads(builds)["items"]
        if item["involvedObject"]["name"].startswith("build-")
    }
    assert names == before


def test_a_build_that_fails_says_why_and_ends_with_an_error(home: Home, git: str) -> None:
    failed = home.launch(f"{git}/fails.git")
    assert failed.code == 1
    assert phases(failed.events)[-1] == "failed"


def test_code_that_fails_ends_with_an_error_and_its_traceback(home: Home, git: str) -> None:
    failed = home.launch(f"{git}/minimal.git", "--run", "1/0")
    assert failed.code == 1
    assert "ZeroDivisionError" in failed.last["data"]["output"]


@pytest.mark.parametrize(("repository", "word"), [("eats-memory", "memory"), ("eats-disk", "disk")])
def test_a_build_that_wants_too_much_is_ended_and_told_what_of(
    home: Home, git: str, repository: str, word: str
) -> None:
    failed = home.launch(f"{git}/{repository}.git")
    assert failed.code == 1
    assert phases(failed.events)[-1] == "failed"
    assert word in failed.err + str([event["message"] for event in failed.events[-12:]])
