"""The firewall as packets see it: a node, a build step, a pod and the outside, each a network namespace; real nft."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from binder_node.host.firewall import table
from binder_node.spec.model import Spec
from tests.unit.host_samples import sample_spec

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("nft"), reason="needs root and nft"),
]

NODE, STEP, STEP2, POD, OUTSIDE = "h7fw-node", "h7fw-step", "h7fw-step2", "h7fw-pod", "h7fw-out"
NODE_ADDRESS, POD_ADDRESS, STEP_ADDRESS, STEP2_ADDRESS = "198.18.77.20", "10.42.0.5", "10.10.0.5", "10.10.0.6"
# What the outside answers as: a public host, an admin, and all that a build has no business with.
PUBLIC, ADMIN, STRANGER = "198.18.77.1", "198.18.77.2", "198.18.77.3"
RESERVED = ("192.168.55.1", "172.20.0.1", "10.99.0.1", "169.254.169.254", "100.64.0.1")
PORTS = {
    NODE: (22, 80, 443, 5001, 6443, 9000, 10250, 12345),
    OUTSIDE: (22, 25, 53, 80, 443, 873, 9418, 8080, 12345),
    POD: (80, 8080),
    STEP: (8080,),
    STEP2: (8080,),
}
SERVE = """
import selectors, socket, sys
ports, chooser = [int(p) for p in sys.argv[1:]], selectors.DefaultSelector()
for port in ports:
    server = socket.create_server(("0.0.0.0", port), backlog=4096)
    chooser.register(server, selectors.EVENT_READ)
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind(("0.0.0.0", 53))
chooser.register(udp, selectors.EVENT_READ)
print("ready", flush=True)
while True:
    for key, _ in chooser.select():
        if key.fileobj is udp:
            data, peer = udp.recvfrom(64); udp.sendto(peer[0].encode(), peer)
        else:
            connection, peer = key.fileobj.accept(); connection.sendall(peer[0].encode()); connection.close()
"""
# Reads [[protocol, from, to, port], ...]; answers [outcome, seconds] each: the address seen, or the refusal.
PROBE = """
import json, socket, sys, time
answers = []
for protocol, source, target, port in json.load(sys.stdin):
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    client, began = socket.socket(socket.AF_INET, kind), time.monotonic()
    client.settimeout(1.5)
    try:
        if source:
            client.bind((source, 0))
        client.connect((target, port))
        if protocol == "udp":
            client.send(b"?")
        outcome = client.recv(64).decode()
    except OSError as error:
        outcome = type(error).__name__ if error.errno != 113 else "NoRoute"
    answers.append([outcome, time.monotonic() - began])
    client.close()
json.dump(answers, sys.stdout)
"""
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


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=10)


def inside(namespace: str, *words: str, data: str = "") -> str:
    argv = ["ip", "netns", "exec", namespace, *words]
    done = subprocess.run(argv, input=data, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


def pair(one: str, one_name: str, other: str, other_name: str) -> None:
    ip("link", "add", one_name, "netns", one, "type", "veth", "peer", "name", other_name, "netns", other)
    for namespace, name in ((one, one_name), (other, other_name)):
        ip("-n", namespace, "link", "set", name, "up")


@dataclass(frozen=True)
class World:
    """The namespaces, with the firewall of ``spec`` in the node's."""

    spec: Spec
    rules: Path

    def ask(self, where: str, *asked: tuple[str, str, str, int]) -> list[tuple[str, float]]:
        answers = json.loads(inside(where, sys.executable, "-c", PROBE, data=json.dumps(asked)))
        return [(outcome, seconds) for outcome, seconds in answers]

    def tcp(self, where: str, target: str, *ports: int, source: str = "") -> dict[int, str]:
        found = self.ask(where, *(("tcp", source, target, port) for port in ports))
        refused = [seconds for outcome, seconds in found if outcome in ("ConnectionRefusedError", "NoRoute")]
        assert all(seconds < 0.5 for seconds in refused), "a refusal that takes its time"
        return {port: outcome for port, (outcome, _) in zip(ports, found, strict=True)}

    def load(self) -> None:
        inside(NODE, "nft", "-f", str(self.rules))


