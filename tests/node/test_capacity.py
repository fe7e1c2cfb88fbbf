"""What a whole node takes: a step of load, what went into it, what follows; who comes first when cores are short."""

from __future__ import annotations

import json

import pytest

from tests.node.harness import Home

pytestmark = pytest.mark.node


def test_a_step_of_load_says_what_the_cores_did_and_capacity_reads_it(home: Home, git: str) -> None:
    home.launch(f"{git}/minimal.git").ok()
    folder = home.folder / "steps"
    words = ["--start", "0.5/s", "--for", "12s", "--steps", "1", "--stay", "2s", "--p95", "2m", "--report", str(folder)]
    ran = home.run("saturate", "--repo", f"{git}/minimal.git", *words, "-o", "json", timeout=240).ok()
    found = json.loads(ran.out)
    (step,) = found["steps"]
    assert (step["failed"], step["refused"], found["bad"]) == (0, 0, None)
    assert found["good"] == step["rate"] > 0
    # Each part of a launch used something, and the sessions themselves did.
    parts = step["spent"]["parts"]
    assert {"sessions", "hub"} <= set(parts)
    assert parts["sessions"] > 0.5 * len(step["ready"])

    told = json.loads(home.run("capacity", str(folder / "step-01.json"), "--p95", "2m", "-o", "json").ok().out)
    assert told["fit"]["rate"] == step["rate"]
    assert {limit["what"] for limit in told["limits"]} >= {"pods", "launches"}


def test_what_launches_go_through_is_not_the_last_to_get_a_core(home: Home) -> None:
    pods = json.loads(home.ssh("k3s kubectl get pods -A -o json"))["items"]
    classes = {pod["metadata"]["name"].partition("-")[0]: pod["status"]["qosClass"] for pod in pods}
    core = {name: classes[name] for name in ("binder", "hub", "proxy", "traefik")}
    assert core == dict.fromkeys(core, "Burstable")


def test_the_hubs_database_waits_for_no_disk(home: Home) -> None:
    state = "/var/lib/binder-node/hub/jupyterhub.sqlite"
    program = f"import sqlite3; print(sqlite3.connect('{state}').execute('PRAGMA journal_mode').fetchone()[0])"
    assert home.ssh(f'python3 -c "{program}"').strip() == "wal"


def test_a_server_is_the_process_that_looked_for_it(home: Home, git: str) -> None:
    # Of the kernel's parent: upstream's command would have become the server's own program.
    code = "import os; print(open(f'/proc/{os.getppid()}/cmdline').read().split(chr(0))[:2])"
    ran = home.launch(f"{git}/minimal.git", "--run", code).ok()
    assert ran.last["data"]["output"] == "['python3', '-c']\n"
