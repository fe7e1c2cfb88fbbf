"""Scans from a pod and from a build, and what looks like one and is not: real packets through the node's own rules."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from binder_node.host import limits
from tests.integration.firewall_world import (
    NEEDS,
    NODE,
    NODE_ADDRESS,
    OUTSIDE,
    POD,
    POD_ADDRESS,
    PUBLIC,
    REFUSED,
    STEP,
    STEP2,
    STEP_ADDRESS,
    STRANGER,
    World,
    inside,
    ip,
    made_world,
    within,
)
from tests.integration.package_index import packages
from tests.unit.host_samples import sample_spec

pytestmark = NEEDS

SOURCES = {POD: POD_ADDRESS, STEP: STEP_ADDRESS}
CUT = 4
BAD = "198.18.77.66"
# Scans go to 11.0.0.0/16: nobody lives there, and no packet leaves the outside's namespace.
SYN_SCAN = """
import socket, struct, sys, time
source, rate, seconds, port = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
many = source.endswith(".")  # the network's first half: another source for each packet
def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
begin = time.monotonic()
sent = 0
while time.monotonic() - begin < seconds:
    target = "11.0.%d.%d" % (sent // 250 % 250, sent % 250 + 1)
    mine = "%s%d.%d" % (source, sent // 250 % 250, sent % 250 + 2) if many else source
    addresses = socket.inet_aton(mine) + socket.inet_aton(target)
    tcp = struct.pack("!HHIIBBHHH", 40000 + sent % 20000, port, sent, 0, 5 << 4, 2, 1024, 0, 0)
    total = checksum(addresses + struct.pack("!BBH", 0, 6, len(tcp)) + tcp)
    tcp = tcp[:16] + struct.pack("!H", total) + tcp[18:]
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, sent % 65536, 0, 64, 6, 0, addresses[:4], addresses[4:])
    try:
        raw.sendto(header + tcp, (target, 0))
    except OSError:
        pass
    sent += 1
    time.sleep(max(0, begin + sent / rate - time.monotonic()))
print(sent, end="")
"""
CONNECT_SCAN = """
import socket, sys, time
rate, seconds, port = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
begin, held = time.monotonic(), []
while time.monotonic() - begin < seconds:
    one = socket.socket(); one.setblocking(False)
    one.connect_ex(("11.0.%d.%d" % (len(held) // 250 % 250, len(held) % 250 + 1), port))
    held.append(one)
    if len(held) > 400:
        held[len(held) - 401].close()
    time.sleep(max(0, begin + len(held) / rate - time.monotonic()))
print(len(held), end="")
"""
# Counts the SYNs that came out of the node, and when: the provider's view.
SNIFF = """
import select, socket, sys, time
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
print("ready", flush=True)
times = []
while True:
    ready, _, _ = select.select([raw, sys.stdin], [], [])
    if raw in ready:
        data = raw.recv(2048)
        if data[30:32] == bytes((11, 0)) and data[23] == 6 and data[47] & 0x12 == 2:  # behind an Ethernet header
            times.append(time.monotonic())
    else:
        break
print(len(times), times[-1] - times[0] if times else 0)
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    spec = sample_spec(abuse={"cut": CUT, "banned": [f"{BAD}/32", f"{STRANGER}/32"]})
    with made_world(tmp_path_factory.mktemp("limits"), spec) as made:
        ip("-n", OUTSIDE, "address", "add", f"{BAD}/24", "dev", "eth0")
        ip("-n", NODE, "route", "add", "11.0.0.0/8", "via", PUBLIC)
        yield made


@pytest.fixture(autouse=True)
def _fresh(world: World) -> None:
    """Each test begins with a table that remembers nothing."""
    world.load()


@contextmanager
def sniffed(found: list[tuple[int, float]]) -> Iterator[None]:
    """Puts the number of SYNs that left for the scanned network, and the seconds from the first to the last."""
    argv = [*within(OUTSIDE), sys.executable, "-c", SNIFF]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as sniffer:
        assert sniffer.stdout is not None
        assert sniffer.stdout.readline() == "ready\n"
        yield
        time.sleep(0.3)
        out, _ = sniffer.communicate("\n", timeout=10)
        count, seconds = out.split()
        found.append((int(count), float(seconds)))


def elements(name: str) -> dict[str, int]:
    """What a set of the table holds: source (and target), packets."""
    found = json.loads(inside(NODE, "nft", "-j", "list", "set", "inet", "binder_node", name))["nftables"][1]["set"]
    told = {}
    for item in found.get("elem", []):
        about = item["elem"]
        key = about["val"]
        text = key if isinstance(key, str) else ":".join(map(str, key["concat"]))
        told[text] = about.get("counter", {"packets": 0})["packets"]
    return told


def counter(name: str) -> int:
    found = json.loads(inside(NODE, "nft", "-j", "list", "counter", "inet", "binder_node", name))
    return int(found["nftables"][1]["counter"]["packets"])


@pytest.mark.parametrize("where", [POD, STEP], ids=["pod", "build"])
@pytest.mark.parametrize("rate", [30, 1000])
def test_a_syn_scan_is_cut_within_five_seconds_and_counted(world: World, where: str, rate: int) -> None:
    seen: list[tuple[int, float]] = []
    with sniffed(seen):
        sent = int(inside(where, sys.executable, "-c", SYN_SCAN, SOURCES[where], str(rate), "4.5", "443"))
    left, seconds = seen[0]
    allowed = world.spec.abuse.targets + world.spec.abuse.targets_rate * 5
    assert sent > allowed + 10  # or nothing was to be cut
    assert world.spec.abuse.targets * 0.9 <= left <= allowed
    assert seconds < 5
    assert elements("too_many")[SOURCES[where]] >= 1
    assert counter("too_many") + counter("too_fast") >= (sent - left) * 0.9


@pytest.mark.parametrize("where", [POD, STEP], ids=["pod", "build"])
def test_a_connect_scan_is_cut_within_five_seconds_and_the_source_gets_on_again(world: World, where: str) -> None:
    seen: list[tuple[int, float]] = []
    other = STEP if where == POD else POD
    with sniffed(seen):
        sent = int(inside(where, sys.executable, "-c", CONNECT_SCAN, "200", "2", "80"))
        assert set(world.tcp(where, PUBLIC, 80, 443).values()) == {REFUSED}
        assert world.tcp(other, PUBLIC, 80) == {80: NODE_ADDRESS if other == STEP else POD_ADDRESS}
    left, seconds = seen[0]
    # Retransmissions of what was let out are let out too: each second once.
    assert sent > 350
    assert len([target for target in elements("met") if target.startswith(SOURCES[where])]) <= 110
    assert left < 250
    assert seconds < 5
    time.sleep(CUT)
    assert set(world.tcp(where, PUBLIC, 80).values()) & {NODE_ADDRESS, POD_ADDRESS}


def test_a_scan_of_closed_ports_of_one_host_is_cut_too(world: World) -> None:
    found = world.tcp(POD, PUBLIC, *range(10000, 10200))
    assert set(found.values()) == {REFUSED}  # nobody listens there: that it was cut is seen in the sets
    assert elements("too_many")[POD_ADDRESS] >= 50
    assert world.tcp(POD, PUBLIC, 443) == {443: REFUSED}


@pytest.mark.parametrize("where", [POD, STEP], ids=["pod", "build"])
def test_a_flood_of_one_target_is_cut(world: World, where: str) -> None:
    outcomes = [outcome for outcome, _ in world.ask(where, *[("tcp", "", PUBLIC, 80)] * 3000)]
    assert outcomes.count(REFUSED) > 2000
    assert set(elements("too_fast")) == {SOURCES[where]}
    assert elements("too_many") == {}


def test_a_scan_takes_nothing_away_from_other_builds(world: World) -> None:
    argv = [*within(STEP), sys.executable, "-c", SYN_SCAN, STEP_ADDRESS, "2000", "4", "443"]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as scan:
        time.sleep(2)
        outcomes = {outcome for outcome, _ in world.ask(STEP2, *[("tcp", "", PUBLIC, 80)] * 100)}
        assert scan.poll() is None
        scan.terminate()
    assert outcomes == {NODE_ADDRESS}


def test_a_build_that_takes_many_addresses_is_held_back_by_what_all_have(world: World) -> None:
    del world
    seen: list[tuple[int, float]] = []
    with sniffed(seen):
        sent = int(inside(STEP, sys.executable, "-c", SYN_SCAN, "10.10.", "3000", "2", "443"))
    assert sent > 5000
    assert seen[0][0] <= limits.FLOOD_BURST + limits.FLOOD_RATE * 3
    assert counter("flood") > 0


def test_a_pod_sends_nothing_by_an_address_from_elsewhere(world: World) -> None:
    del world
    seen: list[tuple[int, float]] = []
    with sniffed(seen):
        inside(POD, sys.executable, "-c", SYN_SCAN, "198.51.100.9", "200", "1", "443")
    assert seen[0][0] == 0
    assert counter("false_source") >= 190


@contextmanager
def outside(*argv: str, port: int) -> Iterator[None]:
    """A server in the outside's namespace, answering on ``port``."""
    with subprocess.Popen([*within(OUTSIDE), *argv], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 20
            ask = f"import socket; socket.create_connection(('{PUBLIC}', {port}), 1)"
            knock = [*within(OUTSIDE), sys.executable, "-c", ask]
            while subprocess.run(knock, capture_output=True, timeout=5, check=False).returncode:
                assert time.monotonic() < deadline, f"nothing answers on port {port}"
                time.sleep(0.1)
            yield
        finally:
            process.terminate()


@pytest.mark.parametrize("where", [POD, STEP], ids=["pod", "build"])
def test_sixty_packages_side_by_side_and_a_clone_pass_uncut(world: World, where: str, tmp_path: Path) -> None:
    uv, git = shutil.which("uv"), shutil.which("git")
    assert uv is not None
    assert git is not None
    names = packages(tmp_path / "index", 60)
    work, bare = tmp_path / "work", tmp_path / "served" / "work.git"
    (work / "data").mkdir(parents=True)
    for number in range(50):
        (work / "data" / f"{number}.txt").write_text(f"{number}\n" * 2000)
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    for argv in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "data"]):
        subprocess.run([git, *argv], cwd=work, check=True, capture_output=True, timeout=30)
    subprocess.run([git, "clone", "-q", "--bare", str(work), str(bare)], check=True, capture_output=True, timeout=30)
    serve = [sys.executable, "-m", "http.server", "--directory", str(tmp_path / "index"), "4001"]
    daemon = [git, "daemon", "--export-all", f"--base-path={tmp_path / 'served'}", "--port=1094", "--reuseaddr"]
    with outside(*serve, port=4001), outside(*daemon, port=1094):
        index = ["--index-url", f"http://{PUBLIC}:4001/simple", "--allow-insecure-host", PUBLIC]
        place = ["--target", str(tmp_path / "installed"), "--no-cache", "--no-config", "--python", sys.executable]
        inside(where, uv, "pip", "install", "-q", *index, *place, *names)
        inside(where, git, "clone", "-q", f"git://{PUBLIC}:1094/work.git", str(tmp_path / "cloned"))
    assert len(list((tmp_path / "installed").glob("part_*.py"))) == 60
    assert (tmp_path / "cloned" / "data" / "49.txt").exists()
    assert elements("too_many") == elements("too_fast") == {}
    assert counter("too_many") == counter("too_fast") == 0
    assert world.tcp(where, PUBLIC, 443)[443] != REFUSED


def test_a_pod_sends_no_mail_and_is_remembered_for_trying(world: World) -> None:
    assert world.tcp(POD, PUBLIC, 25) == {25: REFUSED}
    assert elements("mailers") == {f"{POD_ADDRESS}:{PUBLIC}:25": 1}


def test_a_banned_address_is_not_reached_and_reaches_nothing(world: World) -> None:
    for where in (POD, STEP):
        assert world.tcp(where, BAD, 80) == {80: REFUSED}
    assert set(elements("asked_banned")) == {f"{source}:{BAD}:80" for source in SOURCES.values()}
    assert world.tcp(OUTSIDE, NODE_ADDRESS, 80, 443, source=STRANGER) == {80: REFUSED, 443: REFUSED}
    assert world.tcp(OUTSIDE, NODE_ADDRESS, 80, source=PUBLIC) == {80: PUBLIC}


UPLOAD = """
import socket, sys, time
one, data, begin, sent = socket.create_connection((sys.argv[1], 4001)), bytes(65536), time.monotonic(), 0
one.settimeout(1)
while time.monotonic() - begin < float(sys.argv[2]):
    try:
        sent += one.send(data)
    except TimeoutError:
        pass
print(sent, end="")
"""
SINK = """
import socket, threading
server = socket.create_server(("0.0.0.0", 4001))
def read(one):
    while one.recv(1 << 16): pass
while True:
    threading.Thread(target=read, args=(server.accept()[0],), daemon=True).start()
"""


def test_a_pod_uploads_no_faster_than_it_may(world: World) -> None:
    limit = int(world.spec.abuse.upload or 0)
    with outside(sys.executable, "-c", SINK, port=4001):
        sent = int(inside(POD, sys.executable, "-c", UPLOAD, PUBLIC, "5"))
        free = int(inside(NODE, sys.executable, "-c", UPLOAD, PUBLIC, "1"))
    window = 3_000_000  # of the sender: not sent yet
    assert limit * limits.UPLOAD_SECONDS * 0.5 < sent < limit * (limits.UPLOAD_SECONDS + 6) + window
    assert free > 10 * sent
    assert counter("upload") > 0


def test_who_is_cut_stays_cut_when_the_table_is_replaced(world: World) -> None:
    inside(POD, sys.executable, "-c", CONNECT_SCAN, "400", "1", "80")
    world.tcp(POD, PUBLIC, 25)
    before = {name: elements(name) for name in ("too_many", "met")}
    assert before["too_many"]
    world.replace()
    assert {name: elements(name) for name in ("too_many", "met")} == before
    assert world.tcp(POD, PUBLIC, 80) == {80: REFUSED}
    time.sleep(CUT)
    assert world.tcp(POD, PUBLIC, 80) == {80: POD_ADDRESS}
