"""The OpenStack provider against a stand-in of its APIs: made, found, kept, taken away; what an operator reads."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from binder_node import remote
from binder_node.errors import InputError, StepError
from binder_node.events import Event, silent
from binder_node.secrets.generate import generate
from binder_node.secrets.masked import Masked
from tests.integration.openstack_fixtures import (
    NAME,
    NONE,
    ONE,
    SECRETS,
    cloud,
    crowd,
    environment,
    holds,
    machine_at,
    snapshot,
    up,
)
from tests.integration.provider_conformance import Conformance, Make
from tests.testbed.openstack.server import Server
from tests.testbed.openstack.state import Login

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can listen at port 22"),
]


@pytest.fixture
def openstack() -> Iterator[Server]:
    with cloud() as server:
        yield server


class TestConformance(Conformance):
    @pytest.fixture
    def provider(self, tmp_path: Path) -> Iterator[Make]:
        with cloud():
            yield lambda name=NAME: machine_at(tmp_path, name=name, prices={"b3-64": 150.0}, volume="100G")


def test_up_makes_one_server_with_its_labels_and_a_second_up_changes_nothing(openstack: Server, tmp_path: Path) -> None:
    machine = machine_at(tmp_path)
    events: list[Event] = []
    wanted = up(machine, events)
    assert holds(openstack) == ONE
    (server,) = openstack.state.regions["GRA11"].servers.values()
    assert server["metadata"] == {
        "managed-by": "binder-node", "binder-node.node": NAME, "binder-node.used": "yes",
    }  # fmt: skip
    (group,) = openstack.state.regions["GRA11"].groups.values()
    opened = {
        (rule["protocol"], rule["port_range_min"], rule["port_range_max"], rule["remote_ip_prefix"])
        for rule in group["security_group_rules"]
        if rule["direction"] == "ingress"
    }
    assert opened == {("tcp", port, port, "0.0.0.0/0") for port in (22, 80, 443)}
    # What plan showed is what was done, in its order.
    done = [event.message for event in events if event.message.startswith(("create", "update rules", "run wait"))]
    shown = [f"{change.action} {change.what}" for change in wanted]
    assert [text.split(" at ")[0] for text in done] == [text.split(" at ")[0] for text in shown if "noted" not in text]
    assert up(machine) == []


@pytest.mark.usefixtures("openstack")
def test_the_first_connection_is_strict(tmp_path: Path) -> None:
    machine = machine_at(tmp_path)
    up(machine)
    access = machine.access(machine.inspect(silent))
    assert access is not None
    known = access.known_hosts.read_text()
    assert machine.node.secrets.host_key_public.strip() in known
    # Somebody else's key at the address: the same secrets but for the host key.
    stranger = machine_at(tmp_path / "other", machine.node.secrets.model_copy(
        update={"host_key_public": generate().host_key_public}
    ))  # fmt: skip
    remote.disconnect(access)
    with pytest.raises(StepError, match="another host key answers there"):
        stranger.inspect(silent)


def test_an_application_credential_logs_in(openstack: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in environment(openstack):
        monkeypatch.delenv(key)
    monkeypatch.setenv("OS_AUTH_URL", openstack.auth_url)
    monkeypatch.setenv("OS_AUTH_TYPE", "v3applicationcredential")
    monkeypatch.setenv("OS_APPLICATION_CREDENTIAL_ID", "app-1")
    monkeypatch.setenv("OS_APPLICATION_CREDENTIAL_SECRET", "battery staple")
    up(machine_at(tmp_path))
    assert holds(openstack) == ONE


def test_the_password_may_come_from_a_command_or_the_nodes_secrets(
    openstack: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OS_PASSWORD")
    with pytest.raises(InputError, match="there is no API token for OpenStack; set OS_"):
        machine_at(tmp_path).inspect(silent)
    machine_at(tmp_path, token_command=["echo", "correct horse"]).inspect(silent)
    kept = SECRETS.model_copy(update={"tokens": {"openstack": Masked("correct horse")}})
    up(machine_at(tmp_path, kept))
    assert holds(openstack) == ONE


def test_destroy_leaves_what_was_there_before_in_a_crowded_project(openstack: Server, tmp_path: Path) -> None:
    openstack.state.page = 3
    crowd(openstack)
    before = snapshot(openstack)
    machine = machine_at(tmp_path)
    up(machine)
    assert snapshot(openstack) != before
    shown = [change.what.rpartition(" (")[0] for change in machine.doomed(silent, frozenset())]
    assert shown == ["server bids-1 in GRA11", f"port bids-1 ({machine.address(machine.inspect(silent))}) in GRA11",
                     "security group bids-1 in GRA11"]  # fmt: skip
    machine.destroy(silent, frozenset())
    assert snapshot(openstack) == before
    assert list(machine.node.runtime.iterdir()) == []
    assert machine.doomed(silent, frozenset()) == []
    machine.destroy(silent, frozenset())  # twice is no error


def test_address_and_volume_outlive_the_server_and_hold_the_next_one(openstack: Server, tmp_path: Path) -> None:
    machine = machine_at(tmp_path, volume="200G", regions=["SBG5", "GRA11"])
    changes = [change.what for change in up(machine)]
    assert "volume bids-1 of 187 GiB in SBG5" in changes
    address = machine.address(machine.inspect(silent))
    (volume,) = openstack.state.regions["SBG5"].volumes
    assert [change.what.partition(" ")[0] for change in machine.doomed(silent)] == ["server"]
    machine.destroy(silent)
    assert holds(openstack) == {**ONE, "servers": [], "volumes": [NAME]}
    assert machine.doomed(silent) == []
    # The next server goes where they are, whatever is preferred now.
    moved = machine_at(tmp_path, volume="200G", regions=["GRA11", "SBG5"])
    up(moved)
    assert moved.address(moved.inspect(silent)) == address
    assert list(openstack.state.regions["SBG5"].volumes) == [volume]
    # Where they are sold out, nothing else is taken: an empty node elsewhere would be another node.
    moved.destroy(silent)
    openstack.state.regions["SBG5"].sold_out |= {"b3-64", "r3-64"}
    with pytest.raises(StepError, match="r3-64 in SBG5: No valid host") as caught:
        up(moved)
    assert "kept address or volume is in SBG5" in caught.value.remedy
    moved.destroy(silent, frozenset())
    assert holds(openstack) == NONE


def test_a_floating_address_where_the_cloud_has_no_direct_one(openstack: Server, tmp_path: Path) -> None:
    machine = machine_at(tmp_path, network="private", floating_from="Ext-Net")
    up(machine)
    (ip,) = openstack.state.regions["GRA11"].ips.values()
    assert machine.address(machine.inspect(silent)) == ip["floating_ip_address"]
    machine.destroy(silent)
    assert {kind: names for kind, names in holds(openstack).items() if names} == {
        "ips": ["managed-by=binder-node binder-node.node=bids-1 binder-node.used=yes"]
    }
    up(machine)
    assert machine.address(machine.inspect(silent)) == ip["floating_ip_address"]
    machine.destroy(silent, frozenset())
    assert holds(openstack) == NONE


def test_sold_out_goes_on_to_the_next_flavor_and_region_and_leaves_nothing_behind(
    openstack: Server, tmp_path: Path
) -> None:
    gra, sbg = openstack.state.regions.values()
    gra.sold_out |= {"b3-64", "r3-64"}
    sbg.sold_out |= {"b3-64"}
    machine = machine_at(tmp_path)
    events: list[Event] = []
    up(machine, events)
    assert holds(openstack) == ONE
    (server,) = sbg.servers.values()
    assert sbg.flavors[server["flavor"]]["name"] == "r3-64"
    assert len([event for event in events if "No valid host was found" in event.message and event.kind == "warn"]) == 3


def test_sold_out_everywhere_says_all_that_was_tried(openstack: Server, tmp_path: Path) -> None:
    for one in openstack.state.regions.values():
        one.sold_out |= {"b3-64", "r3-64"}
    machine = machine_at(tmp_path)
    with pytest.raises(StepError) as caught:
        up(machine)
    for candidate in ("b3-64 in GRA11", "r3-64 in GRA11", "b3-64 in SBG5", "r3-64 in SBG5"):
        assert f"{candidate}: No valid host was found" in caught.value.reason
    assert holds(openstack)["servers"] == []
    machine.destroy(silent)  # nothing of it has been in use: all of it goes
    assert holds(openstack) == NONE


@pytest.mark.parametrize("how", ["gone", "disabled"])
def test_a_withdrawn_flavor_is_said_before_anything_is_made(openstack: Server, tmp_path: Path, how: str) -> None:
    for one in openstack.state.regions.values():
        for id_, flavor in list(one.flavors.items()):
            if flavor["name"] == "b3-64" and how == "gone":
                del one.flavors[id_]
            elif flavor["name"] == "b3-64":
                flavor["OS-FLV-DISABLED:disabled"] = True
    machine = machine_at(tmp_path, flavors=["b3-64"], regions=["GRA11"])
    said = {"gone": "there is no such flavor", "disabled": "the flavor is withdrawn"}[how]
    with pytest.raises(StepError, match=f"make the server bids-1: b3-64 in GRA11: {said} -> add flavors"):
        machine.inspect(silent)
    assert holds(openstack) == NONE
    up(machine_at(tmp_path, flavors=["b3-64", "r3-64"]))  # the next in the list is taken


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        ({"flavors": ["b3-8"]}, "b3-8 in GRA11: has 2 cores, not 8 and 8G of RAM, not 60G"),
        ({"image": "Debian 11"}, "there is no image Debian 11"),
        ({"network": "vlan"}, "there is no network vlan"),
        ({"floating_from": "public"}, "there is no network public"),
        (
            {"max_price": 100.0, "prices": {"b3-64": 150.0}},
            "150.00 EUR a month are more than provider.max_price, 100",
        ),
        ({"max_price": 100.0}, "b3-64 in GRA11: its price is not in provider.prices"),
    ],
)
def test_what_cannot_be_had_is_said_before_anything_is_made(
    openstack: Server, tmp_path: Path, provider: dict[str, Any], said: str
) -> None:
    with pytest.raises(StepError) as caught:
        machine_at(tmp_path, **provider).inspect(silent)
    assert said in caught.value.reason
    assert holds(openstack) == NONE


def test_a_full_quota_is_said_with_its_numbers_before_anything_is_made(openstack: Server, tmp_path: Path) -> None:
    for one in openstack.state.regions.values():
        one.quota |= {"cores": 10}
    with pytest.raises(StepError) as caught:
        machine_at(tmp_path, flavors=["b3-64"]).inspect(silent)
    full = "the project's quota is full: cores: 16 wanted, 10 left"
    assert caught.value.reason == f"b3-64 in GRA11: {full}; b3-64 in SBG5: {full}"
    assert caught.value.remedy.startswith("have the quota raised")
    assert holds(openstack) == NONE


def test_a_quota_that_fills_up_meanwhile_is_told_from_missing_rights(openstack: Server, tmp_path: Path) -> None:
    machine = machine_at(tmp_path, regions=["GRA11"], flavors=["b3-64"])
    seen = machine.inspect(silent)
    openstack.state.regions["GRA11"].quota |= {"instances": 0}
    with pytest.raises(StepError, match="the project's quota is full: servers: 1 wanted, 0 left"):
        machine.apply(seen, silent)


@pytest.mark.usefixtures("openstack")
def test_a_wrong_password_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_PASSWORD", "wrong horse")
    with pytest.raises(StepError) as caught:
        machine_at(tmp_path).inspect(silent)
    text = str(caught.value)
    assert text.startswith("bids-1: log in to GRA11: The request you have made requires authentication.")
    assert "the credentials are wrong" in text
    assert "wrong horse" not in text


def test_rights_to_look_only_are_one_line(openstack: Server, tmp_path: Path) -> None:
    openstack.state.logins[0] = Login("operator", "correct horse", roles=("reader",))
    machine = machine_at(tmp_path)
    seen = machine.inspect(silent)  # plan works
    with pytest.raises(StepError, match=r"Policy doesn't allow network:post.*give their user the role member"):
        machine.apply(seen, silent)


def test_no_credentials_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in [key for key in os.environ if key.startswith("OS_")]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="source your cloud's openrc file"):
        machine_at(tmp_path).inspect(silent)
    with pytest.raises(InputError, match="there are no credentials: Cloud ovh was not found"):
        machine_at(tmp_path, cloud="ovh").inspect(silent)


@pytest.mark.usefixtures("openstack")
def test_a_region_that_the_catalog_has_not_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        StepError, match=r"the cloud's catalog has no such service or region.*look at provider\.regions"
    ):
        machine_at(tmp_path, regions=["RBX9"]).inspect(silent)


def test_an_api_that_is_not_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with cloud() as server:
        variables = environment(server, OS_AUTH_URL="http://127.0.0.1:9/identity/v3")
    for key, value in variables.items():
        monkeypatch.setenv(key, value)
    began = time.monotonic()
    with pytest.raises(StepError, match=r"waited 6 s for the API to answer \(log in to GRA11\)"):
        machine_at(tmp_path).inspect(silent)
    assert time.monotonic() - began < 8


def test_a_server_that_was_switched_off_is_started(openstack: Server, tmp_path: Path) -> None:
    machine = machine_at(tmp_path)
    up(machine)
    (server,) = openstack.state.regions["GRA11"].servers.values()
    openstack.state.machines.stop(openstack.state.number(server["id"]))
    server["status"] = "SHUTOFF"
    assert [change.action for change in up(machine)] == ["start", "run"]


def test_a_server_that_has_run_is_never_removed_for_its_state(openstack: Server, tmp_path: Path) -> None:
    machine = machine_at(tmp_path)
    up(machine)
    (server,) = openstack.state.regions["GRA11"].servers.values()
    server["status"], server["fault"] = "ERROR", "the host burned down"
    with pytest.raises(StepError, match="is in state ERROR: the host burned down"):
        machine.apply(machine.inspect(silent), silent)
    assert holds(openstack) == ONE


def test_a_rule_that_somebody_changed_is_put_right(openstack: Server, tmp_path: Path) -> None:
    machine = machine_at(tmp_path)
    up(machine)
    (group,) = openstack.state.regions["GRA11"].groups.values()
    rules = group["security_group_rules"]
    rules[:] = [rule for rule in rules if rule["port_range_min"] != 443]
    rules.append({**rules[-1], "id": "x", "port_range_min": 1, "port_range_max": 65535})
    (change,) = up(machine)
    assert change.diff == "+ port 443 from 0.0.0.0/0\n- a rule of another kind"


def test_a_locked_server_keeps_everything(openstack: Server, tmp_path: Path) -> None:
    machine = machine_at(tmp_path)
    up(machine)
    (server,) = openstack.state.regions["GRA11"].servers.values()
    server["locked"] = True
    before = snapshot(openstack)
    for verb in (machine.doomed, machine.destroy):
        with pytest.raises(StepError, match="server bids-1 in GRA11 is locked -> `openstack server unlock"):
            verb(silent, frozenset())
    assert snapshot(openstack) == before


def test_a_region_left_out_of_the_inventory_is_found_before_a_second_server_is_made(
    openstack: Server, tmp_path: Path
) -> None:
    up(machine_at(tmp_path, regions=["SBG5"]))
    with pytest.raises(StepError, match="server bids-1 in SBG5 is this node's, and SBG5 is not in provider"):
        machine_at(tmp_path, regions=["GRA11"]).inspect(silent)
    machine_at(tmp_path, regions=["GRA11"]).destroy(silent, frozenset())  # by its labels, wherever it is
    assert holds(openstack) == NONE


def test_leftovers_are_found_in_every_region(openstack: Server, tmp_path: Path) -> None:
    crowd(openstack)
    here, there = machine_at(tmp_path), machine_at(tmp_path, name="bids-2", regions=["SBG5"], volume="100G")
    up(here)
    up(there)
    there.destroy(silent)
    found = {(left.kind, left.node, left.note.partition(",")[0]) for left in here.leftovers(silent)}
    assert found == {("port", "bids-2", "SBG5"), ("volume", "bids-2", "SBG5"), ("group", "bids-2", "SBG5")}
    assert [left.node for left in there.leftovers(silent)] == ["bids-1"] * 3


@pytest.mark.usefixtures("openstack")
def test_offers_have_the_prices_that_the_inventory_states(tmp_path: Path) -> None:
    machine = machine_at(tmp_path, prices={"b3-64": 150.0, "b3-256": 620.5})
    events: list[Event] = []
    began = time.monotonic()
    offers = {(offer.type, offer.location): offer for offer in machine.offers(events.append)}
    assert time.monotonic() - began < 2
    assert set(offers) == {(name, place) for name in ("b3-64", "b3-256") for place in ("GRA11", "SBG5")}
    big = offers["b3-256", "GRA11"]
    assert (big.cpus, big.memory, big.monthly, big.hourly) == (64, 256_000 * 2**20, Decimal("620.5"), Decimal("0.8500"))
    assert [event.message for event in events] == [
        "2 flavors are left out: OpenStack tells no prices; write those you want to compare to provider.prices"
    ]
    own = machine.own_offer(silent)
    assert own is not None
    assert (own.type, own.location) == ("b3-64", "GRA11")
    up(machine)
    assert machine.own_offer(silent) == own
