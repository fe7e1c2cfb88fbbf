"""How many launches and sessions a whole node takes, and what it does with more: minutes on a node of its own.

What it takes is measured in the computer's cores: nothing else should use them meanwhile. Its memory is limited here,
since a local machine sees all of the computer's.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from binder_node.load.result import Result, read
from tests.node.harness import REPO, Home, lent, make_home
from tests.node.memory import Memory

pytestmark = [pytest.mark.node, pytest.mark.soak]

MEMORY, HELD_SHARE = 8_000_000_000, 0.8
HELD, QUOTA = 30, 40
# A server and a kernel that did nothing yet.
SESSION = 70_000_000
# In the mean: who comes is still there at the end.
STAY = "1000h"
# Launches a second: three times what two cores take of the testbed's image, and more (docs/explanation/launches.md).
STORM = 3.6
FILL_SECONDS, STORM_SECONDS, RECOVERY_SECONDS = 150.0, 60, 60.0
UPSTREAM = "tests/testbed/chart/binderhub/values.yaml"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A node with little memory, and an image that is there."""
    more = f"binderhub: {{quota: {QUOTA}, session: {{memory_guarantee: 90M}}}}\nkubernetes: {{max_pods: 110}}"
    folder = tmp_path_factory.mktemp("saturation")
    home = make_home(folder, "sat", "198.18.111", memory=f"{MEMORY // 1_000_000}M", more=more)
    with lent(home):
        home.up().ok()
        home.world("up")
        home.launch(f"{home.git}/minimal.git").ok()
        yield home


# --- what is in a launch --------------------------------------------------------------------------------------------


def test_a_launch_costs_less_than_with_the_charts_own_command(small: Home, tmp_path: Path) -> None:
    ours = saturated(small, tmp_path / "ours")
    command = YAML(typ="safe").load((REPO / UPSTREAM).read_text())["jupyterhub"]["singleuser"]["cmd"]
    values = small.folder / "inventories/upstream.yaml"
    with values.open("w") as file:
        YAML(typ="safe").dump({"jupyterhub": {"singleuser": {"cmd": command}}}, file)
    text = small.inventory.read_text()
    small.inventory.write_text(text.replace("binderhub: {", "binderhub: {values: [upstream.yaml], "))
    try:
        small.up().ok()
        upstream = saturated(small, tmp_path / "upstream")
    finally:
        small.inventory.write_text(text)
        small.up().ok()
    print(json.dumps({"ours": ours, "upstream": upstream}, indent=1))
    assert sessions(ours) < 0.7 * sessions(upstream)
    assert ours["good"] > upstream["good"]


def saturated(home: Home, folder: Path) -> dict[str, Any]:
    """What ``saturate`` found, in three steps."""
    words = ["--start", "0.75/s", "--steps", "3", "--for", "45s", "--report", str(folder), "-o", "json"]
    ran = home.run("saturate", "--repo", f"{home.git}/minimal.git", *words, timeout=480)
    return dict(json.loads(ran.out))


def sessions(found: dict[str, Any]) -> float:
    """The least core-seconds of a user's server, over the steps."""
    return min(
        float(step["spent"]["parts"]["sessions"]) / len(step["ready"]) for step in found["steps"] if step["ready"]
    )


# --- more than it takes ---------------------------------------------------------------------------------------------


