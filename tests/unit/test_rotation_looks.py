"""What a rotation reads off nodes: launches that end, images that are wanted, and what all of it takes."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest

from binder_node.errors import Problem
from binder_node.federation.drain import Left
from binder_node.federation.measured import Counters, Sample
from binder_node.lifecycle.mirroring import missing
from binder_node.providers.offers import Bill, Offer, line
from binder_node.rotation.pair import alone, drawn, mirrored, together
from binder_node.rotation.popular import popular
from binder_node.rotation.quiet import Traffic, quiet_since, traffic
from binder_node.rotation.steps import Step
from binder_node.rotation.timeline import Phase, Timeline, timeline
from binder_node.spec.model import Spec
from tests.unit.host_samples import sample_spec

ZONE = {"kind": "rfc2136", "zone": "example.org", "server": "ns.example.org", "key": "k", "ttl": 60, "wait": 600}


def generation(number: int, **said: object) -> Spec:
    more: dict[str, object] = {
        "name": f"bids-{number}",
        "names": {"hub": f"hub-{number}.bids.example.org"},
        "dns": ZONE,
        "replaces": f"bids-{number - 1}" if number > 1 else "",
        "provider": {"address": f"198.18.7.{20 + number}"},
    }
    return sample_spec(**{**more, **said})


def keys(problems: object) -> list[str]:
    return [problem.path for problem in problems]  # type: ignore[attr-defined]


# --- silence -------------------------------------------------------------------------------------------------------


def look(at: float, under_way: float = 0, ended: float = 5, started: float = 1) -> Traffic:
    return Traffic(at, under_way, ((started, ended),))


def test_a_look_counts_every_process() -> None:
    one, other = Counters(1, {"success": 3}, launching=1), Counters(2, {"failure": 1}, 2, {}, {"success": 4}, 1)
    assert traffic(Sample(7, (one, other))) == Traffic(7, 2, ((1, 3.0), (2, 7.0)))
    assert traffic(Sample(7, (one,), error="no")) is None
    assert traffic(Sample(7)) is None


@pytest.mark.parametrize(
    ("looks", "since"),
    [
        ([], None),
        ([look(1)], 1),
        ([look(1), look(2), look(3)], 1),
        ([look(1), look(2, under_way=1), look(3)], 3),
        ([look(1), look(2), look(3, under_way=1)], None),
        # Begun and ended between two looks.
        ([look(1), look(2), look(3, ended=6), look(4, ended=6)], 3),
        # A restart: what it had counted is gone, and nobody knows.
        ([look(1), look(2, ended=5, started=2)], 2),
    ],
)
def test_since_when_nothing_was_launched(looks: list[Traffic], since: float | None) -> None:
    assert quiet_since(looks) == since


# --- images --------------------------------------------------------------------------------------------------------


def test_the_images_launched_most() -> None:
    rows = [
        '      2 "GET /v2/binder/r2d-a/manifests/11 HTTP/1.1" 200',
        '      9 "GET /v2/binder/r2d-b/manifests/22 HTTP/1.1" 200',
        '      1 "GET /v2/binder/r2d-b/manifests/22 HTTP/2.0" 200',
        '     90 "GET /v2/binder/some-image-name/manifests/12345 HTTP/1.1" 404',
        '     90 "GET /v2/binder/r2d-b/manifests/sha256:77 HTTP/1.1" 200',
        '     90 "GET /v2/other/r2d-b/manifests/33 HTTP/1.1" 200',
        '     90 "GET /v2/ HTTP/1.1" 200',
        "a line of something else",
    ]
    assert popular(rows, "r.test:5000", "binder", 9) == ("r.test:5000/binder/r2d-b:22", "r.test:5000/binder/r2d-a:11")
    assert popular(rows, "r.test:5000", "binder", 1) == ("r.test:5000/binder/r2d-b:22",)


def test_objects_are_copied_before_what_names_them() -> None:
    have = {
        "docker/registry/v2/repositories/a/_manifests/tags/1/current/link": (71, "x"),
        "docker/registry/v2/repositories/a/_uploads/7/data": (9, "u"),
        "docker/registry/v2/blobs/sha256/aa/aa/data": (100, "parts-2"),
        "docker/registry/v2/blobs/sha256/bb/bb/data": (5, "b"),
        "docker-hub/docker/registry/v2/blobs/sha256/cc/cc/data": (5, "c"),  # to be had at Docker Hub
    }
    there = {"docker/registry/v2/blobs/sha256/aa/aa/data": (100, "whole")}
    assert missing(have, there) == [
        "docker/registry/v2/blobs/sha256/bb/bb/data",
        "docker/registry/v2/repositories/a/_manifests/tags/1/current/link",
    ]
    # A tag that was moved has another content under the same name and of the same size.
    assert missing(have, {**have, next(iter(have)): (71, "y")}) == [next(iter(have))]


# --- two inventories -----------------------------------------------------------------------------------------------


def test_two_generations_go_together() -> None:
    assert list(together(generation(1), generation(2), "bids-2.yaml")) == []


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ({"replaces": "other-1"}, "replaces"),
        ({"names": {"hub": "hub-1.bids.example.org"}}, "names.hub"),
        ({"names": {"hub": "h.example.org", "binder": "other.example.org"}}, "names.binder"),
        ({"registry": {"prefix": "other"}}, "registry.prefix"),
        ({"federation": {"member": "bids"}}, "federation.member"),
        ({"dns": {**ZONE, "zone": "bids.example.org"}}, "dns"),
        ({"provider": {"address": "198.18.7.21"}}, "provider.address"),
    ],
)
def test_what_keeps_two_from_being_generations_of_one_node(said: dict[str, object], key: str) -> None:
    assert key in keys(together(generation(1), generation(2, **said), "bids-2.yaml"))


def test_a_quota_of_0_is_refused_while_the_inventory_is_drawn_and_no_more_afterwards() -> None:
    closed = generation(2, binderhub={"quota": 0})
    assert keys(drawn(generation(1), closed)) == ["binderhub.quota"]
    assert keys(together(generation(1), closed, "bids-2.yaml")) == []


def test_what_cannot_be_rotated() -> None:
    assert list(alone(generation(1), "f")) == []
    found: list[Problem] = list(alone(sample_spec(), "bids-1.yaml"))
    assert [str(one) for one in found] == [
        "bids-1.yaml: dns.kind: none: what moves launches to the new node is the record of names.binder; "
        "say who has the zone: cloudflare, hetzner, rfc2136 or manual"
    ]
    assert keys(alone(generation(2), "f")) == ["replaces"]


def test_whose_images_have_to_be_carried() -> None:
    s3 = {"kind": "s3", "endpoint": "https://s3.test", "bucket": "images"}
    other = {**s3, "bucket": "others"}
    assert mirrored(generation(1), generation(2))
    assert not mirrored(generation(1, storage=s3), generation(2, storage=s3))
    assert mirrored(generation(1, storage=s3), generation(2, storage=other))


# --- time and money ------------------------------------------------------------------------------------------------


def test_the_timeline_counts_sessions_and_ttl() -> None:
    common = {"max_age": 21600.0, "images": 10, "deep": True}
    made = timeline(generation(1), generation(2), left=Left(3, 4000, 20000), mirrored=False, **common)  # type: ignore[arg-type]
    by_step = {phase.step: phase for phase in made}
    assert by_step[Step.SETTLE].likely == 60
    assert (by_step[Step.WAIT].likely, by_step[Step.WAIT].most) == (4000, 21600)
    assert Step.MIRROR not in by_step
    forever = timeline(generation(1), generation(2), left=None, mirrored=True, **{**common, "max_age": 0.0})  # type: ignore[arg-type]
    assert math.isinf(Timeline(forever).most)
    assert Step.MIRROR in {phase.step for phase in forever}


def bill(monthly: str) -> Bill:
    price = Decimal(monthly)
    offer = Offer("local", "x", "", 2, 1, 1, "amd64", "dedicated", price, price / 730, "EUR", 0, Decimal(0))
    return Bill(offer, (line("machine", price, fixed=True), line("traffic", Decimal(50))), (), Decimal(0), 1, 1)


def test_the_overlap_costs_the_dearer_machine_for_each_hour_begun() -> None:
    phases = (
        Phase(Step.UP, "", 3600, 7200),
        Phase(Step.WAIT, "", 1800, 7200),
        Phase(Step.RETIRE, "", 9e9, 9e9, both=False),
    )
    made = Timeline(phases, bill("73"), bill("146"))
    assert (made.cost(), made.cost(most=True)) == (Decimal("0.40"), Decimal("0.80"))
    assert Timeline(phases, None, bill("146")).cost() is None
