"""Failures put into a running node, each seen by its own check and by no other; each is put right again afterwards."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from binder_node.smoke.checks import catalogue, needed
from tests.node.harness import Home
from tests.node.smoke_harms import DEEP, HARMS, KUBECTL, LOUD, QUIET, Harm, together
from tests.node.smoke_servers import OWN, SERVERS
from tests.testbed.world.host import RUN

pytestmark = [pytest.mark.node, pytest.mark.usefixtures("still")]


def on_node(home: Home, command: str) -> str:
    """A shell line on the machine, over the connection that the checks share."""
    config = home.folder / "state" / home.name / "ssh_config"
    done = subprocess.run(
        ["ssh", "-F", str(config), home.name, command], capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def smoke(home: Home, *args: str) -> dict[str, Any]:
    ran = home.run("smoke", "-o", "json", *args)
    assert ran.code in (0, 1), ran.shown
    found: dict[str, Any] = json.loads(ran.out)
    return found


def outcomes(found: dict[str, Any], outcome: str) -> dict[str, str]:
    return {item["id"]: item["reason"] for item in found["checks"] if item["outcome"] == outcome}


def repository(home: Home, name: str) -> tuple[str, ...]:
    """Options that name one of the world's repositories: how the node clones it, and how we push."""
    return ("--repository", f"{home.git}/{name}.git", "--push-to", str(RUN / home.name / "git" / f"{name}.git"))


def seen(home: Home, one: Harm) -> None:
    """Break the node, look, mend it: the harm's checks failed, and of the others only those that need them."""
    if one.repository in OWN:
        home.new_repository(one.repository, OWN[one.repository])
    deep = ("--deep", *repository(home, one.repository)) if one.deep else ()
    on_node(home, one.break_it)
    try:
        found = smoke(home, "--only", one.only, *deep)
    finally:
        on_node(home, one.mend)
    failed, by_id = outcomes(found, "failed"), {item.id: item for item in catalogue()}
    assert set(failed) == set(one.fails), failed
    for id, word in one.fails.items():
        assert word in failed[id]
    for item in found["checks"]:
        stands_on = needed(by_id, item["id"]) & set(failed)
        assert item["outcome"] in (("blocked",) if stands_on else ("ok", "skipped", "failed")), item
        if item["outcome"] == "failed":
            assert item["remedy"]


def test_small_failures_at_once_are_each_seen(home: Home) -> None:
    seen(home, together(QUIET))


@pytest.mark.parametrize("one", LOUD, ids=lambda one: one.name)
def test_a_failure_is_seen_by_its_own_check(home: Home, one: Harm) -> None:
    seen(home, one)


@pytest.mark.soak
@pytest.mark.parametrize("one", [one for one in HARMS if one not in LOUD], ids=lambda one: one.name)
def test_every_other_failure_is_seen_alone(home: Home, one: Harm) -> None:
    seen(home, one)


@pytest.mark.parametrize("one", DEEP, ids=lambda one: one.name)
def test_a_failure_that_only_a_try_shows(home: Home, one: Harm) -> None:
    seen(home, one)


@pytest.mark.soak
@pytest.mark.parametrize("one", SERVERS, ids=lambda one: one.name)
def test_a_failure_of_what_runs_in_a_server(home: Home, one: Harm) -> None:
    seen(home, one)


def test_a_build_that_fails_is_told_with_its_last_words(home: Home) -> None:
    found = smoke(home, "--deep", "--only", "pipeline.launch", *repository(home, "fails"))
    assert set(outcomes(found, "failed")) == {"pipeline.build"}
    assert "exit code: 3" in outcomes(found, "failed")["pipeline.build"]


def test_a_repository_that_nobody_may_push_to(home: Home) -> None:
    found = smoke(home, "--deep", "--only", "pipeline.branch", "--repository", f"{home.git}/minimal.git")
    assert set(outcomes(found, "failed")) == {"pipeline.branch"}
    found = smoke(home, "--deep", "--only", "pipeline.branch")
    assert "there is no repository" in outcomes(found, "failed")["pipeline.branch"]


def test_after_all_that_everything_is_green_and_nothing_is_left(home: Home) -> None:
    def left() -> tuple[str, ...]:
        return (
            on_node(home, f"{KUBECTL} get pods -l 'component in (singleuser-server,binderhub-build)' -o name"),
            on_node(home, "k3s crictl images | grep -c binder-node-smoke; true"),
            "\n".join(sorted(path.name for path in (RUN / home.name / "git/minimal.git/refs/heads").iterdir())),
        )

    before = set(left()[0].split())  # sessions that other tests left open
    found = smoke(home, "--deep", *repository(home, "minimal"))
    assert found["ok"], (outcomes(found, "failed"), outcomes(found, "blocked"))
    assert found["deep_left_out"] == 0
    shallow = sum(
        item["seconds"] for item in found["checks"] if item["id"] in {c.id for c in catalogue() if not c.deep}
    )
    assert shallow < 60
    assert found["seconds"] < 180
    assert left()[1:] == ("0\n", "main")
    assert [pod for pod in left()[0].split() if pod not in before and "jupyter-" in pod] == []
