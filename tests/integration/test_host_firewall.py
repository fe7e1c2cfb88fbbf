"""The firewall as packets see it: a node, a build step, a pod and the outside, each a network namespace; real nft."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import pytest

from tests.integration.firewall_world import (
    ADMIN,
    NEEDS,
    NODE,
    NODE_ADDRESS,
    OUTSIDE,
    POD,
    POD_ADDRESS,
    PORTS,
    PUBLIC,
    REFUSED,
    RESERVED,
    STEP,
    STEP2,
    STEP2_ADDRESS,
    STEP_ADDRESS,
    STRANGER,
    World,
    inside,
    ip,
    made_world,
)
from tests.unit.host_samples import sample_spec

pytestmark = NEEDS
PING = """
import socket, struct, sys
packet = struct.pack("!BBHHH", 8, 0, 0, 7, 7)
total = sum(struct.unpack("!4H", packet)); total = (total >> 16) + (total & 0xFFFF)
packet = struct.pack("!BBHHH", 8, 0, ~total & 0xFFFF, 7, 7)
client = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
client.settimeout(2)
client.sendto(packet, (sys.argv[1], 0))
answer = client.recv(256)[20:]
print(answer[0], answer[1], end="")
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    spec = sample_spec(
        ssh={"admin_networks": [f"{ADMIN}/32"]}, kubernetes={"api_from": [f"{ADMIN}/32"]}, abuse={"cut": 2}
    )
    with made_world(tmp_path_factory.mktemp("firewall"), spec) as made:
        yield made


def test_without_the_table_a_step_reaches_everything(world: World) -> None:
    """The walls below are the firewall's, not this test's."""
    inside(NODE, "nft", "delete", "table", "inet", "binder_node")
    try:
        assert world.tcp(STEP, "10.10.0.1", 22, 6443, 9000, 10250) == dict.fromkeys(
            (22, 6443, 9000, 10250), STEP_ADDRESS
        )
        assert world.tcp(STEP, POD_ADDRESS, 8080) == {8080: STEP_ADDRESS}
        assert world.tcp(STEP, STEP2_ADDRESS, 8080) == {8080: STEP_ADDRESS}
    finally:
        world.load()


@pytest.mark.parametrize("address", ["10.10.0.1", NODE_ADDRESS, "10.42.0.1", "10.43.0.1"])
def test_a_build_step_reaches_no_service_of_the_node(world: World, address: str) -> None:
    found = world.tcp(STEP, address, *PORTS[NODE], 5000, 31000)
    assert found == dict.fromkeys(found, REFUSED)
    assert world.ask(STEP, ("udp", "", address, 53))[0][0] in (REFUSED, "PermissionError", "NoRoute")


@pytest.mark.parametrize("address", [*RESERVED, POD_ADDRESS, STEP2_ADDRESS, "192.168.0.1", "224.0.0.1"])
def test_a_build_step_reaches_no_private_range_metadata_pod_or_other_step(world: World, address: str) -> None:
    found = world.tcp(STEP, address, 80, 443, 8080)
    assert found.keys() == {80, 443, 8080}
    assert not set(found.values()) & {STEP_ADDRESS, NODE_ADDRESS}
    if not address.startswith("224."):
        assert set(found.values()) == {REFUSED}


def test_a_build_step_reaches_the_internets_usual_ports_behind_the_nodes_address(world: World) -> None:
    found = world.tcp(STEP, PUBLIC, 80, 443, 873, 9418, 53)
    assert found == dict.fromkeys(found, NODE_ADDRESS)
    assert world.ask(STEP, ("udp", "", PUBLIC, 53))[0][0] == NODE_ADDRESS


def test_a_build_step_sends_no_mail_and_opens_no_ssh(world: World) -> None:
    found = world.tcp(STEP, PUBLIC, 22, 25, 8080, 12345)
    assert found == dict.fromkeys(found, REFUSED)


