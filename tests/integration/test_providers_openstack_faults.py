"""What may go wrong between us and an OpenStack cloud, and what is there afterwards: the right server, or none."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from binder_node import remote
from binder_node.errors import BinderNodeError, DeadlineError, StepError
from binder_node.events import Event, silent
from binder_node.providers.base import access_to
from binder_node.secrets.masked import REVEAL
from tests.integration.openstack_fixtures import (
    NAME,
    NONE,
    ONE,
    SECRETS,
    child,
    clear,
    cloud,
    crowd,
    environment,
    holds,
    machine_at,
    snapshot,
    up,
)
from tests.testbed.hetzner.faults import Fault
from tests.testbed.openstack.server import Server

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can listen at port 22"),
]
# One region keeps the number of calls, and with it of kills, small.
HERE: dict[str, Any] = {"regions": ["GRA11"], "flavors": ["b3-64"]}
CREATE = {"method": "POST", "path": "/compute/*/servers"}
# A new process in each run that is killed; with the SDK imported once, for all of them.
FRESH = multiprocessing.get_context("forkserver")
FRESH.set_forkserver_preload(["tests.integration.openstack_preload"])


@pytest.fixture
def openstack() -> Iterator[Server]:
    with cloud() as server:
        yield server


def calls_of(server: Server, verb: str, folder: Path, provider: dict[str, Any]) -> list[tuple[str, str]]:
    """Every call that a verb makes, in the order of one run."""
    before = len(server.state.log)
    machine = machine_at(folder, **provider)
    if verb == "up":
        machine.apply(machine.inspect(silent), silent)
    else:
        machine.destroy(silent, frozenset())
    return [(method, path) for method, path, _ in server.state.log[before:]]


def kinds(server: Server, tmp_path: Path) -> list[tuple[str, str]]:
    """Each kind of call of an ``up`` once, with a star for ids; and everything is as before."""
    calls = calls_of(server, "up", tmp_path, HERE)
    machine_at(tmp_path, **HERE).destroy(silent, frozenset())
    ids = {id_ for one in server.state.regions.values() for table in ("flavors", "images") for id_ in one.table(table)}
    starred = [(method, "/".join("*" if len(part) == 36 or part in ids else part for part in path.split("/")))
               for method, path in calls]  # fmt: skip
    return list(dict.fromkeys(starred))


FAULTS: list[dict[str, Any]] = [
    {"kind": "answer", "status": 500},
    {"kind": "cut"},
    {"kind": "answer", "status": 500, "after": True},
    {"kind": "answer", "status": 503, "times": 2},
    {"kind": "answer", "status": 429, "seconds": 1},
    {"kind": "cut", "after": True},
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: "-".join(str(value) for value in fault.values()))
def test_a_fault_at_any_kind_of_call_ends_in_one_server(
    openstack: Server, tmp_path: Path, fault: dict[str, Any]
) -> None:
    # Whether it had its effect, and how often it fails, is one for calls that only look.
    looks = fault in (FAULTS[0], FAULTS[1])
    calls = [call for call in kinds(openstack, tmp_path) if looks or call[0] != "GET"]
    for number, (method, path) in enumerate(calls):
        switch = Fault(method=method, path=path, **fault)
        openstack.state.faults.add(switch)
        machine = machine_at(tmp_path / str(number), **HERE)
        up(machine)
        assert switch.hits, (method, path)
        assert holds(openstack) == ONE, (method, path)
        openstack.state.faults.remove()
        machine.destroy(silent, frozenset())
        assert holds(openstack) == NONE, (method, path)


@pytest.mark.parametrize("after", [False, True])
def test_a_server_whose_answer_is_always_lost_is_given_up_and_none_is_forgotten(
    openstack: Server, tmp_path: Path, after: bool
) -> None:
    """``after``: each of these calls has made a server."""
    openstack.state.faults.add(Fault(kind="cut", after=after, times=0, **CREATE))  # type: ignore[arg-type]
    machine = machine_at(tmp_path, **HERE)
    if after:
        up(machine)
        assert holds(openstack) == ONE
        return
    with pytest.raises(StepError, match="the answer was lost") as caught:
        up(machine)
    assert "it goes on from here" in caught.value.remedy
    assert holds(openstack)["servers"] == []
    openstack.state.faults.remove()
    up(machine)
    assert holds(openstack) == ONE


def test_too_many_requests_wait_as_long_as_the_server_says(openstack: Server, tmp_path: Path) -> None:
    openstack.state.faults.add(Fault(kind="answer", status=429, seconds=60, **CREATE))  # type: ignore[arg-type]
    machine = machine_at(tmp_path, **HERE)
    with pytest.raises(DeadlineError, match="waited 6 s for the API, which asks us to wait"):
        up(machine)
    up(machine)
    assert holds(openstack) == ONE


def test_a_token_that_ends_in_the_middle_is_renewed(openstack: Server, tmp_path: Path) -> None:
    machine = machine_at(tmp_path, **HERE)
    seen = machine.inspect(silent)
    openstack.state.tokens.clear()
    machine.apply(seen, silent)
    assert holds(openstack) == ONE


def test_a_build_that_hangs_is_said_and_then_gone_on_with(openstack: Server, tmp_path: Path) -> None:
    openstack.state.faults.add(Fault(kind="stick", command="server.build"))
    machine = machine_at(tmp_path, **HERE)
    with pytest.raises(DeadlineError, match=r"waited 4 s for server bids-1 in GRA11 to be up: BUILD scheduling"):
        up(machine)
    assert holds(openstack) == ONE
    (server,) = openstack.state.regions["GRA11"].servers.values()
    server["status"], server["fault"], server["task"] = "ERROR", "Build of instance aborted", None
    events: list[Event] = []
    up(machine, events)
    assert holds(openstack) == ONE
    assert [event for event in events if "it was not built: Build of instance aborted" in event.message]


def test_a_slow_build_is_waited_for(openstack: Server, tmp_path: Path) -> None:
    openstack.state.build_seconds = 1.5
    up(machine_at(tmp_path, **HERE))
    assert holds(openstack) == ONE


def test_a_build_that_fails_is_removed_and_the_next_flavor_taken(openstack: Server, tmp_path: Path) -> None:
    openstack.state.faults.add(Fault(kind="fail", command="server.build", message="Exceeded maximum number of retries"))
    events: list[Event] = []
    up(machine_at(tmp_path), events)
    assert holds(openstack) == ONE
    assert [event for event in events if event.kind == "warn" and "Exceeded maximum number" in event.message]


def test_a_volume_that_fails_is_made_anew(openstack: Server, tmp_path: Path) -> None:
    openstack.state.faults.add(Fault(kind="fail", command="volume.create"))
    up(machine_at(tmp_path, volume="100G", **HERE))
    assert holds(openstack) == {**ONE, "volumes": [NAME]}


def test_a_removal_that_hangs_is_said_and_finished_by_the_next(openstack: Server, tmp_path: Path) -> None:
    machine = machine_at(tmp_path, **HERE)
    up(machine)
    openstack.state.faults.add(Fault(kind="stick", command="server.delete"))
    with pytest.raises(DeadlineError, match="for server bids-1 in GRA11 to be gone: deleting"):
        machine.destroy(silent, frozenset())
    (server,) = openstack.state.regions["GRA11"].servers.values()
    server["task"] = None  # as the cloud's operators reset it
    machine.destroy(silent, frozenset())
    assert holds(openstack) == NONE


@dataclass(frozen=True, slots=True)
class Calls:
    """Those of a verb at which it is killed, as a fault's patterns; no fewer than ``least`` of each verb's."""

    method: str
    path: str
    least: dict[str, int]


# What changes the cloud: killed between two calls that only look, a run leaves what it would leave at the first.
WRITES = Calls("[!G]*", "/[!i]*", {"up": 5, "destroy": 4})
EVERY = Calls("*", "*", {"up": 40, "destroy": 20})


def killed_at(server: Server, verb: str, calls: Calls, number: int, folder: Path, provider: dict[str, Any]) -> bool:
    """Run a verb in a process that is killed at number ``number`` of the calls; whether it came that far."""
    process: list[BaseProcess] = []
    ready = threading.Event()

    def kill() -> None:
        ready.wait()
        process[0].kill()
        process[0].join()

    switch = Fault(kind="call", method=calls.method, path=calls.path, after=True, skip=number, hook=kill)
    server.state.faults.add(switch)
    secrets = SECRETS.model_dump_json(context=REVEAL)
    process.append(FRESH.Process(target=child, args=(environment(server), secrets, str(folder), provider, verb)))
    process[0].start()
    ready.set()
    process[0].join()
    server.state.faults.remove()
    server.state.quiet()
    return bool(switch.hits)


@pytest.fixture
def small() -> Iterator[Server]:
    """A cloud of one region: fewer calls, and of each kind as many."""
    with cloud("GRA11") as server:
        yield server


# The calls of a run, dealt out: one test for all of them would be the last that everything waits for.
def dealt(count: int) -> list[object]:
    every = [pytest.param(EVERY, first, count, marks=pytest.mark.soak, id=f"call-{first}") for first in range(count)]
    return [pytest.param(WRITES, 0, 1, id="write"), *every]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("calls", "first", "step"), dealt(4))
def test_up_killed_at_each_call_converges(calls: Calls, first: int, step: int, small: Server, tmp_path: Path) -> None:
    """Killed when the call has had its effect and before it is answered: for the cloud, that is before the next."""
    provider = {**HERE, "volume": "100G"}
    wanted, number = {**ONE, "volumes": [NAME]}, first
    while killed_at(small, "up", calls, number, tmp_path / str(number), provider):
        machine = machine_at(tmp_path / str(number), **provider)
        up(machine)
        assert holds(small) == wanted, number
        remote.disconnect(access_to(machine.node, ""))
        clear(small)
        number += step
    assert number >= calls.least["up"]  # that calls were counted at all
    assert holds(small) == wanted


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("calls", "first", "step"), dealt(2))
def test_destroy_killed_at_each_call_is_finished_by_the_next(
    calls: Calls, first: int, step: int, small: Server, tmp_path: Path
) -> None:
    provider = {**HERE, "volume": "100G"}
    crowd(small, 2)
    before, number = snapshot(small), first
    while True:
        up(machine_at(tmp_path, **provider))
        hit = killed_at(small, "destroy", calls, number, tmp_path, provider)
        machine_at(tmp_path, **provider).destroy(silent, frozenset())
        assert snapshot(small) == before, number
        if not hit:
            break
        number += step
    assert number >= calls.least["destroy"]


def test_another_operator_who_comes_between_at_any_write_makes_no_second_server(
    openstack: Server, tmp_path: Path
) -> None:
    """The other one's ``up`` runs whole between our call and its effect, or between its effect and our answer."""
    calls = calls_of(openstack, "up", tmp_path, HERE)
    writes = [path for method, path in calls if method != "GET" and not path.startswith("/identity")]
    machine_at(tmp_path, **HERE).destroy(silent, frozenset())
    for after in (False, True):
        for number in range(len(writes)):
            name = f"{number}-{after}"
            errors: list[BaseException] = []

            def other(name: str = name, errors: list[BaseException] = errors) -> None:
                try:
                    up(machine_at(tmp_path / name / "other", **HERE))
                except (BinderNodeError, AssertionError) as error:
                    errors.append(error)

            switch = Fault(kind="call", method="P*", path="/[cn]*", skip=number, after=after, hook=other)
            openstack.state.faults.add(switch)
            mine = machine_at(tmp_path / name / "mine", **HERE)
            up(mine)
            assert switch.hits, number
            assert errors == [], number
            assert holds(openstack) == ONE, number
            assert up(machine_at(tmp_path / name / "other", **HERE)) == []
            openstack.state.faults.remove()
            mine.destroy(silent, frozenset())


def test_two_operators_at_once_end_with_one_server(openstack: Server, tmp_path: Path) -> None:
    openstack.state.build_seconds = 0.3
    for turn in range(4):
        barrier, errors = threading.Barrier(3), list[BaseException]()

        def run(name: str, barrier: threading.Barrier = barrier, errors: list[BaseException] = errors) -> None:
            machine = machine_at(tmp_path / name)
            barrier.wait()
            try:
                machine.apply(machine.inspect(silent), silent)
            except BinderNodeError as error:
                errors.append(error)

        threads = [threading.Thread(target=run, args=(f"{turn}-{index}",)) for index in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        openstack.state.quiet()
        assert errors == []
        assert holds(openstack) == ONE
        machine = machine_at(tmp_path / f"{turn}-0")
        assert machine.changes(machine.inspect(silent)) == []
        machine.destroy(silent, frozenset())
        assert holds(openstack) == NONE
