"""A node, two build steps, a pod, the outside: network namespaces, with the firewall in the node's; real nft."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from binder_node.host import limits, on_node
from binder_node.host.firewall import whole
from binder_node.spec.model import Spec

NEEDS = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("nft"), reason="needs root and nft"),
]

# Each process of pytest-xdist has its own.
NODE, STEP, STEP2, POD, OUTSIDE = (f"fw{os.getpid()}-{name}" for name in ("node", "step", "step2", "pod", "out"))
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


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=10)


def within(namespace: str) -> list[str]:
    """What begins a command there. Not `ip netns exec`: its copy of the mounts would hold the disks of machines."""
    return ["nsenter", f"--net=/run/netns/{namespace}"]


def inside(namespace: str, *words: str, data: str = "") -> str:
    argv = [*within(namespace), *words]
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
    kept: Path  # of the table before, on a node in /run

    def ask(self, where: str, *asked: tuple[str, str, str, int]) -> list[tuple[str, float]]:
        answers = json.loads(inside(where, sys.executable, "-c", PROBE, data=json.dumps(asked)))
        return [(outcome, seconds) for outcome, seconds in answers]

    def tcp(self, where: str, target: str, *ports: int, source: str = "") -> dict[int, str]:
        found = self.ask(where, *(("tcp", source, target, port) for port in ports))
        refused = [seconds for outcome, seconds in found if outcome in ("ConnectionRefusedError", "NoRoute")]
        assert all(seconds < 0.5 for seconds in refused), "a refusal that takes its time"
        return {port: outcome for port, (outcome, _) in zip(ports, found, strict=True)}

    def load(self) -> None:
        """A table that remembers nothing."""
        self.kept.unlink(missing_ok=True)
        inside(NODE, "nft", "-f", str(self.rules))

    def replace(self) -> None:
        """As the unit does it: what sets hold is noted, then loaded with the new table."""
        inside(NODE, sys.executable, str(KEEP), str(self.kept), *limits.KEPT, limits.FETCHED)
        inside(NODE, "nft", "-f", str(self.rules))


KEEP = Path(on_node.__file__).parent / "keep.py"
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
    ip("-n", NODE, "link", "add", "cni0", "type", "bridge")
    ip("-n", NODE, "link", "set", "vpod", "master", "cni0")
    ip("-n", NODE, "address", "add", "10.42.0.1/24", "dev", "cni0")
    ip("-n", NODE, "link", "set", "cni0", "up")
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


@contextmanager
def made_world(folder: Path, spec: Spec) -> Iterator[World]:
    """The namespaces with all that answers in them, for the block; the rules in ``folder``."""
    rules, kept = folder / "firewall.nft", folder / "kept.nft"
    rules.write_text(whole(spec).replace(limits.KEPT_FILE, str(kept)))
    with ExitStack() as stack:
        make(stack)
        for name, ports in PORTS.items():
            argv = [*within(name), sys.executable, "-c", SERVE, *map(str, ports)]
            server = stack.enter_context(subprocess.Popen(argv, stdout=subprocess.PIPE, text=True))
            stack.callback(server.kill)
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
        made = World(spec, rules, kept)
        made.load()
        yield made
