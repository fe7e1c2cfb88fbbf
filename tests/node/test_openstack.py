"""A node at the stand-in of OpenStack's APIs: from nothing but a password to a launched kernel, and back to nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import IPv4Network

import pytest

from tests.integration.openstack_fixtures import crowd, environment, snapshot
from tests.node.harness import Home, world
from tests.testbed.hetzner.nspawn import NspawnMachines
from tests.testbed.openstack.server import Server
from tests.testbed.openstack.state import State, region

# The node that comes of it is the same as at every other provider: see test_hetzner.py for one in each run.
pytestmark = [pytest.mark.node, pytest.mark.soak]
NETWORK = IPv4Network("198.18.72.0/24")
NODE = "openstack-1"

# As large as this computer: what the machine really has is checked.
INVENTORY = """\
name: {name}
provider:
  kind: openstack
  regions: [GRA11]
  flavors: [b3-8]
  prices: {{b3-8: 14}}
  volume: 30G
machine: {{cpus: 2, memory: 8G, disk: 30G}}
cost: {{volume: 0.04}}
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
        return {**super().environment, **json.loads((self.folder / "openrc.json").read_text())}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The stand-in with machines, and other people's things in the project."""
    state = State(regions={"GRA11": region("GRA11", str(NETWORK))})
    machines = NspawnMachines(NETWORK, tmp_path_factory.mktemp("cloud") / "machines", state.disk_names)
    state.machines = machines
    made = Server(state)
    made.start()
    crowd(made, 3)
    world("up", "--network", str(NETWORK))
    try:
        yield made
    finally:
        world("down", "--network", str(NETWORK))
        made.stop()
        machines.close()


@pytest.fixture(scope="module")
def home(cloud: Server, tmp_path_factory: pytest.TempPathFactory) -> CloudHome:
    made = CloudHome(tmp_path_factory.mktemp("node"), NODE, "198.18.72")
    made.inventory.parent.mkdir()
    made.inventory.write_text(INVENTORY.format(name=NODE, world=f"{made.network}.10"))
    (made.folder / "openrc.json").write_text(json.dumps(environment(cloud)))
    return made


def test_from_a_password_to_a_kernel_and_back(cloud: Server, home: CloudHome) -> None:
    before = snapshot(cloud)
    plan = home.run("plan").ok()
    assert "15.20" in plan.shown  # EUR a month: flavor 14, volume 1.20
    assert snapshot(cloud) == before

    home.up().ok()
    again = home.up().ok()
    assert again.last["data"]["changes"] == 0
    launched = home.launch(f"{home.git}/minimal.git", "--run", "print(6 * 7)").ok()
    assert launched.last["data"]["output"] == "42\n"
    assert home.ssh("findmnt -no FSTYPE /var/lib/binder-node").strip() == "xfs"

    home.run("destroy", "--yes", NODE, "--all").ok()
    assert snapshot(cloud) == before