def test_three_times_too_many_users_of_a_node_that_is_full_of_them(small: Home, tmp_path: Path) -> None:
    memory = Memory.of(small)
    memory.limit(MEMORY)
    core = restarts(small)
    ballast = (int(HELD_SHARE * MEMORY) - memory.used) // HELD - SESSION
    cells = tmp_path / "cells.py"
    cells.write_text(f"held = globals().get('held') or bytearray(b'x') * {ballast}\nprint(len(held))\n")

    length = int(FILL_SECONDS + STORM_SECONDS + 2 * RECOVERY_SECONDS)
    words = ["--rate", "0.6/s", "--users", str(HELD), "--for", f"{length}s", "--stay", STAY, "--pause", "20s"]
    holding = load(small, tmp_path / "held", *words, "--cells", str(cells))
    try:
        held = filled(memory, small)
        storm = load(small, tmp_path / "storm", "--rate", f"{STORM}/s", "--for", f"{STORM_SECONDS}s", "--stay", STAY)
        told = ended(storm, tmp_path / "storm")
        seconds = recovered(small)
    finally:
        holding.send_signal(signal.SIGINT)  # everybody goes home
        kept = ended(holding, tmp_path / "held")
    numbers = summary(told)
    print(json.dumps({"held": held / MEMORY, "storm": numbers, "recovered after": seconds}, indent=1))

    # Whoever was there stayed to the end.
    assert [visit.outcome for visit in kept.visits] == ["done"] * HELD
    # Below the quota nobody failed, and it was reached; above it everybody was told, in words and at once.
    assert set(numbers["outcomes"]) == {"done", "refused"}, told
    assert numbers["outcomes"]["done"] >= QUOTA - HELD - 1
    refused = [visit for visit in told.visits if visit.outcome == "refused"]
    assert all(visit.cause in ("quota", "HTTP 429") for visit in refused)
    assert all(visit.message.startswith(("Too many users", "Rate limit")) for visit in refused)
    assert seconds <= RECOVERY_SECONDS
    # Nothing that launches go through had to begin again.
    assert restarts(small) == core


def load(home: Home, report: Path, *words: str) -> subprocess.Popen[str]:
    argv = ("load", "--repo", f"{home.git}/minimal.git", *words, "--at-once", "600", "--report", str(report))
    return home.start(*argv, "-o", "json")


def ended(process: subprocess.Popen[str], report: Path) -> Result:
    out, err = process.communicate(timeout=600)
    assert process.returncode in (0, 1, 130), out[-2000:] + err[-2000:]
    return read(report.with_name(f"{report.name}.json"))


def filled(memory: Memory, home: Home) -> int:
    """Waits for everybody who is to stay, until memory grows no more; bytes in use then."""
    until = time.monotonic() + FILL_SECONDS
    while (used := memory.used) < (HELD_SHARE - 0.02) * MEMORY:
        assert time.monotonic() < until, f"{used / MEMORY:.0%} of memory, {running(home)} servers"
        time.sleep(1)
    return used


def running(home: Home) -> int:
    words = "k3s kubectl get pods -n binder -l component=singleuser-server --no-headers"
    return home.ssh(f"{words} --field-selector status.phase=Running").count("\n")


def recovered(home: Home) -> float:
    """Seconds until a launch is ready within ten seconds again."""
    began = time.monotonic()
    while True:
        ran = home.launch(f"{home.git}/minimal.git", timeout=120)
        seconds = time.monotonic() - began
        if ran.code == 0 and ran.last["data"]["seconds_by_phase"]["ready"] < 10:
            return seconds
        assert seconds < 3 * RECOVERY_SECONDS, ran.shown[-2000:]
        time.sleep(2)


def summary(told: Result) -> dict[str, Any]:
    outcomes: dict[str, int] = {}
    for visit in told.visits:
        outcomes[visit.outcome] = outcomes.get(visit.outcome, 0) + 1
    refused = [visit for visit in told.visits if visit.outcome == "refused"]
    return {
        "users": len(told.visits),
        "outcomes": outcomes,
        "words": sorted({visit.message for visit in refused}),
        "refused after at most": max((visit.left for visit in refused), default=0.0),
        "ready after at most": max((visit.ready for visit in told.visits if visit.ready), default=0.0),
    }


def restarts(home: Home) -> dict[str, int]:
    """How often each container of what launches go through has begun again, by pod."""
    pods = json.loads(home.ssh("k3s kubectl get pods -A -o json"))["items"]
    return {
        pod["metadata"]["name"]: sum(one["restartCount"] for one in pod["status"]["containerStatuses"])
        for pod in pods
        if pod["metadata"]["labels"].get("component") != "singleuser-server"
        and pod["metadata"]["name"].partition("-")[0] in ("binder", "hub", "proxy", "traefik")
    }
