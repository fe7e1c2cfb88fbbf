"""Scans from a user's server, from its network and from builds: cut within seconds, counted, and told with the
repository that they came from. Who installs and clones beside them is not cut."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.package_index import packages
from tests.node.harness import Home, Ran, shared_node

pytestmark = pytest.mark.node

_, NETWORK = shared_node()
WORLD = f"{NETWORK}.10"
INDEX_PORT, PACKAGES = 4001, 60
# Seconds within which a scan is cut.
LIMIT = 5
# Nobody has these addresses: the node's own neighbours are asked for them in vain, and no packet goes further.
SCANNED = f"{NETWORK}.%d"
# 200 targets a second until it is cut, which every tenth time is tried, and a second more.
SCAN = f"""
import json, socket, struct, sys, time

def target(number):
    return "{SCANNED}" % (30 + number % 200), (80, 443, 873, 9418)[number // 200 % 4]

held = []
def connect(number):
    one = socket.socket(); one.setblocking(False)
    one.connect_ex(target(number))
    held.append(one)  # or it would end its attempt

def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF

def raw():
    return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)

def syn(number):
    plug = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); plug.connect(("{WORLD}", 53))
    address, port = target(number)
    ends = socket.inet_aton(plug.getsockname()[0]) + socket.inet_aton(address)
    tcp = struct.pack("!HHIIBBHHH", 40000 + number, port, number, 0, 80, 2, 1024, 0, 0)
    total = checksum(ends + struct.pack("!BBH", 0, 6, len(tcp)) + tcp)
    tcp = tcp[:16] + struct.pack("!H", total) + tcp[18:]
    with raw() as out:
        out.sendto(struct.pack("!BBHHHBBH", 69, 0, 40, number, 0, 64, 6, 0) + ends + tcp, (address, 0))

def refused():
    try:
        socket.create_connection(("{WORLD}", 80), 3).close()
    except ConnectionRefusedError:
        return True
    return False

def scan(knock):
    begin, tried, cut = time.monotonic(), 0, None
    while time.monotonic() - begin < (cut["after"] + 1 if cut else 2 * {LIMIT}):
        knock(tried)
        tried += 1
        if not cut and tried % 10 == 0 and refused():
            cut = dict(after=time.monotonic() - begin, targets=tried)
        time.sleep(max(0, begin + tried / 200 - time.monotonic()))
    return dict(cut or dict(after=None, targets=None), tried=tried)

"""
BY_NAME = """
print("SCAN", json.dumps(scan({"syn": syn, "connect": connect}[sys.argv[1]])), flush=True)
time.sleep(2)  # a step tells who it is for as long as it runs
"""
IN_A_SERVER = """
try:
    raw()
    held_back = "no"
except OSError as error:
    held_back = type(error).__name__
