"""The Hetzner provider against the stand-in for its API: what it makes, puts right, keeps and takes away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from binder_node.errors import StepError
from binder_node.events import Event, silent
from binder_node.providers.base import NOTHING
from tests.integration.hetzner_fixtures import FULL, NAME, NONE, WHOLE, Machines, holds, machine_at, up
from tests.integration.provider_conformance import Conformance, Make
from tests.testbed.hetzner.crowd import crowd
from tests.testbed.hetzner.server import HetznerApi

pytestmark = pytest.mark.integration


class TestConformance(Conformance):
    @pytest.fixture
    def provider(self, cloud: HetznerApi, tmp_path: Path) -> Make:
        return lambda name=NAME: machine_at(cloud.endpoint, tmp_path / name, name=name, volume="50G")


# As it should be


def test_a_server_is_made_with_all_that_belongs_to_it_and_a_second_time_nothing(
    cloud: HetznerApi, node: Machines
) -> None:
    told: list[Event] = []
    assert len(up(node(**FULL), told)) == 8
    assert holds(cloud) == {**WHOLE, "volumes": [NAME], "groups": ["members"]}
    (server,) = cloud.project.servers.values()
    assert (server.type, server.location, server.status) == ("ccx23", "nbg1", "running")
    assert server.user_data.startswith("#cloud-config\n")
    assert "OPENSSH PRIVATE KEY" in server.user_data
    assert not [event for event in told if "PRIVATE" in str(event) or "w" * 64 in str(event)]
    (address,) = cloud.project.primary_ips.values()
    assert (address.server, address.auto_delete) == (server.id, False)
    (volume,) = cloud.project.volumes.values()
    assert (volume.server, volume.size, volume.location) == (server.id, 50, "nbg1")
    before = len(cloud.calls())
    assert up(node(**FULL)) == []
    assert [call for call in cloud.calls()[before:] if call[0] != "GET"] == []


def test_what_was_changed_by_hand_is_put_right(cloud: HetznerApi, node: Machines) -> None:
    up(node())
    (firewall,) = cloud.project.firewalls.values()
    with cloud.project.lock:
        firewall.rules = []
        next(iter(cloud.project.ssh_keys.values())).public_key = "ssh-ed25519 AAAA other"
    assert [change.what.split(" ")[0] for change in up(node())] == ["ssh", "firewall"]
    assert {rule["port"] for rule in firewall.rules} == {None, "22", "80", "443"}


def test_a_server_that_is_off_is_started(cloud: HetznerApi, node: Machines) -> None:
    up(node())
    with cloud.project.lock:
        next(iter(cloud.project.servers.values())).status = "off"
    assert [change.action for change in up(node())] == ["start", "run"]
    assert len(cloud.calls("POST", "/servers")) == 1


def test_address_and_volume_outlive_the_server_and_come_back(cloud: HetznerApi, node: Machines) -> None:
    up(node(**FULL))
    (address,) = cloud.project.primary_ips.values()
    node(**FULL).destroy(silent)
    assert holds(cloud) == {**NONE, "addresses": [NAME], "volumes": [NAME]}
    # The first location is another one now: the node goes where its address is.
    up(node(**FULL, locations=["fsn1", "nbg1"]))
    (server,) = cloud.project.servers.values()
    assert server.location == "nbg1"
    assert address.server == server.id
    machine = node(**FULL)
    assert machine.address(machine.inspect(silent)) == address.ip


def test_another_placement_group_is_joined_where_there_is_one(cloud: HetznerApi, node: Machines) -> None:
    """The node's own of another name hides nobody's."""
    up(node(placement="old"))
    with cloud.project.lock:
        (own,) = cloud.project.placement_groups.values()
        crowd(cloud.project, 1)
        theirs = next(row for row in cloud.project.placement_groups.values() if row is not own)
    assert node(placement=theirs.name).changes(node(placement=theirs.name).inspect(silent)) == []


# The way back


@pytest.mark.parametrize("keep", [{}, {"keep": NOTHING}])
def test_destroy_leaves_what_was_there_before(cloud: HetznerApi, node: Machines, keep: dict[str, Any]) -> None:
    with cloud.project.lock:
        crowd(cloud.project, 4)
    before = holds(cloud)
    up(node(**FULL))
    shown = [change.what for change in node(**FULL).doomed(silent, **keep)]
    node(**FULL).destroy(silent, **keep)
    after = holds(cloud)
    kept = {} if keep else {kind: sorted([*before[kind], NAME]) for kind in ("addresses", "volumes")}
    assert {kind: sorted(names) for kind, names in after.items()} == {**before, **kept}
    assert len(shown) == (6 if keep else 4)
    node(**FULL).destroy(silent, **keep)  # twice is no error
    assert holds(cloud) == after


def test_a_crowd_is_never_asked_to_change(cloud: HetznerApi, node: Machines) -> None:
    with cloud.project.lock:
        crowd(cloud.project, 8)
        others = {row.id for table in tables(cloud) for row in table.values()}
    up(node(**FULL))
    node(**FULL).destroy(silent, NOTHING)
    touched = {int(part) for method, path, _ in cloud.calls() if method != "GET" for part in path.split("/") if
               part.isdecimal()}  # fmt: skip
    assert touched
    assert touched.isdisjoint(others)


def tables(cloud: HetznerApi) -> list[dict[int, Any]]:
    project = cloud.project
    return [
        project.servers, project.primary_ips, project.volumes, project.firewalls, project.placement_groups,
        project.ssh_keys,
    ]  # fmt: skip


def test_another_server_of_the_same_name_is_left_alone(cloud: HetznerApi, node: Machines) -> None:
    up(node())
    with cloud.project.lock:
        for table in tables(cloud):
            for row in table.values():
                row.labels = {}
    made = len(cloud.calls())
    with pytest.raises(StepError, match=r"server bids-1 \(id \d+\) was not made by binder-node; it was left as it is"):
        up(node())
    node().destroy(silent, NOTHING)
    assert len(cloud.project.servers) == 1
    assert [call for call in cloud.calls()[made:] if call[0] != "GET"] == []


def test_a_protected_server_stops_destroy_before_anything_is_gone(cloud: HetznerApi, node: Machines) -> None:
    up(node())
    with cloud.project.lock:
        next(iter(cloud.project.servers.values())).keep = True
    before = holds(cloud)
    for verb in (node().doomed, node().destroy):
        with pytest.raises(StepError, match="protected against deletion: server bids-1"):
            verb(silent)
    assert holds(cloud) == before


def test_leftovers_are_found_without_an_inventory(cloud: HetznerApi, node: Machines) -> None:
    up(node(**FULL))
    with cloud.project.lock:
        for table in tables(cloud):
            for row in table.values():
                row.labels = {**row.labels, "binder-node/node": "gone"}
    found = node().leftovers(silent)
    assert {one.node for one in found} == {"gone"}
    # The placement group has a server in it.
    assert sorted(one.kind for one in found) == ["firewall", "primary IP", "server", "ssh key", "volume"]
