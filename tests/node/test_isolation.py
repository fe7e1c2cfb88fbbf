"""What users' code must not reach, tried from inside a user's server and from inside a build's RUN step."""

from __future__ import annotations

import pytest

from binder_node.smoke.reach import Target, node_targets, probed, program
from tests.node.harness import Home, shared_node
from tests.unit.host_samples import sample_spec

pytestmark = pytest.mark.node

_, NETWORK = shared_node()
# Ports and networks are every node's.
TARGETS = node_targets(sample_spec(), f"{NETWORK}.20")
REACHABLE = Target("the world", f"{NETWORK}.10", 80)
PROBE = program([*TARGETS, REACHABLE])


@pytest.fixture(scope="module")
def from_a_server(home: Home, git: str) -> dict[str, str]:
    ran = home.launch(f"{git}/minimal.git", "--run", PROBE).ok()
    return probed(ran.last["data"]["output"])


@pytest.fixture(scope="module")
def from_a_build(home: Home) -> dict[str, str]:
    url = home.new_repository(
        "probe",
        {
            "probe.py": PROBE,
            "Dockerfile": "FROM docker.io/binder-node/base:1\nCOPY probe.py .\nRUN python3 probe.py\n",
        },
    )
    ran = home.launch(url).ok()
    log = "\n".join(str(event["data"].get("log", "")) for event in ran.events)
    return probed(log)


@pytest.mark.parametrize("what", [target.what for target in TARGETS])
def test_a_users_server_is_refused(from_a_server: dict[str, str], what: str) -> None:
    assert from_a_server[what] != "reached"


@pytest.mark.parametrize("what", [target.what for target in TARGETS])
def test_a_builds_step_is_refused(from_a_build: dict[str, str], what: str) -> None:
    assert from_a_build[what] != "reached"


def test_both_reach_the_world(from_a_server: dict[str, str], from_a_build: dict[str, str]) -> None:
    """Or the refusals above would prove nothing."""
    assert (from_a_server[REACHABLE.what], from_a_build[REACHABLE.what]) == ("reached", "reached")


def test_a_server_cannot_use_the_kubernetes_api(home: Home, git: str) -> None:
    """It holds no token either."""
    code = "import os; print(os.path.exists('/var/run/secrets/kubernetes.io'))"
    assert home.launch(f"{git}/minimal.git", "--run", code).ok().last["data"]["output"] == "False\n"
