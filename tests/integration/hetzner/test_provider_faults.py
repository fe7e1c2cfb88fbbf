"""What may go wrong between us and Hetzner's API: every fault leaves the right machine or none, never two."""

from __future__ import annotations

import multiprocessing
import threading
import time
from datetime import timedelta
from decimal import Decimal
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from binder_node.errors import BinderNodeError, DeadlineError, InputError, StepError
from binder_node.events import Event, silent
from binder_node.providers.base import NOTHING
from binder_node.providers.hetzner.stage import HetznerMachine
from tests.integration.hetzner_fixtures import (
    FULL,
    NAME,
    NONE,
    WHOLE,
    Machines,
    child,
    holds,
    machine_at,
    up,
)
from tests.testbed.hetzner.server import HetznerApi

pytestmark = pytest.mark.integration


# Faults


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", ["cut", "answer"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/servers"), ("POST", "/ssh_keys"), ("POST", "/firewalls"), ("POST", "/volumes"),
        ("POST", "/placement_groups"), ("PUT", "/primary_ips/*"), ("GET", "/servers"), ("GET", "/actions/*"),
        ("GET", "/pricing"),
    ],
)  # fmt: skip
def test_a_lost_answer_makes_nothing_twice(
    cloud: HetznerApi, node: Machines, method: str, path: str, kind: str, after: bool
) -> None:
    """The connection is cut, or a 500 is answered, before or after the request had its effect."""
    fault = cloud.fault(kind, method=method, path=path, after=after, **({"status": 500} if kind == "answer" else {}))
    up(node(**FULL))
    assert fault.hits == 1
    assert holds(cloud) == {**WHOLE, "volumes": [NAME], "groups": ["members"]}


@pytest.mark.parametrize("path", ["/servers/*", "/firewalls/*", "/ssh_keys/*", "/primary_ips/*", "/volumes/*"])
@pytest.mark.parametrize("after", [False, True])
def test_a_lost_answer_to_a_delete_ends_in_nothing(cloud: HetznerApi, node: Machines, path: str, after: bool) -> None:
    up(node(**FULL))
    fault = cloud.fault("cut", method="DELETE", path=path, after=after)
    node(**FULL).destroy(silent, NOTHING)
    assert fault.hits == 1
    assert holds(cloud) == NONE


def test_a_rate_limit_is_waited_for_as_the_answer_says(cloud: HetznerApi, node: Machines) -> None:
    machine = node()
    with cloud.project.lock:
        cloud.app.rate.limit, cloud.app.rate.left, cloud.app.rate.a_second = 6, 0.0, 3.0  # full again after 2 s
        cloud.project.skew = timedelta(hours=2)  # its clock is not ours
    began = time.monotonic()
    machine.api.everything()
    assert 2 <= time.monotonic() - began < 6
    refused = [call for call in cloud.calls() if call[2] == 429]
    assert 0 < len(refused) <= 12  # each of six waits once, or twice when it is late


def test_a_rate_limit_that_lasts_is_told_at_once(cloud: HetznerApi, node: Machines) -> None:
    with cloud.project.lock:
        cloud.app.rate.limit, cloud.app.rate.left, cloud.app.rate.a_second = 3600, 0.0, 1.0
    began = time.monotonic()
    with pytest.raises(StepError, match=r"the project's rate limit is used up .*free again in \d+ s"):
        up(node())
    assert time.monotonic() - began < 3
    assert holds(cloud) == NONE


def test_a_busy_resource_is_asked_again(cloud: HetznerApi, node: Machines) -> None:
    locked = cloud.fault("answer", method="POST", path="/servers", status=423, code="locked", times=2)
    conflict = cloud.fault("answer", method="PUT", path="/primary_ips/*", status=409, code="conflict", times=2)
    up(node())
    assert (locked.hits, conflict.hits) == (2, 2)
    assert holds(cloud) == WHOLE


def test_an_api_that_is_down_is_told_and_the_next_run_goes_on(cloud: HetznerApi, node: Machines) -> None:
    cloud.fault("answer", method="POST", path="/firewalls", status=503, code="unavailable", times=0)
    with pytest.raises(StepError, match="create firewall bids-1: the API refused: unavailable"):
        up(node())
    cloud.faults.remove()
    up(node())
    assert holds(cloud) == WHOLE


def test_a_stuck_action_ends_the_wait_and_not_the_server(cloud: HetznerApi, node: Machines) -> None:
    cloud.fault("stick", command="create_server")
    with pytest.raises(
        DeadlineError, match=r"waited 4 s for create server bids-1: create_server is at \d+ %"
    ) as caught:
        up(node())
    assert "run the same command again" in caught.value.remedy
    with cloud.project.lock:
        for action in cloud.project.actions.all.values():
            action.stuck = False
    up(node())
    assert holds(cloud) == WHOLE
    assert len(cloud.calls("POST", "/servers")) == 1


