"""The stand-in for Hetzner's API as hcloud's own library sees it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from hcloud import APIException
from hcloud.actions import ActionFailedException
from hcloud.firewalls import FirewallResource, FirewallRule
from hcloud.images import Image
from hcloud.locations import Location
from hcloud.primary_ips import PrimaryIP
from hcloud.server_types import ServerType
from hcloud.servers import ServerCreatePublicNetwork
from hcloud.volumes import Volume
from hcloud.zones import ZoneRecord

from tests.integration.hetzner_judge import client_of, judged
from tests.testbed.hetzner.crowd import crowd
from tests.testbed.hetzner.server import HetznerApi

pytestmark = pytest.mark.integration
IMAGE, FSN = Image(name="debian-12"), Location(name="fsn1")
OURS = {"binder-node/node": "bids"}
Lib = Any  # hcloud.Client, whose types say of every field that it may be None


@pytest.fixture
def cloud() -> Iterator[HetznerApi]:
    with judged() as made:
        yield made


@pytest.fixture
def client(cloud: HetznerApi) -> Lib:
    return client_of(cloud)


def make(client: Lib, name: str = "bids", type_: str = "cx23", **more: Any) -> Any:
    """A running server."""
    more = {"location": FSN, "labels": OURS, **more}
    answer = client.servers.create(name=name, server_type=ServerType(name=type_), image=IMAGE, **more)
    for action in [answer.action, *answer.next_actions]:
        action.wait_until_finished()
    return client.servers.get_by_id(answer.server.id)


def code_of(caught: pytest.ExceptionInfo[APIException]) -> str:
    return str(caught.value.code)


def test_a_server_comes_up_in_its_own_time(client: Lib) -> None:
    began = datetime.now(UTC)
    answer = client.servers.create(name="bids", server_type=ServerType(name="ccx63"), image=IMAGE, location=FSN)
    assert answer.server.status == "initializing"
    assert [action.command for action in [answer.action, *answer.next_actions]] == ["create_server", "start_server"]
    assert answer.action.status == "running"
    assert answer.root_password
    for action in [answer.action, *answer.next_actions]:
        action.wait_until_finished()
        assert (action.progress, action.error) == (100, None)
    server = client.servers.get_by_name("bids")
    assert server is not None
    assert (server.status, server.server_type.cores, server.server_type.memory) == ("running", 48, 192)
    assert server.public_net.ipv4.ip == "203.0.113.20"
    assert abs((server.created - began).total_seconds()) < 2
    assert [row.name.rstrip("0123456789") for row in client.primary_ips.get_all()] == ["primary_ip-"] * 2


def test_an_address_and_a_volume_outlive_their_server(client: Lib) -> None:
    address = client.primary_ips.create(type="ipv4", name="bids", location=FSN, labels=OURS).primary_ip
    made = client.volumes.create(size=20, name="bids", location=FSN, format="xfs", labels=OURS)
    made.action.wait_until_finished()
    net = ServerCreatePublicNetwork(ipv4=PrimaryIP(id=address.id), enable_ipv6=False)
    server = make(client, public_net=net, volumes=[Volume(id=made.volume.id)])
    assert server.public_net.ipv4.ip == address.ip
    assert server.public_net.ipv6 is None
    assert [row.id for row in server.volumes] == [made.volume.id]
    assert made.volume.linux_device == f"/dev/disk/by-id/scsi-0HC_Volume_{made.volume.id}"

    action = server.delete()
    assert client.servers.get_all() == []
    with pytest.raises(APIException) as caught:  # what it had is let go when the action has ended
        client.primary_ips.delete(address)
    assert code_of(caught) == "must_be_unassigned"
    action.wait_until_finished()
    assert [(row.name, row.assignee_id) for row in client.primary_ips.get_all()] == [("bids", None)]
    assert client.volumes.get_by_id(made.volume.id).server is None
    client.primary_ips.delete(address)
    client.volumes.delete(made.volume)
    assert client.primary_ips.get_all() == []


def test_what_depends_and_what_is_protected_stays(client: Lib) -> None:
    server = make(client)
    wall = client.firewalls.create(name="bids", resources=[FirewallResource("server", server=server)])
    with pytest.raises(APIException) as caught:
        wall.firewall.delete()
    assert code_of(caught) == "resource_in_use"
    server.change_protection(delete=True, rebuild=True).wait_until_finished()
    for forbidden in (server.delete, lambda: server.rebuild(IMAGE)):
        with pytest.raises(APIException) as caught:
            forbidden()
        assert code_of(caught) == "protected"
    server.change_protection(delete=False, rebuild=False).wait_until_finished()
    server.delete().wait_until_finished()
    wall.firewall.delete()


def test_names_are_taken_once(client: Lib) -> None:
    make(client)
    with pytest.raises(APIException) as caught:
        make(client)
    assert code_of(caught) == "uniqueness_error"
    assert len(client.servers.get_all()) == 1


def test_while_an_action_runs_the_server_is_locked(cloud: HetznerApi, client: Lib) -> None:
    server = make(client)
    with cloud.project.lock:
        cloud.project.actions.pace = 10  # long enough for a busy computer to look at it
    running = server.reboot()
    with cloud.project.lock:
        cloud.project.actions.pace = 1
    with pytest.raises(APIException) as caught:
        server.power_off()
    assert code_of(caught) == "locked"
    assert client.servers.get_by_id(server.id).locked
    running.wait_until_finished()
    server.power_off().wait_until_finished()
    assert client.servers.get_by_id(server.id).status == "off"
    server.power_on().wait_until_finished()
    assert client.servers.get_by_id(server.id).status == "running"


def test_an_address_changes_hands_while_the_server_is_off(client: Lib) -> None:
    server = make(client)
    old = client.primary_ips.get_by_id(server.public_net.primary_ipv4.id)
    new = client.primary_ips.create(type="ipv4", name="new", location=FSN).primary_ip
    for refused in (old.unassign, lambda: new.assign(server.id, "server")):
        with pytest.raises(APIException) as caught:
            refused()
        assert code_of(caught) == "server_not_stopped"
    server.power_off().wait_until_finished()
    old.unassign().wait_until_finished()
    new.assign(server.id, "server").wait_until_finished()
    assert client.servers.get_by_id(server.id).public_net.ipv4.ip == new.ip


def test_lists_by_label_name_and_page(cloud: HetznerApi, client: Lib) -> None:
    with cloud.project.lock:
        crowd(cloud.project, 60)
    make(client)
    assert len(client.servers.get_all()) == 61
    assert len(cloud.calls("GET", "/servers")) == 2  # the library asks for 50 a page
    assert [row.name for row in client.servers.get_all(label_selector="binder-node/node=bids")] == ["bids"]
    assert [row.name for row in client.servers.get_all(name="other-7")] == ["other-7"]
    page = client.servers.get_list(page=3, per_page=20)
    assert (len(page.servers), page.meta.pagination.total_entries, page.meta.pagination.next_page) == (20, 61, 4)
    newest = client.request("GET", "/servers", params={"sort": "id:desc", "per_page": 1})["servers"]
    assert [row["name"] for row in newest] == ["bids"]


def test_a_firewall_by_name_and_by_label(client: Lib) -> None:
    server = make(client)
    ssh = FirewallRule(direction="in", protocol="tcp", port="22", source_ips=["192.0.2.0/24"])
    made = client.firewalls.create(name="bids", rules=[ssh])
    wall = made.firewall
    for action in wall.apply_to_resources([FirewallResource("server", server=server)]):
        action.wait_until_finished()
    assert [row.firewall.id for row in client.servers.get_by_id(server.id).public_net.firewalls] == [wall.id]
    for action in wall.set_rules([ssh, FirewallRule(direction="in", protocol="icmp", source_ips=["0.0.0.0/0"])]):
        action.wait_until_finished()
    assert [row.protocol for row in client.firewalls.get_by_id(wall.id).rules] == ["tcp", "icmp"]
    wrongs: tuple[dict[str, Any], ...] = (
        {"port": "0"},
        {"port": "22-21"},
        {"port": None},
        {"source_ips": ["192.0.2.1/24"]},
        {"source_ips": []},
    )
    for wrong in wrongs:
        given: dict[str, Any] = {
            "direction": "in",
            "protocol": "tcp",
            "port": "1",
            "source_ips": ["0.0.0.0/0"],
            **wrong,
        }
        with pytest.raises(APIException) as caught:
            wall.set_rules([FirewallRule(**given)])
        assert code_of(caught) == "invalid_input"
    for action in wall.remove_from_resources([FirewallResource("server", server=server)]):
        action.wait_until_finished()
    wall.delete()


def test_zones_and_their_records(client: Lib) -> None:
    made = client.zones.create(name="example.org", mode="primary", labels=OURS)
    made.action.wait_until_finished()
    zone = client.zones.get("example.org")
    for name in ("bids", "*.bids"):
        client.zones.create_rrset(zone, name=name, type="A", ttl=300, records=[ZoneRecord("192.0.2.1")])
    with pytest.raises(APIException) as caught:
        client.zones.create_rrset(zone, name="bids", type="A", records=[ZoneRecord("192.0.2.2")])
    assert code_of(caught) == "uniqueness_error"
    rrset = client.zones.get_rrset(zone, "*.bids", "A")
    client.zones.set_rrset_records(rrset, [ZoneRecord("192.0.2.2", comment="rotated")]).wait_until_finished()
    records = client.zones.get_rrset(zone, "*.bids", "A").records
    assert records is not None
    assert [(row.value, row.comment) for row in records] == [("192.0.2.2", "rotated")]
    for name, kind, value in (
        ("x", "A", "192.0.2"),
        ("X", "A", "192.0.2.1"),
        ("bids", "CNAME", "x"),
        ("x", "TXT", "bare"),
    ):
        with pytest.raises(APIException):
            client.zones.create_rrset(zone, name=name, type=kind, records=[ZoneRecord(value)])
    for kind in ("bids", "*.bids"):
        client.zones.delete_rrset(client.zones.get_rrset(zone, kind, "A"))
    assert sorted(str(row.id) for row in client.zones.get_rrset_all(zone)) == ["@/NS", "@/SOA"]


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"type_": "cx99"}, "invalid_input"),
        ({"type_": "cx22"}, "invalid_input"),  # withdrawn
        ({"type_": "cax11", "location": Location(name="ash")}, "invalid_input"),  # not sold there
        ({"location": Location(name="moon")}, "invalid_input"),
        ({"name": "under_score"}, "invalid_input"),
        ({"user_data": "x" * 32769}, "invalid_input"),
        ({"labels": {"binder-node/node": "not valid"}}, "invalid_input"),
        ({"ssh_keys": [type("Key", (), {"name": "nobody", "id": None, "id_or_name": "nobody"})]}, "not_found"),
    ],
)
def test_a_server_that_cannot_be(client: Lib, asked: dict[str, Any], code: str) -> None:
    with pytest.raises(APIException) as caught:
        make(client, **asked)
    assert code_of(caught) == code
    assert client.servers.get_all() == []
    assert client.primary_ips.get_all() == []


def test_an_account_has_limits(cloud: HetznerApi, client: Lib) -> None:
    cloud.project.limits["servers"] = 1
    make(client)
    with pytest.raises(APIException, match="server limit exceeded") as caught:
        make(client, "second")
    assert code_of(caught) == "resource_limit_exceeded"
    cloud.project.limits |= {"servers": 9, "dedicated_cores": 8}
    with pytest.raises(APIException, match="dedicated core limit exceeded"):
        make(client, "second", "ccx63")


def test_tokens_may_write_read_or_nothing(cloud: HetznerApi) -> None:
    reader = client_of(cloud, cloud.read_token)
    assert reader.servers.get_all() == []
    with pytest.raises(APIException) as caught:
        make(reader)
    assert code_of(caught) == "token_readonly"
    with pytest.raises(APIException) as caught:
        client_of(cloud, "x" * 64).servers.get_all()
    assert code_of(caught) == "unauthorized"
    assert [status for _, _, status in cloud.calls()] == [200, 403, 401]


def test_a_failed_action_says_why(cloud: HetznerApi, client: Lib) -> None:
    cloud.fault("fail", command="start_server", code="server_error", message="no host took it")
    with pytest.raises(ActionFailedException, match="no host took it"):
        make(client)
    server = client.servers.get_by_name("bids")
    assert server is not None
    assert server.status == "off"


def test_who_asks_too_often_is_told_when_to_come_again(cloud: HetznerApi) -> None:
    cloud.app.rate.limit, cloud.app.rate.left, cloud.app.rate.a_second = 10, 2, 0.001
    with httpx.Client(headers={"Authorization": f"Bearer {cloud.token}"}, base_url=cloud.endpoint) as http:
        answers = [http.get("/servers") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]
    assert answers[2].json()["error"]["code"] == "rate_limit_exceeded"
    assert int(answers[2].headers["RateLimit-Reset"]) > time.time()


def test_bytes_that_are_no_json_and_paths_that_are_not_there(cloud: HetznerApi) -> None:
    with httpx.Client(headers={"Authorization": f"Bearer {cloud.token}"}, base_url=cloud.endpoint) as http:
        assert http.post("/servers", content=b"{").json()["error"]["code"] == "json_error"
        assert http.get("/networks").status_code == 501  # loud: the real API has it
        assert http.put("/servers").json()["error"]["code"] == "method_not_allowed"
        unknown = http.post("/servers", json={"name": "a", "server_type": "cx23", "image": "debian-12", "colour": 1})
        assert unknown.json()["error"]["details"]["fields"][0]["name"] == "colour"
