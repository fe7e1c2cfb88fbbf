"""A scan from a user's server and one from a build: cut, counted, and told with the repository that they came from."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.node.harness import Home, shared_node

pytestmark = pytest.mark.node

_, NETWORK = shared_node()
WORLD = f"{NETWORK}.10"
# Nobody has these addresses: the node's own neighbours are asked for them in vain, and no packet goes further.
SCANNED = f"{NETWORK}.%d"
# A user has no raw sockets: connections that are not waited for, 200 a second. Prints what the world says after 4 s.
CONNECT_SCAN = f"""
import json, socket, time
begin, held = time.monotonic(), []
while time.monotonic() - begin < 4:
    one = socket.socket(); one.setblocking(False)
    number = len(held)
    one.connect_ex(("{SCANNED}" % (30 + number % 200), (80, 443, 873)[number // 200 % 3]))
    held.append(one)
    time.sleep(max(0, begin + len(held) / 200 - time.monotonic()))
try:
    socket.create_connection(("{WORLD}", 80), 3)
    after = "reached"
except OSError as error:
    after = type(error).__name__
print(json.dumps(dict(tried=len(held), after=after)))
"""
# A build step is root: SYNs without a connection behind them.
SYN_SCAN = f"""
import json, socket, struct, time
def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
plug = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); plug.connect(("{WORLD}", 53))
source = socket.inet_aton(plug.getsockname()[0])
raw, begin, sent = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW), time.monotonic(), 0
while time.monotonic() - begin < 4:
    target = "{SCANNED}" % (30 + sent % 200)
    ends = source + socket.inet_aton(target)
    tcp = struct.pack("!HHIIBBHHH", 40000 + sent, (80, 443, 873, 9418)[sent // 200 % 4], sent, 0, 80, 2, 1024, 0, 0)
    total = checksum(ends + struct.pack("!BBH", 0, 6, len(tcp)) + tcp)
    tcp = tcp[:16] + struct.pack("!H", total) + tcp[18:]
    raw.sendto(struct.pack("!BBHHHBBH", 69, 0, 40, sent, 0, 64, 6, 0) + ends + tcp, (target, 0))
    sent += 1
    time.sleep(max(0, begin + sent / 200 - time.monotonic()))
try:
    socket.create_connection(("{WORLD}", 80), 3)
    after = "reached"
except OSError as error:
    after = type(error).__name__
print("SCAN", json.dumps(dict(tried=sent, after=after)), flush=True)
time.sleep(2)
"""


def cuts(home: Home, repo: str, seconds: float = 10) -> list[dict[str, Any]]:
    """Cuts of ``repo`` that the node tells, within ``seconds`` of its telling."""
    deadline = time.monotonic() + seconds
    while True:
        told = json.loads(home.run("abuse", "-o", "json").ok().out)["cuts"]
        found = [cut for cut in told if cut["repo"] == repo]
        if found or time.monotonic() > deadline:
            return found
        time.sleep(1)


def test_a_scan_from_a_users_server_is_cut_and_told_with_its_repository(home: Home, git: str) -> None:
    url = f"{git}/minimal.git"
    ran = home.launch(url, "--run", CONNECT_SCAN).ok()
    assert json.loads(ran.last["data"]["output"])["after"] == "ConnectionRefusedError"
    (cut,) = cuts(home, url)
    assert (cut["kind"], cut["why"], cut["pod"][:8]) == ("session", "too_many", "jupyter-")
    assert cut["packets"] > 300
    # Of the 100 that were let out a provider may complain.
    to = SCANNED % 30
    told = json.loads(home.run("explain", "--to", to, "-o", "json").ok().out)["suspects"]
    assert (told[0]["repo"], told[0]["pod"]) == (url, cut["pod"])
    # The pod has gone; what became of it is still told.
    lines = json.loads(home.run("explain", cut["pod"], "-o", "json").ok().out)["timeline"]
    what = [line["what"] for line in lines]
    assert "CUT for a scan: too many new targets" in what
    assert any(text.startswith("Started:") for text in what)  # the kubelet's own event
    assert any(text.startswith("session: Running") for text in what)


def test_a_scan_from_a_build_is_cut_and_told_with_its_repository(home: Home) -> None:
    url = home.new_repository(
        "scanner",
        {
            "scan.py": SYN_SCAN,
            "Dockerfile": "FROM docker.io/binder-node/base:1\nCOPY scan.py .\nRUN python3 scan.py\n",
        },
    )
    ran = home.launch(url).ok()
    log = "\n".join(str(event["data"].get("log", "")) for event in ran.events)
    assert '"after": "ConnectionRefusedError"' in log
    (cut,) = cuts(home, url)
    assert (cut["kind"], cut["why"], cut["step"]) == ("build", "too_many", "python3 scan.py")
    assert cut["packets"] > 300
    explained = json.loads(home.run("explain", "scanner.git", "-o", "json").ok().out)
    assert any("SCAN" in line for line in explained["logs"][cut["pod"]])  # of a pod that is gone


def test_what_the_node_counted_outlives_a_replacement_of_its_table(home: Home) -> None:
    before = json.loads(home.run("abuse", "-o", "json").ok().out)
    assert before["counted"]["too_many"] > 600
    home.ssh("systemctl restart binder-node-firewall")
    after = json.loads(home.run("abuse", "-o", "json").ok().out)
    assert after["counted"]["too_many"] >= before["counted"]["too_many"]
    live = {cut["source"] for cut in before["cuts"] if not cut["until"]}
    assert live
    assert live <= {cut["source"] for cut in after["cuts"] if not cut["until"]}