REFUSED = "ConnectionRefusedError"


def make(stack: ExitStack) -> None:
    for name in (NODE, STEP, STEP2, POD, OUTSIDE):
        ip("netns", "add", name)
        stack.callback(ip, "netns", "delete", name)
        ip("-n", name, "link", "set", "lo", "up")
    pair(NODE, "eth0", OUTSIDE, "eth0")
    ip("-n", NODE, "address", "add", f"{NODE_ADDRESS}/24", "dev", "eth0")
    ip("-n", NODE, "route", "add", "default", "via", PUBLIC)
    for address in (f"{PUBLIC}/24", f"{ADMIN}/24", f"{STRANGER}/24", *(f"{address}/32" for address in RESERVED)):
        ip("-n", OUTSIDE, "address", "add", address, "dev", "eth0")
    # Somebody on the same wire may route what he likes to the node.
    ip("-n", OUTSIDE, "route", "add", "10.42.0.0/16", "via", NODE_ADDRESS)
    ip("-n", NODE, "link", "add", "buildkit0", "type", "bridge")
    ip("-n", NODE, "address", "add", "10.10.0.1/16", "dev", "buildkit0")
    ip("-n", NODE, "link", "set", "buildkit0", "up")
    for name, address, port in ((STEP, STEP_ADDRESS, "vstep"), (STEP2, STEP2_ADDRESS, "vstep2")):
        pair(NODE, port, name, "eth0")
        ip("-n", NODE, "link", "set", port, "master", "buildkit0")
        ip("-n", name, "address", "add", f"{address}/16", "dev", "eth0")
        ip("-n", name, "route", "add", "default", "via", "10.10.0.1")
    pair(NODE, "vpod", POD, "eth0")
    ip("-n", NODE, "address", "add", "10.42.0.1/24", "dev", "vpod")
    ip("-n", POD, "address", "add", f"{POD_ADDRESS}/24", "dev", "eth0")
    ip("-n", POD, "route", "add", "default", "via", "10.42.0.1")
    for key in ("ip_forward", "conf/all/route_localnet"):
        inside(NODE, "sh", "-c", f"echo 1 > /proc/sys/net/ipv4/{key}")
    inside(NODE, "sh", "-c", "echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables")
    # In kube-proxy's place: ingress on 80, a NodePort, and a table that is none of ours.
    inside(NODE, "nft", "-f", "-", data=(
        "table ip kube_proxy { chain pre { type nat hook prerouting priority dstnat;\n"
        f"tcp dport 443 ip daddr {NODE_ADDRESS} dnat to {POD_ADDRESS}:8080\n"
        f"tcp dport 31000 dnat to {POD_ADDRESS}:8080\n"
        f"ip daddr 10.43.0.1 tcp dport 443 dnat to {NODE_ADDRESS}:6443\n}}\n}}\n"
    ))  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    spec = sample_spec(ssh={"admin_networks": [f"{ADMIN}/32"]}, kubernetes={"api_from": [f"{ADMIN}/32"]})
    rules = tmp_path_factory.mktemp("firewall") / "firewall.nft"
    rules.write_text(table(spec))
    with ExitStack() as stack:
        make(stack)
        for name, ports in PORTS.items():
            argv = ["ip", "netns", "exec", name, sys.executable, "-c", SERVE, *map(str, ports)]
            server = stack.enter_context(subprocess.Popen(argv, stdout=subprocess.PIPE, text=True))
            stack.callback(server.kill)
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
        made = World(spec, rules)
        made.load()
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
    # The other step has its own allowance, and the first one gets on again.
    assert world.tcp(STEP2, PUBLIC, 80) == {80: NODE_ADDRESS}
    time.sleep(1)
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
