"""A node at the stand-in for Hetzner Cloud: from nothing but a token to a launched kernel, and back to nothing."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import Any

import httpx
import pytest

from tests.node.harness import Home, world
from tests.testbed.hetzner.crowd import crowd
from tests.testbed.hetzner.nspawn import NspawnMachines
from tests.testbed.hetzner.server import HetznerApi

pytestmark = pytest.mark.node
NETWORK = IPv4Network("198.18.71.0/24")
NODE = "hetzner-1"
OTHERS = 4

# As large as this computer: what the machine really has is checked.
INVENTORY = """\
name: {name}
provider:
  kind: hetzner
  types: [ccx13]
  locations: [fsn1]
  endpoint: {endpoint}
  volume: 30G
  max_price: {price}
machine: {{cpus: 2, memory: 8G, disk: 30G}}
names: {{binder: {name}.test}}
tls: {{mode: none}}
storage: {{kind: node}}
registry:
  mirrors:
    docker.io: [http://{world}:5080]
    quay.io: [http://{world}:5080]
"""


class CloudHome(Home):
    """A home whose node stands at the stand-in."""

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "HCLOUD_TOKEN": (self.folder / "token").read_text()}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HetznerApi]:
    """The stand-in with machines, and other people's things in the project."""
    machines = NspawnMachines(NETWORK, tmp_path_factory.mktemp("cloud") / "machines")
    with HetznerApi(network=NETWORK, machines=machines) as made:
        crowd(made.project, OTHERS)
        world("up", "--network", str(NETWORK))
        try:
            yield made
        finally:
            world("down", "--network", str(NETWORK))


@pytest.fixture(scope="module")
def home(cloud: HetznerApi, tmp_path_factory: pytest.TempPathFactory) -> CloudHome:
    made = CloudHome(tmp_path_factory.mktemp("node"), NODE, "198.18.71")
    made.inventory.parent.mkdir()
    made.inventory.write_text(
        INVENTORY.format(name=NODE, endpoint=cloud.endpoint, price=20, world=f"{made.network}.10")
    )
    (made.folder / "token").write_text(cloud.token)
    return made


def project(cloud: HetznerApi) -> dict[str, Any]:
    """What there is, by kind, as other clients see it."""
    found: dict[str, Any] = httpx.get(cloud.admin).json()
    return {kind: names for kind, names in found.items() if kind not in ("faults", "violations")}


def added(before: dict[str, Any], after: dict[str, Any]) -> dict[str, list[str]]:
    """Names that are in ``after`` and were not in ``before``, by kind."""
    return {kind: sorted(set(names) - set(before[kind])) for kind, names in after.items()}


def test_from_a_token_to_a_kernel_and_back(cloud: HetznerApi, home: CloudHome) -> None:
    before = project(cloud)
    plan = home.run("plan").ok()
    assert "14.3" in plan.shown  # EUR a month: server 12.49, address 0.50, volume 1.32
    assert project(cloud) == before

    home.up().ok()
    again = home.up().ok()
    assert again.last["data"]["changes"] == 0
    launched = home.launch(f"{home.git}/minimal.git", "--run", "print(6 * 7)").ok()
    assert launched.last["data"]["output"] == "42\n"
    assert home.ssh("findmnt -no FSTYPE /var/lib/binder-node").strip() == "xfs"

    made = added(before, project(cloud))
    assert [len(made[kind]) for kind in ("servers", "volumes", "primary_ips", "firewalls")] == [1, 1, 1, 1]

    home.run("destroy", "--yes", NODE).ok()
    after = project(cloud)
    assert {kind for kind, names in added(before, after).items() if names} == {
        "volumes",
        "primary_ips",
    }  # they are kept
    assert not any(added(after, before).values())  # and nobody else's thing was touched
