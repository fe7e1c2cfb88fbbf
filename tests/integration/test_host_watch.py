"""The program that remembers, as a process on a node of namespaces: real nft, real packets. Kubernetes is not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from binder_node.abuse import report
from binder_node.host import limits
from binder_node.host.on_node import watch
from binder_node.host.on_node.watch import steps
from tests.integration.firewall_world import (
    NEEDS,
    NODE,
    POD,
    POD_ADDRESS,
    PUBLIC,
    STEP,
    STEP_ADDRESS,
    World,
    inside,
    ip,
    made_world,
    within,
)
from tests.integration.test_host_limits import CONNECT_SCAN
from tests.unit.host_samples import sample_spec

pytestmark = NEEDS

CUT = 3
READ = Path(report.__file__).parent / "on_node/read.py"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with made_world(tmp_path_factory.mktemp("watch"), sample_spec(abuse={"cut": CUT})) as made:
        ip("-n", NODE, "route", "add", "11.0.0.0/8", "via", PUBLIC)
        yield made


@pytest.fixture(autouse=True)
def _fresh(world: World) -> None:
    world.load()


@dataclass(frozen=True)
class Memory:
    """What the program has written below ``folder``."""

    folder: Path

    def read(self, *kinds: str, **more: Any) -> dict[str, Any]:
        now = time.time()
        ask = {
            "state": str(self.folder / "state"),
            "logs": str(self.folder / "logs"),
            "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - 3700)),
            "until": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + 60)),
            "kinds": kinds,
            **more,
        }
        found: dict[str, Any] = json.loads(inside(NODE, sys.executable, str(READ), data=json.dumps(ask)))
        return found


@contextmanager
def watching(folder: Path, *more: str) -> Iterator[Memory]:
    """The program in the node's namespace, for the block."""
    argv = [*within(NODE), sys.executable, "-m", "watch", f"--state={folder}/state"]
    argv += [f"--logs={folder}/logs", f"--kubeconfig={folder}/none", "--namespace=binder", "--builds=10.10.0.0/16"]
    argv += ["--group=none", "--days=3", f"--met={limits.MET_SECONDS}", *more]
    environment = {**os.environ, "PYTHONPATH": str(Path(watch.__file__).parents[1])}
    with subprocess.Popen(argv, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            yield Memory(folder)
            assert process.poll() is None, "it ended"
        finally:
            process.terminate()


def until(wanted: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not wanted():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.3)


def test_a_cut_is_told_within_seconds_and_its_end_and_counts_too(world: World, tmp_path: Path) -> None:
    with watching(tmp_path) as memory:
        inside(POD, sys.executable, "-c", CONNECT_SCAN, "400", "1", "80")
        until(lambda: bool(memory.read("cut")["records"]), 3)
        now = report.report("n", memory.read("cut", "free", "refused", sets=["too_many", "too_fast"]))
        assert [(cut.source, cut.why, cut.until) for cut in now.cuts] == [(POD_ADDRESS, "too_many", "")]
        assert 0 < now.cuts[0].left <= CUT
        assert now.cuts[0].packets > 200
        until(lambda: bool(memory.read("free")["records"]), CUT + 5)
        later = report.report("n", memory.read("cut", "free", sets=["too_many"]))
        assert later.cuts[0].until > later.cuts[0].at
        assert later.counted["too_many"] >= later.cuts[0].packets > 200
    # Another start counts on, though the table's counters begin at zero meanwhile.
    world.load()
    with watching(tmp_path) as memory:
        world.tcp(POD, PUBLIC, 25)
        until(lambda: bool(memory.read("refused")["records"]))
        counted = memory.read("cut")["totals"]["totals"]
        assert counted["mail"] == 1
        assert counted["too_many"] == later.counted["too_many"]


def test_a_complaint_leads_to_the_address(world: World, tmp_path: Path) -> None:
    world.tcp(POD, PUBLIC, 443)
    world.tcp(STEP, PUBLIC, 80)
    with watching(tmp_path) as memory:
        until(lambda: len(memory.read("met", to=PUBLIC)["records"]) == 2)
        found = report.suspects(memory.read("met", to=PUBLIC)["records"], report.moment("2026-11-21T20:00Z"))
        assert {(one.source, one.to, one.kind) for one in found} == {
            (POD_ADDRESS, f"{PUBLIC}:443", "unknown"),  # there is no Kubernetes here to ask
            (STEP_ADDRESS, f"{PUBLIC}:80", "build"),
        }
        assert memory.read("met", to="198.18.77.9")["records"] == []


def test_a_steps_command_is_found_by_its_address(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del world
    group = tmp_path / "memory/builds/buildkit/step"
    group.mkdir(parents=True)
    monkeypatch.setattr(steps, "CGROUPS", tmp_path)  # a group of our own needs no rights on the machine's
    argv = [*within(STEP), "/bin/sh", "-c", "sleep 60; true"]
    with subprocess.Popen(argv) as process:
        try:
            (group / "cgroup.procs").write_text(f"{process.pid}\n")
            until(lambda: steps.command("builds", STEP_ADDRESS) == "sleep 60; true", 5)
            assert steps.command("builds", POD_ADDRESS) == ""
        finally:
            process.terminate()
