"""The stage ``names`` and the stand-in for Hetzner's API, whose records a real name server (Knot DNS) answers."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from binder_node.errors import StepError
from binder_node.events import silent
from binder_node.names.hetzner import absolute
from binder_node.names.stage import NamesStage
from tests.integration.names_fixtures import BINDER, CREATED, ELSEWHERE, HERE, HUB, ZONE, served, stage_of, up
from tests.testbed.hetzner.faults import Fault
from tests.testbed.hetzner.resources import Zone
from tests.testbed.hetzner.server import HetznerApi
from tests.testbed.knot import Knot, publish

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="apt fetches the name server as root only"),
]

OURS = "bids-1"


@pytest.fixture(scope="module")
def knot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Knot]:
    with served(tmp_path_factory.mktemp("knot")) as server:
        yield server


@pytest.fixture
def cloud(knot: Knot, monkeypatch: pytest.MonkeyPatch) -> Iterator[HetznerApi]:
    """A project with the zone, and somebody who tells the name server what the API was told."""
    over = threading.Event()
    with HetznerApi(pace=0) as made:
        monkeypatch.setenv("HCLOUD_TOKEN", made.token)
        client(made).zones.create(name=ZONE, mode="primary")
        publisher = threading.Thread(target=lambda: follow(made, knot, over))
        publisher.start()
        try:
            yield made
        finally:
            over.set()
            publisher.join(10)


def follow(cloud: HetznerApi, knot: Knot, over: threading.Event) -> None:
    while not over.wait(0.1):
        wanted = sorted((kind, name, value) for kind, name, value, _ in records(cloud))
        if wanted != knot.published:
            publish(knot, ZONE, wanted)


def client(cloud: HetznerApi) -> Any:
    from hcloud import Client

    return Client(cloud.token, api_endpoint=cloud.endpoint, poll_interval=0)


def zone_of(cloud: HetznerApi) -> Zone:
    (zone,) = cloud.project.zones.values()
    return zone


def records(cloud: HetznerApi) -> list[tuple[str, str, str, str]]:
    """Kind, name, value and owner of each record that leads somewhere."""
    found = []
    for (name, kind), row in list(zone_of(cloud).sets.items()):
        owner = row.labels.get("binder-node/node", "")
        if kind in ("A", "AAAA", "CNAME"):
            found += [(kind, absolute(name, ZONE), str(record["value"]), owner) for record in row.records]
    return sorted(found)


def put(cloud: HetznerApi, kind: str, name: str, value: str) -> None:
    """A record set as somebody else made it."""
    from hcloud.zones import ZoneRecord

    zone = client(cloud).zones.get(ZONE)
    zone.create_rrset(name=name, type=kind, records=[ZoneRecord(value)])


def stage(cloud: HetznerApi, knot: Knot, address: str = HERE, name: str = OURS, **more: Any) -> NamesStage:
    said = {"kind": "hetzner", "zone": ZONE, "endpoint": cloud.endpoint, "nameservers": [knot.name], "wait": 10}
    return stage_of({**said, **more}, address, name=name)


# Each hits one request or action, in the order in which they come.
FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "answer", "method": "POST", "status": 500, "after": True},
    {"kind": "cut", "method": "POST", "after": True, "skip": 1},
    {"kind": "answer", "method": "GET", "status": 429, "code": "rate_limit_exceeded"},
)

ALL = [("A", name, HERE, OURS) for name in (f"*.{BINDER}", BINDER, HUB)]


def test_a_first_up_writes_a_second_finds_nothing_and_destroy_takes_that_alone(cloud: HetznerApi, knot: Knot) -> None:
    put(cloud, "A", "www", ELSEWHERE)
    made = stage(cloud, knot)
    assert up(made) == CREATED
    assert records(cloud) == [*ALL, ("A", f"www.{ZONE}", ELSEWHERE, "")]
    assert up(made) == []
    made.destroy(silent)
    assert records(cloud) == [("A", f"www.{ZONE}", ELSEWHERE, "")]
    made.destroy(silent)


def test_another_address_and_another_ttl_are_followed(cloud: HetznerApi, knot: Knot) -> None:
    up(stage(cloud, knot))
    assert up(stage(cloud, knot, "198.51.100.8", ttl=120))[0] == f"update A {BINDER} {HERE} -> 198.51.100.8"
    assert {row.ttl for (name, kind), row in zone_of(cloud).sets.items() if kind == "A"} == {120}
    assert up(stage(cloud, knot, "198.51.100.8", ttl=60))[0].endswith("ttl 120 -> 60")


@pytest.mark.parametrize(("kind", "value"), [("A", ELSEWHERE), ("CNAME", "www"), ("AAAA", "2001:db8::1")])
def test_a_record_of_others_is_refused_whole_and_written_over_when_told(
    cloud: HetznerApi, knot: Knot, kind: str, value: str
) -> None:
    put(cloud, kind, "bids", value)
    before = records(cloud)
    with pytest.raises(StepError, match=rf"{kind} {BINDER} .* is there and not this node's .*adopt: true"):
        up(stage(cloud, knot))
    assert records(cloud) == before
    up(stage(cloud, knot, adopt=True))
    assert records(cloud) == ALL
    assert up(stage(cloud, knot)) == []


def test_a_node_takes_over_from_another_only_when_told(cloud: HetznerApi, knot: Knot) -> None:
    up(stage(cloud, knot))
    with pytest.raises(StepError, match="not this node's"):
        up(stage(cloud, knot, "198.51.100.8", "bids-2"))
    up(stage(cloud, knot, "198.51.100.8", "bids-2", adopt=True))
    stage(cloud, knot).destroy(silent)
    assert {(value, owner) for _, _, value, owner in records(cloud)} == {("198.51.100.8", "bids-2")}


def test_answers_that_are_lost_or_late_make_nothing_twice(cloud: HetznerApi, knot: Knot) -> None:
    for fault in FAULTS:
        cloud.faults.add(Fault(**fault))
    up(stage(cloud, knot))
    assert records(cloud) == ALL
    assert up(stage(cloud, knot)) == []


def test_an_action_that_fails_is_told_and_the_next_run_goes_on(cloud: HetznerApi, knot: Knot) -> None:
    cloud.faults.add(Fault("fail", command="create_rrset", message="no luck today"))
    with pytest.raises(StepError, match="no luck today"):
        up(stage(cloud, knot))
    up(stage(cloud, knot))
    assert records(cloud) == ALL


def test_a_zone_that_the_project_does_not_have(cloud: HetznerApi, knot: Knot) -> None:
    with pytest.raises(StepError, match=r"the token does not show it; it shows example\.org -> check dns\.zone"):
        up(stage(cloud, knot, zone="bids.example.org"))


def test_a_token_that_may_only_read(cloud: HetznerApi, knot: Knot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HCLOUD_TOKEN", cloud.read_token)
    with pytest.raises(StepError, match="this token may only read"):
        up(stage(cloud, knot))
    assert records(cloud) == []