def test_a_stuck_deletion_is_gone_on_with(cloud: HetznerApi, node: Machines) -> None:
    up(node())
    cloud.fault("stick", command="delete_server")
    with pytest.raises(DeadlineError, match="delete server bids-1"):
        node().destroy(silent, NOTHING)
    with cloud.project.lock:
        for action in cloud.project.actions.all.values():
            action.stuck = False
    cloud.settle()
    node().destroy(silent, NOTHING)
    assert holds(cloud) == NONE


@pytest.mark.parametrize("command", ["create_server", "start_server", "create_volume"])
def test_a_failed_action_is_told_and_the_next_run_converges(cloud: HetznerApi, node: Machines, command: str) -> None:
    fault = cloud.fault("fail", command=command, code="server_error", message="the host broke")
    with pytest.raises(StepError, match=r"server_error: the host broke|action_failed"):
        up(node(volume="50G"))
    assert fault.hits == 1
    assert len(cloud.project.servers) <= 1
    up(node(volume="50G"))
    assert holds(cloud) == {**WHOLE, "volumes": [NAME]}


@pytest.mark.parametrize("code", ["resource_unavailable", "placement_error"])
@pytest.mark.parametrize("late", [False, True])
def test_where_a_type_is_sold_out_the_next_is_taken(cloud: HetznerApi, node: Machines, code: str, late: bool) -> None:
    """``late``: the API takes the order, and its action fails."""
    if late:
        cloud.fault("fail", command="create_server", code=code, message="no room", times=3)
    else:
        cloud.fault("answer", method="POST", path="/servers", status=412, code=code, times=3)
    told: list[Event] = []
    up(node(), told)
    (server,) = cloud.project.servers.values()
    assert (server.type, server.location) == ("ccx33", "fsn1")
    assert [event.message for event in told if event.kind == "warn"] == [
        f"ccx23 cannot be had in nbg1 ({code})",
        f"ccx23 cannot be had in fsn1 ({code})",
        f"ccx33 cannot be had in nbg1 ({code})",
    ]
    assert holds(cloud) == WHOLE


def test_where_nothing_can_be_had_all_that_was_tried_is_told(cloud: HetznerApi, node: Machines) -> None:
    cloud.fault("answer", method="POST", path="/servers", status=412, code="resource_unavailable", times=0)
    with pytest.raises(StepError) as caught:
        up(node())
    for tried in ("ccx23 in nbg1", "ccx23 in fsn1", "ccx33 in nbg1", "ccx33 in fsn1"):
        assert f"{tried}: resource_unavailable" in str(caught.value)
    assert holds(cloud)["servers"] == []
    assert len(cloud.calls("POST", "/servers")) == 4


def test_stock_that_the_lists_know_of_is_not_asked_for(cloud: HetznerApi, node: Machines) -> None:
    with cloud.project.lock:
        cloud.catalogue.stock_out("ccx23")
    up(node())
    (server,) = cloud.project.servers.values()
    assert server.type == "ccx33"


def test_a_withdrawn_type_is_told_before_anything_is_made(cloud: HetznerApi, node: Machines) -> None:
    with pytest.raises(StepError, match=r"ccx22: there is no such server type \(any more\); ccx23 would do"):
        node(types=["ccx22"]).inspect(silent)
    with cloud.project.lock:
        cloud.catalogue.withdraw("ccx23")
    with pytest.raises(StepError, match="ccx23"):
        node(types=["ccx23"]).inspect(silent)
    assert holds(cloud) == NONE
    up(node())
    (server,) = cloud.project.servers.values()
    assert server.type == "ccx33"


def test_a_price_that_rose_between_plan_and_up_stops_up(cloud: HetznerApi, node: Machines) -> None:
    said = {"types": ["ccx23"], "max_price": 25}
    machine = node(**said)
    planned = machine.inspect(silent)
    assert "24.99 EUR a month" in machine.changes(planned)[2].what
    with cloud.project.lock:
        cloud.catalogue.set_price("ccx23", "30.00")
    with pytest.raises(StepError, match=r"30\.50 EUR a month are more than max_price, 25") as caught:
        machine.apply(planned, silent)
    assert "raise max_price" in caught.value.remedy
    assert holds(cloud)["servers"] == []
    with pytest.raises(StepError, match="max_price"):
        node(**said).inspect(silent)
    offer = node(**said).own_offer(silent)
    assert offer is not None
    assert offer.monthly == Decimal(30)


@pytest.mark.parametrize("hours", [-3000, 3000])
def test_a_clock_that_is_not_ours_changes_nothing(cloud: HetznerApi, node: Machines, hours: int) -> None:
    with cloud.project.lock:
        cloud.project.skew = timedelta(hours=hours)
    up(node())
    assert holds(cloud) == WHOLE
    node().destroy(silent, NOTHING)
    assert holds(cloud) == NONE