print(json.dumps(dict(scan(connect), raw=held_back)))
"""
# The world's index has `uv` as well: it asks for all packages side by side, as pip itself does not.
INSTALL = f"""
import glob, os, subprocess, sys, time, urllib.request
begin, home = time.monotonic(), "/tmp/install"
os.makedirs(home)
urllib.request.urlretrieve("http://{WORLD}:{INDEX_PORT}/uv", home + "/uv")
os.chmod(home + "/uv", 0o755)
names = ["part-%d" % number for number in range({PACKAGES})]
index = ["--index-url", "http://{WORLD}:{INDEX_PORT}/simple", "--allow-insecure-host", "{WORLD}"]
place = ["--target", home + "/there", "--no-cache", "--no-config", "--python", sys.executable]
subprocess.run([home + "/uv", "pip", "install", "-q", *index, *place, *names], check=True)
subprocess.run(["git", "clone", "-q", "http://{WORLD}/minimal.git", home + "/cloned"], check=True)
print("INSTALLED", len(glob.glob(home + "/there/part_*.py")), os.path.isdir(home + "/cloned/.git"), flush=True)
"""
INSTALLED = f"INSTALLED {PACKAGES} True"
DOCKERFILE = "FROM docker.io/binder-node/base:1\nUSER root\nCOPY *.py ./\n{}\nUSER 1000\n"


def told(home: Home) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(home.run("abuse", "-o", "json").ok().out)
    return found


def cuts(home: Home, count: int, field: str, value: str, seconds: float = 10) -> list[dict[str, Any]]:
    """Cuts whose ``field`` is ``value``, once the node tells of ``count``."""
    deadline = time.monotonic() + seconds
    while True:
        found = [cut for cut in told(home)["cuts"] if cut[field] == value]
        if len(found) >= count or time.monotonic() > deadline:
            assert len(found) == count, found
            return found
        time.sleep(0.5)


def asked_for(home: Home, address: str, seconds: float = 30) -> list[dict[str, Any]]:
    """Who asked for an address, once the node remembers it: it writes down what the kernel has seen now and then."""
    deadline = time.monotonic() + seconds
    while True:
        found: dict[str, Any] = json.loads(home.run("explain", "--to", address, "-o", "json").ok().out)
        if found["suspects"] or time.monotonic() > deadline:
            assert found["suspects"], found
            return list(found["suspects"])
        time.sleep(1)


def pod_of(launched: Ran) -> str:
    return "jupyter-" + str(launched.last["data"]["url"]).split("/user/")[1].strip("/")


def was_cut(scan: dict[str, Any], cut: dict[str, Any]) -> None:
    """What the scan saw and what the node tells of it."""
    print(scan, cut["packets"], "refused")
    assert scan["after"] < LIMIT
    # 100 targets are met at once, three more each second; every tenth time it is looked whether it is over.
    assert 90 <= scan["targets"] <= 100 + 3 * LIMIT + 10
    assert cut["why"] == "too_many"
    assert cut["packets"] >= (scan["tried"] - scan["targets"]) * 0.9 > 50


def test_a_scan_from_a_users_server_is_cut_and_told_with_its_repository(home: Home, git: str) -> None:
    url = f"{git}/minimal.git"
    ran = home.launch(url, "--run", SCAN + IN_A_SERVER).ok()
    scan = json.loads(ran.last["data"]["output"])
    assert scan["raw"] == "PermissionError"  # a user sends no SYNs of his own making
    (cut,) = cuts(home, 1, "pod", pod_of(ran))
    was_cut(scan, cut)
    assert (cut["kind"], cut["repo"]) == ("session", url)
    # Of the 100 that were let out a provider may complain.
    suspects = asked_for(home, SCANNED % 30)
    assert (suspects[0]["repo"], suspects[0]["pod"]) == (url, cut["pod"])
    # The pod has gone; what became of it is still told.
    lines = json.loads(home.run("explain", cut["pod"], "-o", "json").ok().out)["timeline"]
    what = [line["what"] for line in lines]
    assert "CUT for a scan: too many new targets" in what
    assert any(text.startswith("Started:") for text in what)  # the kubelet's own event
    assert any(text.startswith("session: Running") for text in what)


@pytest.mark.soak
def test_a_syn_scan_from_a_servers_network_is_cut(home: Home, git: str) -> None:
    """By the node's root in the pod's network: a user who had found a way to raw sockets."""
    pod = pod_of(home.launch(f"{git}/minimal.git", "--keep").ok())
    address = home.ssh(f"k3s kubectl get pod -n binder {pod} -o jsonpath='{{.status.podIP}}'").strip()
    program = base64.b64encode((SCAN + BY_NAME).encode()).decode()
    find = f'for one in $(ip netns list | cut -d" " -f1); do ip -n $one address | grep -q " {address}/" && break; done'
    out = home.ssh(f"{find}; echo {program} | base64 -d | ip netns exec $one python3 - syn")
    (cut,) = cuts(home, 1, "pod", pod)
    was_cut(json.loads(out.removeprefix("SCAN ")), cut)
    assert (cut["kind"], cut["source"]) == ("session", address)
    home.ssh(f"k3s kubectl delete pod -n binder {pod} --wait=false")


def test_scans_from_a_build_are_cut_and_told_with_its_repository(home: Home) -> None:
    """Its root has raw sockets; each step has an address of its own."""
    runs = "\n".join(f"RUN python3 scan.py {kind}" for kind in ("syn", "connect"))
    url = home.new_repository("scanner", {"scan.py": SCAN + BY_NAME, "Dockerfile": DOCKERFILE.format(runs)})
    ran = home.launch(url).ok()
    log = [str(event["data"].get("log", "")) for event in ran.events]
    scans = [json.loads(line.partition("SCAN ")[2]) for line in log if "SCAN {" in line]
    found = cuts(home, 2, "repo", url)
    assert [cut["step"] for cut in found] == ["python3 scan.py syn", "python3 scan.py connect"]
    for scan, cut in zip(scans, found, strict=True):
        was_cut(scan, cut)
        assert cut["kind"] == "build"
    explained = json.loads(home.run("explain", "scanner.git", "-o", "json").ok().out)
    assert any("SCAN" in line for line in explained["logs"][found[0]["pod"]])  # of a pod that is gone


@pytest.fixture
def index(home: Home, git: str, tmp_path: Path) -> Iterator[Path]:
    """A package index in the world; its log, a line a connection."""
    assert git
    packages(tmp_path / "index", PACKAGES)
    # What stands in PATH may be a script that looks for it.
    named = subprocess.check_output(["uv", "run", "--no-project", "--no-config", "--", "printenv", "UV"], text=True)
    shutil.copy(named.strip(), tmp_path / "index/uv")
    serve = [sys.executable, "-u", "-m", "http.server", "--directory", str(tmp_path / "index"), str(INDEX_PORT)]
    enter = ["nsenter", f"--net=/run/netns/world-{home.name}"]
    log = tmp_path / "index.log"
    with log.open("wb") as out, subprocess.Popen([*enter, *serve], stdout=out, stderr=out) as server:
        try:
            deadline = time.monotonic() + 20
            while b"Serving HTTP" not in log.read_bytes():
                assert time.monotonic() < deadline, "the index does not start"
                time.sleep(0.1)
            yield log
        finally:
            server.terminate()


@pytest.mark.soak
def test_sixty_packages_side_by_side_and_a_clone_pass_uncut(home: Home, index: Path) -> None:
    before = told(home)["counted"]
    files = {"install.py": INSTALL, "Dockerfile": DOCKERFILE.format("RUN python3 install.py && rm -r /tmp/install")}
    url = home.new_repository("installer", files)
    ran = home.launch(url, "--run", INSTALL).ok()
    assert any(INSTALLED in str(event["data"].get("log", "")) for event in ran.events)
    assert ran.last["data"]["output"].strip() == INSTALLED
    connections = index.read_bytes().count(b'"GET ')
    print(connections, "connections to the index")
    assert connections >= 2 * 2 * PACKAGES  # from the build and from the server: its page and itself
    time.sleep(2)  # the node looks once a second
    after = told(home)
    assert [cut for cut in after["cuts"] if "installer" in cut["repo"]] == []
    for reason in ("too_many", "too_fast", "flood"):
        assert after["counted"].get(reason, 0) == before.get(reason, 0), reason


def test_what_the_node_counted_outlives_a_replacement_of_its_table(home: Home) -> None:
    before = told(home)
    assert before["counted"]["too_many"] > 300
    home.ssh("systemctl restart binder-node-firewall")
    after = told(home)
    assert after["counted"]["too_many"] >= before["counted"]["too_many"]
    live = {cut["source"] for cut in before["cuts"] if not cut["until"]}
    assert live
    assert live <= {cut["source"] for cut in after["cuts"] if not cut["until"]}