def test_nobody_calls_a_build_step(world: World) -> None:
    ip("-n", OUTSIDE, "route", "replace", "10.10.0.0/16", "via", NODE_ADDRESS)
    assert world.tcp(OUTSIDE, STEP_ADDRESS, 8080) == {8080: REFUSED}
    assert world.tcp(POD, STEP_ADDRESS, 8080) == {8080: REFUSED}


def test_a_scan_is_told_no_and_an_install_is_not(world: World) -> None:
    world.load()  # forgets what was counted
    busy = [("tcp", "", PUBLIC, 443)] * 400
    assert {outcome for outcome, _ in world.ask(STEP, *busy)} == {NODE_ADDRESS}
    scan = [("tcp", "", PUBLIC, 80)] * 4000
    outcomes = [outcome for outcome, _ in world.ask(STEP, *scan)]
    assert outcomes.count(REFUSED) > len(scan) / 2
    # The other step has its own allowance, and the first one gets on again when its time is over.
    assert world.tcp(STEP2, PUBLIC, 80) == {80: NODE_ADDRESS}
    time.sleep(2.5)
    assert world.tcp(STEP, PUBLIC, 80) == {80: NODE_ADDRESS}


def test_a_pod_reaches_the_api_the_registry_and_the_web_of_its_node_alone(world: World) -> None:
    found = world.tcp(POD, NODE_ADDRESS, 6443, 5001, 80)
    assert found == dict.fromkeys(found, POD_ADDRESS)
    found = world.tcp(POD, NODE_ADDRESS, 22, 9000, 10250, 12345, 5000)
    assert found == dict.fromkeys(found, REFUSED)
    assert world.tcp(POD, "10.43.0.1", 443) == {443: POD_ADDRESS}  # the API's Service


def test_a_pod_reaches_no_metadata_service(world: World) -> None:
    assert world.tcp(POD, "169.254.169.254", 80) == {80: REFUSED}


def test_outside_gets_the_web_and_nothing_else(world: World) -> None:
    assert world.tcp(OUTSIDE, NODE_ADDRESS, 80, 443, source=STRANGER) == {80: STRANGER, 443: STRANGER}
    found = world.tcp(OUTSIDE, NODE_ADDRESS, 22, 5001, 6443, 9000, 10250, 12345, 31000, source=STRANGER)
    assert found == dict.fromkeys(found, REFUSED)


def test_an_admin_gets_ssh_and_the_api_besides(world: World) -> None:
    assert world.tcp(OUTSIDE, NODE_ADDRESS, 22, 6443, source=ADMIN) == {22: ADMIN, 6443: ADMIN}
    found = world.tcp(OUTSIDE, NODE_ADDRESS, 5001, 9000, 10250, source=ADMIN)
    assert found == dict.fromkeys(found, REFUSED)


def test_outside_cannot_route_itself_to_a_pod(world: World) -> None:
    assert world.tcp(OUTSIDE, POD_ADDRESS, 80, 8080) == {80: REFUSED, 8080: REFUSED}


def test_the_node_answers_pings(world: World) -> None:
    del world
    assert inside(OUTSIDE, sys.executable, "-c", PING, NODE_ADDRESS) == "0 0"  # type and code of an echo reply


def test_the_node_itself_reaches_all(world: World) -> None:
    assert world.tcp(NODE, "127.0.0.1", 9000, 10250) == {9000: "127.0.0.1", 10250: "127.0.0.1"}
    assert world.tcp(NODE, PUBLIC, 25, 8080) == {25: NODE_ADDRESS, 8080: NODE_ADDRESS}
    assert world.tcp(NODE, POD_ADDRESS, 8080) == {8080: "10.42.0.1"}


def test_loading_again_replaces_our_table_and_no_other(world: World) -> None:
    def others() -> list[str]:
        return [line for line in inside(NODE, "nft", "list", "tables").splitlines() if "binder_node" not in line]

    before = others()
    world.load()
    world.load()
    assert others() == before
    assert inside(NODE, "nft", "list", "tables").count("binder_node") == 1
    assert world.tcp(STEP, NODE_ADDRESS, 22) == {22: REFUSED}