def test_two_operators_at_once_make_one_server(cloud: HetznerApi, tmp_path: Path) -> None:
    """Both have looked, and seen nothing, before either makes anything."""
    machines = [machine_at(cloud.endpoint, tmp_path / name, **FULL) for name in ("ana", "ben")]
    looks = [machine.inspect(silent) for machine in machines]
    failed: list[BinderNodeError] = []

    def run(index: int) -> None:
        try:
            machines[index].apply(looks[index], silent)
        except BinderNodeError as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert holds(cloud) == {**WHOLE, "volumes": [NAME], "groups": ["members"]}
    assert up(machine_at(cloud.endpoint, tmp_path / "ana", **FULL)) == []


# Refusals


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("x" * 64, "the API does not take this token"),
        ("r" * 64, "this token may only read"),
    ],
)
def test_a_token_that_will_not_do_is_told(
    cloud: HetznerApi, node: Machines, monkeypatch: pytest.MonkeyPatch, given: str, words: str
) -> None:
    monkeypatch.setenv("HCLOUD_TOKEN", given)
    with pytest.raises(StepError, match=words) as caught:
        up(node())
    assert "Hetzner's console" in caught.value.remedy
    assert given not in str(caught.value)
    assert holds(cloud) == NONE
    monkeypatch.delenv("HCLOUD_TOKEN")
    with pytest.raises(InputError, match="HCLOUD_TOKEN"):
        up(node())


@pytest.mark.parametrize("kind", ["servers", "volumes", "primary_ips"])
def test_a_full_quota_is_told(cloud: HetznerApi, node: Machines, kind: str) -> None:
    limits = dict(cloud.project.limits)
    with cloud.project.lock:
        cloud.project.limits = {**limits, kind: 0}
    with pytest.raises(StepError, match="the project's limit is reached") as caught:
        up(node(**FULL))
    assert "Limits" in caught.value.remedy
    assert "\n" not in str(caught.value)
    cloud.project.limits = limits
    up(node(**FULL))
    assert holds(cloud)["servers"] == [NAME]


# Killed


def process(cloud: HetznerApi, runtime: Path, verb: str) -> BaseProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.integration.hetzner_fixtures", "hcloud", "stamina"])
    made = context.Process(target=child, args=(cloud.endpoint, str(runtime), FULL, verb))
    made.start()
    return made


# Killed before a call had its effect, a run leaves what it leaves when it is killed after that of the one before.
@pytest.mark.parametrize("after", [pytest.param(False, marks=pytest.mark.soak), True])
@pytest.mark.parametrize("verb", ["up", "destroy"])
def test_killed_at_any_call_the_next_run_converges(tmp_path: Path, verb: str, after: bool) -> None:
    """At every single request that the verb makes, before and after it had its effect; the number is found by running.

    The process is killed while it waits for the answer, as by a power cut.
    """
    number, done = 0, False
    while not done:
        number += 1
        with HetznerApi(pace=0) as cloud:
            if verb == "destroy":
                up(machine_at(cloud.endpoint, tmp_path / "made", **FULL))
            fault = cloud.fault("hold", skip=number - 1, after=after, seconds=60)
            victim = process(cloud, tmp_path / "killed", verb)
            while victim.is_alive() and not fault.hits:
                victim.join(0.01)
            done = not fault.hits
            victim.kill()
            victim.join()
            assert not done or victim.exitcode == 0, f"{verb} did not survive the fault-free run"
            cloud.faults.remove()
            there = holds(cloud)
            assert all(len(names) <= 1 for names in there.values()), (number, there)
            machine = machine_at(cloud.endpoint, tmp_path / "killed", **FULL)
            if verb == "up":
                assert_found(cloud, machine)
                up(machine)
                assert holds(cloud) == {**WHOLE, "volumes": [NAME], "groups": ["members"]}, number
            machine.destroy(silent, NOTHING)
            assert holds(cloud) == NONE, number
    assert number > 10


def assert_found(cloud: HetznerApi, machine: HetznerMachine) -> None:
    """What a killed run left is in ``leftovers`` of another node, but for an address that goes with its server."""
    stranger = machine_at(cloud.endpoint, machine.node.runtime, name="other")
    found = {(one.kind, one.name) for one in stranger.leftovers(silent)}
    project = cloud.project
    with project.lock:
        there = {("server", row.name) for row in project.servers.values()}
        there |= {("volume", row.name) for row in project.volumes.values()}
        there |= {("firewall", row.name) for row in project.firewalls.values()}
        there |= {("ssh key", row.name) for row in project.ssh_keys.values()}
        there |= {("primary IP", row.name) for row in project.primary_ips.values() if not row.auto_delete}
        used = {row.placement_group for row in project.servers.values()}
        there |= {("placement group", row.name) for row in project.placement_groups.values() if row.id not in used}
    assert found == there
