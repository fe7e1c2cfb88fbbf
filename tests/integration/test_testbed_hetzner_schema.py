"""Every route of the stand-in, and every kind of its errors, against the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.integration.hetzner_judge import WITHOUT, contract, judged
from tests.testbed.hetzner.app import ROUTES
from tests.testbed.hetzner.server import HetznerApi

pytestmark = [pytest.mark.integration, pytest.mark.skipif(contract() is None, reason=WITHOUT)]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"


class Walk:
    """A client that follows actions to their end."""

    def __init__(self, cloud: HetznerApi) -> None:
        self.cloud = cloud
        self.http = httpx.Client(headers={"Authorization": f"Bearer {cloud.token}"}, base_url=cloud.endpoint)

    def __call__(self, method: str, path: str, body: dict[str, Any] | None = None, expect: int = 0) -> Any:
        answer = self.http.request(method, path, json=body)
        assert answer.status_code == expect or (not expect and answer.is_success), f"{method} {path}: {answer.text}"
        self.cloud.settle()
        return answer.json() if answer.content else None

    def looks(self, plural: str, which: object, kind: str) -> None:
        """All ways to look at one resource and its actions."""
        self("GET", f"/{plural}")
        self("GET", f"/{plural}/{which}")
        found = self("GET", f"/{plural}/{which}/actions?sort=command:desc&status=success")["actions"]
        assert {resource["type"] for row in found for resource in row["resources"]} >= {kind}
        self("GET", f"/{plural}/{which}/actions/{found[0]['id']}")
        self("GET", f"/{plural}/actions?id={found[0]['id']}")
        self("GET", f"/{plural}/actions/{found[0]['id']}")
        self("GET", f"/actions?id={found[0]['id']}")
        self("GET", f"/actions/{found[0]['id']}")


@pytest.fixture
def walk() -> Iterator[Walk]:
    with judged(pace=0) as cloud:
        found = Walk(cloud)
        yield found
        found.http.close()


def market(walk: Walk) -> None:
    for plural in ("server_types", "locations", "datacenters", "images"):
        first = walk("GET", f"/{plural}?per_page=50")[plural][0]
        walk("GET", f"/{plural}/{first['id']}")
    walk("GET", "/pricing")


def small(walk: Walk) -> tuple[int, int]:
    key = walk("POST", "/ssh_keys", {"name": "key", "public_key": KEY})["ssh_key"]["id"]
    group = walk("POST", "/placement_groups", {"name": "group", "type": "spread"})["placement_group"]["id"]
    for plural, number in (("ssh_keys", key), ("placement_groups", group)):
        walk("GET", f"/{plural}")
        walk("GET", f"/{plural}/{number}")
        walk("PUT", f"/{plural}/{number}", {"name": "renamed", "labels": {"a/b": "c"}})
    return key, group


def server(walk: Walk, group: int) -> int:
    made = {"name": "one", "server_type": "cpx22", "image": "debian-12", "ssh_keys": ["renamed"], "location": "nbg1"}
    number: int = walk("POST", "/servers", {**made, "user_data": "#cloud-config\n", "labels": {"a": ""}})["server"][
        "id"
    ]
    walk.looks("servers", number, "server")
    walk("PUT", f"/servers/{number}", {"labels": {"a": "b"}})
    for name in ("reboot", "reset", "shutdown", "poweron", "poweroff"):
        walk("POST", f"/servers/{number}/actions/{name}")
    ip = walk("GET", f"/servers/{number}")["server"]["public_net"]["ipv4"]["ip"]
    for name, body in (
        ("rebuild", {"image": "debian-13", "user_data": "x"}),
        ("poweroff", None),
        ("change_protection", {"delete": True, "rebuild": True}),
        ("change_protection", {"delete": False, "rebuild": False}),
        ("change_type", {"server_type": "cpx32", "upgrade_disk": True}),
        ("change_dns_ptr", {"ip": ip, "dns_ptr": "one.example.org"}),
        ("add_to_placement_group", {"placement_group": group}),
        ("remove_from_placement_group", None),
    ):
        walk("POST", f"/servers/{number}/actions/{name}", body)
    return number


def address(walk: Walk, number: int) -> None:
    """The server, which is off, takes another address."""
    old = walk("GET", f"/servers/{number}")["server"]["public_net"]["ipv4"]["id"]
    walk("POST", f"/primary_ips/{old}/actions/unassign")
    walk.looks("primary_ips", old, "primary_ip")
    made = {"name": "ip", "type": "ipv4", "assignee_type": "server"}
    new = walk("POST", "/primary_ips", {**made, "assignee_id": number})["primary_ip"]["id"]
    walk("POST", f"/primary_ips/{new}/actions/unassign")
    walk("POST", f"/primary_ips/{new}/actions/change_protection", {"delete": True})
    ip = walk("PUT", f"/primary_ips/{new}", {"auto_delete": True})["primary_ip"]["ip"]
    walk("POST", f"/primary_ips/{new}/actions/change_dns_ptr", {"ip": ip, "dns_ptr": "ip.example.org"})
    walk("POST", f"/primary_ips/{new}/actions/assign", {"assignee_id": number, "assignee_type": "server"})
    walk("DELETE", f"/primary_ips/{old}")
    walk("POST", "/primary_ips", {**made, "name": "alone", "location": "fsn1", "auto_delete": False})


def volume(walk: Walk, number: int) -> None:
    made = walk("POST", "/volumes", {"name": "data", "size": 10, "format": "xfs", "server": number})["volume"]["id"]
    walk.looks("volumes", made, "volume")
    walk("PUT", f"/volumes/{made}", {"name": "data-1"})
    for name, body in (
        ("detach", None),
        ("resize", {"size": 20}),
        ("attach", {"server": number, "automount": False}),
        ("change_protection", {"delete": True}),
        ("change_protection", {"delete": False}),
        ("detach", None),
    ):
        walk("POST", f"/volumes/{made}/actions/{name}", body)
    walk("DELETE", f"/volumes/{made}")


def firewall(walk: Walk, number: int) -> None:
    rule = {"direction": "in", "protocol": "tcp", "port": "80-443", "source_ips": ["0.0.0.0/0", "::/0"]}
    by_label = {"type": "label_selector", "label_selector": {"selector": "a=b"}}
    by_name = {"type": "server", "server": {"id": number}}
    made = walk("POST", "/firewalls", {"name": "wall", "rules": [rule], "apply_to": [by_label]})["firewall"]["id"]
    walk.looks("firewalls", made, "firewall")
    walk("PUT", f"/firewalls/{made}", {"name": "wall-1"})
    walk("POST", f"/firewalls/{made}/actions/apply_to_resources", {"apply_to": [by_name]})
    walk("GET", f"/servers/{number}")
    walk("POST", f"/firewalls/{made}/actions/set_rules", {"rules": [rule, {**rule, "direction": "in", "port": "any"}]})
    walk("POST", f"/firewalls/{made}/actions/remove_from_resources", {"remove_from": [by_name, by_label]})
    walk("DELETE", f"/firewalls/{made}")


def zone(walk: Walk) -> None:
    made = walk("POST", "/zones", {"name": "example.org", "mode": "primary", "ttl": 600})["zone"]["id"]
    walk.looks("zones", made, "zone")
    walk("PUT", "/zones/example.org", {"labels": {"a": "b"}})
    walk("POST", "/zones/example.org/actions/change_ttl", {"ttl": 300})
    walk("POST", "/zones/example.org/actions/change_protection", {"delete": False})
    one = {"records": [{"value": "192.0.2.1"}]}
    walk("POST", "/zones/example.org/rrsets", {"name": "*.bids", "type": "A", **one})
    walk("GET", "/zones/example.org/rrsets?type=A&sort=name:desc")
    rrset = "/zones/example.org/rrsets/%2A.bids/A"
    walk("PUT", rrset, {"labels": {"a": "b"}})
    walk("GET", rrset)
    two = {"records": [{"value": "192.0.2.2", "comment": "c"}]}
    for name, body in (
        ("add_records", {**two, "ttl": 60}),
        ("update_records", {"records": [{"value": "192.0.2.2", "comment": "d"}]}),
        ("remove_records", one),
        ("set_records", one),
        ("change_ttl", {"ttl": None}),
        ("change_protection", {"change": True}),
        ("change_protection", {"change": False}),
    ):
        walk("POST", f"{rrset}/actions/{name}", body)
    walk("DELETE", rrset)
    walk("DELETE", "/zones/example.org")


def test_every_route_answers_as_the_document_has_it(walk: Walk) -> None:
    market(walk)
    key, group = small(walk)
    number = server(walk, group)
    address(walk, number)
    volume(walk, number)
    firewall(walk, number)
    zone(walk)
    walk("DELETE", f"/servers/{number}")
    walk("DELETE", f"/ssh_keys/{key}")
    walk("DELETE", f"/placement_groups/{group}")
    assert walk.cloud.app.violations == []
    reached = {(row.method, row.route) for row in walk.cloud.app.journal if 200 <= row.status < 300}
    assert {(route.method, route.path) for route in ROUTES} - reached == set()


def test_errors_have_the_documents_form(walk: Walk) -> None:
    made = {"name": "one", "server_type": "cx23", "image": "debian-12"}
    number = walk("POST", "/servers", made)["server"]["id"]
    walk("POST", "/servers", made, expect=409)
    walk("POST", "/servers", {"name": "two"}, expect=422)
    walk("GET", "/servers/1", expect=404)
    walk.cloud.catalogue.stock_out("cx33")
    walk("POST", "/servers", {**made, "name": "two", "server_type": "cx33"}, expect=412)
    walk.cloud.project.limits["servers"] = 1
    walk("POST", "/servers", {**made, "name": "two"}, expect=403)
    walk("POST", f"/servers/{number}/actions/change_protection", {"delete": True, "rebuild": True})
    walk("DELETE", f"/servers/{number}", expect=423)
    walk.cloud.app.rate.left = walk.cloud.app.rate.a_second = 0
    walk("GET", "/servers", expect=429)
    assert walk.cloud.app.violations == []


def test_the_judge_sees_what_is_wrong() -> None:
    judge = contract()
    assert judge is not None
    good = {"id": 1, "name": "a", "labels": {}, "created": "2026-11-21T12:00:00+00:00", "type": "spread", "servers": []}

    def said(**wrong: Any) -> str:
        row = {"placement_group": {**good, **wrong}}
        return " ".join(judge.problems("GET", "/placement_groups/{id}", 200, row))

    assert said() == ""
    assert "is not of type 'integer'" in said(id="1")
    assert "is not a 'date-time'" in said(created="yesterday")
    assert "'colour' was unexpected" in said(colour="red")
    assert "is not one of ['spread']" in said(type="star")
    assert judge.problems("GET", "/nowhere", 200, {}) != []
