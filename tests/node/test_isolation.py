"""What users' code must not reach, tried from inside a user's server and from inside a build's RUN step."""

from __future__ import annotations

import json

import pytest

from tests.node.conftest import WORLD
from tests.node.harness import Home

pytestmark = pytest.mark.node

NODE = f"{WORLD}.20"
# (what it is, address, port). Each is tried at every address under which the node could answer.
SERVICES = {
    "registry, push rights": 5000,
    "registry, pull": 5001,
    "MinIO": 9000,
    "kubelet": 10250,
    "API": 6443,
    "ssh": 22,
}
ADDRESSES = {"node": NODE, "pod gateway": "10.42.0.1", "build gateway": "10.10.0.1"}
TARGETS = [
    (f"{what} at the {where}", address, port) for what, port in SERVICES.items() for where, address in ADDRESSES.items()
]
TARGETS += [
    ("API's service", "10.43.0.1", 443),
    ("metadata", "169.254.169.254", 80),
    ("kubelet, read only", NODE, 10255),
    ("containerd's metrics", NODE, 1338),
]
REACHABLE = ("the world", f"{WORLD}.10", 80)

TRY = """
import json, socket
found = {}
for what, address, port in json.loads(%r):
    with socket.socket() as knock:
        knock.settimeout(3)
        try:
            knock.connect((address, port))
            found[what] = "reached"
        except OSError as error:
            found[what] = type(error).__name__
print("PROBED " + json.dumps(found))
"""


def program() -> str:
    return TRY % json.dumps([*TARGETS, REACHABLE])


def probed(text: str) -> dict[str, str]:
    line = next(line for line in text.splitlines() if "PROBED {" in line)
    found: dict[str, str] = json.JSONDecoder().raw_decode(line, line.index("{"))[0]
    return found


@pytest.fixture(scope="module")
def from_a_server(home: Home, git: str) -> dict[str, str]:
    ran = home.launch(f"{git}/minimal.git", "--run", program()).ok()
    return probed(ran.last["data"]["output"])


@pytest.fixture(scope="module")
def from_a_build(home: Home) -> dict[str, str]:
    url = home.new_repository(
        "probe",
        {
            "probe.py": program(),
            "Dockerfile": "FROM docker.io/binder-node/base:1\nCOPY probe.py .\nRUN python3 probe.py\n",
        },
    )
    ran = home.launch(url).ok()
    log = "".join(str(event["data"].get("log", "")) for event in ran.events)
    return probed(log)


@pytest.mark.parametrize("what", [what for what, _, _ in TARGETS])
def test_a_users_server_is_refused(from_a_server: dict[str, str], what: str) -> None:
    assert from_a_server[what] != "reached"


@pytest.mark.parametrize("what", [what for what, _, _ in TARGETS])
def test_a_builds_step_is_refused(from_a_build: dict[str, str], what: str) -> None:
    assert from_a_build[what] != "reached"


def test_both_reach_the_world(from_a_server: dict[str, str], from_a_build: dict[str, str]) -> None:
    """Or the refusals above would prove nothing."""
    assert (from_a_server[REACHABLE[0]], from_a_build[REACHABLE[0]]) == ("reached", "reached")


def test_a_server_cannot_use_the_kubernetes_api(home: Home, git: str) -> None:
    """It holds no token either."""
    code = "import os; print(os.path.exists('/var/run/secrets/kubernetes.io'))"
    assert home.launch(f"{git}/minimal.git", "--run", code).ok().last["data"]["output"] == "False\n"
