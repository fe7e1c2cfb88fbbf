"""The stage ``names`` and the stand-in for Cloudflare's API, whose records a real name server (Knot DNS) answers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from binder_node.errors import StepError
from binder_node.events import silent
from binder_node.names.cloudflare import Cloudflare
from binder_node.names.stage import NamesStage
from binder_node.spec.public import CloudflareDns
from tests.integration.names_fixtures import BINDER, CREATED, ELSEWHERE, HERE, HUB, ZONE, served, stage_of, up
from tests.testbed.cloudflare import READ, WRITE, CloudflareApi, Refusal
from tests.testbed.knot import Knot, publish
from tests.unit.host_samples import sample_secrets

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="apt fetches the name server as root only"),
]

OURS = "managed by binder-node bids-1"
MADE = [f"A {name} {HERE} {OURS}" for name in (f"*.{BINDER}", BINDER, HUB)]


@pytest.fixture(scope="module")
def knot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Knot]:
    with served(tmp_path_factory.mktemp("knot")) as server:
        yield server


@pytest.fixture
def api(knot: Knot, monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudflareApi]:
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", WRITE)
    publish(knot, ZONE, [])

    def published(zone: str, rows: list[dict[str, Any]]) -> None:
        publish(knot, zone, [(row["type"], row["name"], row["content"]) for row in rows])

    with CloudflareApi(published=published) as served:
        yield served


def stage(api: CloudflareApi, knot: Knot, address: str = HERE, name: str = "bids-1", **more: Any) -> NamesStage:
    said = {"kind": "cloudflare", "zone": ZONE, "endpoint": api.endpoint, "nameservers": [knot.name], "wait": 5}
    return stage_of({**said, **more}, address, name=name)


def test_a_first_up_writes_a_second_finds_nothing_and_destroy_takes_that_alone(api: CloudflareApi, knot: Knot) -> None:
    api.put(ZONE, "A", "www.example.org", ELSEWHERE)
    made = stage(api, knot)
    assert up(made) == CREATED
    others = [f"A www.example.org {ELSEWHERE} -"]
    assert api.contents(ZONE) == [*MADE, *others]
    assert up(made) == []
    made.destroy(silent)
    assert api.contents(ZONE) == others
    made.destroy(silent)


def test_another_address_and_another_name_are_followed(api: CloudflareApi, knot: Knot) -> None:
    up(stage(api, knot))
    assert up(stage(api, knot, "198.51.100.8"))[0] == f"update A {BINDER} {HERE} -> 198.51.100.8"
    names = {"binder": "new.example.org", "hub": "hub.new.example.org", "registry": "r.new.example.org"}
    moved = stage_of(stage(api, knot).node.spec.dns.model_dump(), names=names)
    assert f"delete A {BINDER} 198.51.100.8" in up(moved)
    assert api.contents(ZONE) == [
        f"A {name} {HERE} {OURS}" for name in ("*.new.example.org", "hub.new.example.org", "new.example.org")
    ]


@pytest.mark.parametrize(
    ("kind", "content", "proxied"),
    [("A", ELSEWHERE, False), ("CNAME", "www.example.org", False), ("AAAA", "2001:db8::1", False), ("A", HERE, True)],
)
def test_a_record_of_others_is_refused_whole_and_written_over_when_told(
    api: CloudflareApi, knot: Knot, kind: str, content: str, proxied: bool
) -> None:
    """One that the proxy answers for leads to Cloudflare, even where its content is the node's address."""
    api.put(ZONE, kind, BINDER, content, proxied=proxied)
    before = api.contents(ZONE)
    with pytest.raises(StepError, match=rf"{kind} {BINDER} .* is there and not this node's .*adopt: true"):
        up(stage(api, knot))
    assert api.contents(ZONE) == before
    up(stage(api, knot, adopt=True))
    assert api.contents(ZONE) == MADE
    assert up(stage(api, knot)) == []


def test_the_records_of_a_node_whose_name_begins_alike_are_not_ours(api: CloudflareApi, knot: Knot) -> None:
    up(stage(api, knot, name="bids-11"))
    stage(api, knot).destroy(silent)
    assert len(api.contents(ZONE)) == 3


def test_an_answer_that_was_lost_makes_nothing_twice(api: CloudflareApi, knot: Knot) -> None:
    api.cut = True
    with pytest.raises(StepError, match="the same command goes on"):
        up(stage(api, knot))
    assert up(stage(api, knot)) == []
    assert len(api.contents(ZONE)) == 3


def test_a_busy_or_broken_api_is_asked_again_as_it_says(api: CloudflareApi, knot: Knot) -> None:
    api.faults = [Refusal(429, 10429, "Rate limited", {"Retry-After": "1"}), Refusal(502, 0, "Bad gateway")]
    began = time.monotonic()
    assert len(up(stage(api, knot))) == 3
    assert time.monotonic() - began >= 1
    assert len([line for line in api.asked if line.startswith("POST")]) == 1


def test_a_limit_that_does_not_end_is_told(api: CloudflareApi) -> None:
    dns = CloudflareDns(kind="cloudflare", zone=ZONE, endpoint=api.endpoint)
    api.faults = [Refusal(429, 10429, "Rate limited", {"Retry-After": "280"})]
    with pytest.raises(StepError, match=r"HTTP 429: Rate limited \(10429\) -> .* in five minutes"):
        Cloudflare("bids-1", dns, sample_secrets().host_key, patience=2).read([BINDER])


def test_a_token_that_is_wrong_or_may_only_read_is_told(
    api: CloudflareApi, knot: Knot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "x" * 40)
    with pytest.raises(StepError, match=r"HTTP 401: Invalid access token \(9109\) -> make a token with") as wrong:
        up(stage(api, knot))
    assert "xxx" not in str(wrong.value)
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", READ)
    with pytest.raises(StepError, match=r"HTTP 403: .*permission DNS, edit"):
        up(stage(api, knot))
    assert api.contents(ZONE) == []


def test_a_zone_that_the_token_does_not_show(api: CloudflareApi, knot: Knot) -> None:
    with pytest.raises(StepError, match=r"the token does not show it; it shows example\.org -> check dns\.zone"):
        up(stage(api, knot, zone="bids.example.org"))


def test_a_zone_of_many_records_is_read_page_by_page(api: CloudflareApi, knot: Knot) -> None:
    for number in range(230):
        api.zones[ZONE][f"x{number}"] = {
            "id": f"x{number}", "type": "A", "name": BINDER, "content": f"192.0.2.{number}", "ttl": 60,
            "proxied": False, "comment": OURS,
        }  # fmt: skip
    up(stage(api, knot))
    assert api.contents(ZONE) == MADE
