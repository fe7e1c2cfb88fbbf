"""What the Hetzner provider decides: what to buy, what is left to do, what goes, what is not ours."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from binder_node.errors import StepError
from binder_node.providers.base import KEEP, NOTHING
from binder_node.providers.hetzner.market import choose, describe, fixed_price, nothing_left
from binder_node.providers.hetzner.model import Firewall, Group, Key, Project, Rule, Seen, Server, labels, selector
from binder_node.providers.hetzner.plan import (
    check,
    doomed,
    drift,
    leftovers,
    pinned,
    rules,
    same_rules,
    steps,
)
from binder_node.providers.hetzner.transport import explain, seconds_until
from binder_node.providers.volume import script
from binder_node.spec.model import Spec
from tests.unit.hetzner_samples import (
    BIG,
    GROUP,
    LOGIN_KEY,
    NAME,
    OURS,
    STRANGER,
    TODAY,
    VOLUME,
    row,
    sample_market,
    seen,
    server,
    spec,
    whole,
)


def kinds(node: Spec, look: Seen) -> list[str]:
    return [step.kind for step in steps(node, LOGIN_KEY, look)]


# What to buy


def test_the_best_type_is_tried_everywhere_before_the_next() -> None:
    node = spec(machine={"cpus": 16, "memory": "64G", "disk": "300G"}, types=["ccx63", "ccx43"])
    choice = choose(node, sample_market(), TODAY)
    assert [(offer.type, offer.location) for offer in choice.offers] == [
        ("ccx63", "nbg1"), ("ccx63", "fsn1"), ("ccx43", "nbg1"), ("ccx43", "fsn1"),
    ]  # fmt: skip
    assert choice.rejected == ()


def test_an_address_from_before_holds_the_node_to_its_location() -> None:
    choice = choose(spec(), sample_market(), TODAY, "fsn1")
    assert [offer.location for offer in choice.offers] == ["fsn1"]


@pytest.mark.parametrize(
    ("node", "rows", "reason"),
    [
        (spec(types=["ccx36"]), (BIG,), "ccx36: there is no such server type (any more); ccx63 would do"),
        (spec(locations=["nbg2"]), (BIG,), "ccx63 in nbg2: there is no such location; there are ash, fsn1, nbg1"),
        (
            spec(locations=["nbg1"]),
            (row("ccx63", 48, 192, 960, "1", places=(("fsn1", True, None), ("nbg1", False, None))),),
            "ccx63 in nbg1: sold out",
        ),
        (
            spec(locations=["nbg1"]),
            (row("ccx63", 48, 192, 960, "1", places=(("fsn1", True, None),)),),
            "ccx63 in nbg1: sold out",
        ),
        (
            spec(locations=["nbg1"]),
            (row("ccx63", 48, 192, 960, "1", places=(("nbg1", True, TODAY),)),),
            "ccx63 in nbg1: withdrawn since 2026-11-21",
        ),
        (
            spec(locations=["nbg1"]),
            (row("ccx63", 48, 128, 960, "1"),),
            "ccx63 in nbg1: 128G of memory are less than machine.memory, 192G",
        ),
        (
            spec(locations=["nbg1"]),
            (row("ccx63", 32, 192, 960, "1"),),
            "ccx63 in nbg1: 32 cores are less than machine.cpus, 48",
        ),
        (
            spec(locations=["nbg1"]),
            (row("ccx63", 48, 192, 500, "1"),),
            "ccx63 in nbg1: 500G of disk are less than machine.disk, 900G",
        ),
        (
            spec(locations=["nbg1"]),
            (row("ccx63", 48, 192, 960, "1", architecture="arm"),),
            "ccx63 in nbg1: its processor is arm64, machine.arch is amd64",
        ),
        (
            spec(locations=["nbg1"], max_price=288),
            (BIG,),
            "ccx63 in nbg1: 288.99 EUR a month are more than max_price, 288",
        ),
    ],
)
def test_what_cannot_be_had_says_why(node: Spec, rows: tuple[Any, ...], reason: str) -> None:
    choice = choose(node, sample_market(*rows), TODAY)
    assert (choice.offers, choice.rejected) == ((), (reason,))
    error = nothing_left(node, choice.rejected)
    assert reason in str(error)
    assert "binder-node offers" in error.remedy


def test_a_server_goes_where_its_bucket_is_near() -> None:
    bucket = {"kind": "s3", "endpoint": "https://nbg1.your-objectstorage.com", "bucket": "bids-registry"}
    # The rule on the inventory knows the locations of today only; the API knows tomorrow's.
    node = spec(storage=bucket, locations=["ash", "nbg1"])
    choice = choose(node, sample_market(), TODAY)
    assert choice.rejected == ("ccx63 in ash: in us-east, but its bucket is in eu-central",)
    assert [offer.location for offer in choice.offers] == ["nbg1"]


def test_a_small_disk_will_do_where_the_state_is_on_a_volume() -> None:
    node = spec(volume="900G", locations=["nbg1"])
    choice = choose(node, sample_market(row("ccx63", 48, 192, 80, "1")), TODAY)
    assert len(choice.offers) == 1


def test_the_limit_counts_server_address_and_volume() -> None:
    market = sample_market()
    offer = market.find("ccx63", "nbg1")
    assert offer is not None
    assert fixed_price(spec(), market, offer) == Decimal("288.99")
    assert fixed_price(spec(volume="100G"), market, offer) == Decimal("293.39")
    assert len(choose(spec(max_price=288.99, locations=["nbg1"]), market, TODAY).offers) == 1
    assert describe(spec(), market, offer) == "ccx63 in nbg1 (48 cores, 192G, 960G disk), 288.99 EUR a month"


def test_a_type_that_goes_tomorrow_can_be_had_today() -> None:
    last = row("ccx63", 48, 192, 960, "1", places=(("nbg1", True, date(2026, 11, 22)),))
    (offer,) = choose(spec(locations=["nbg1"]), sample_market(last), TODAY).offers
    assert offer.deprecated == date(2026, 11, 22)


# What is left to do


def test_from_nothing() -> None:
    assert kinds(spec(), Seen()) == ["key", "firewall", "server", "address", "ssh"]
    everything = spec(volume="100G", placement="members")
    assert kinds(everything, Seen()) == ["key", "firewall", "group", "server", "address", "volume", "ssh", "mount"]
    (first, *_) = steps(everything, LOGIN_KEY, Seen())
    assert first.change().what == f"ssh key {NAME}"


def test_when_all_is_there_nothing_is_left() -> None:
    assert kinds(spec(), seen(spec())) == []
    node = spec(volume="100G", placement="members")
    assert kinds(node, seen(node, volumes=(VOLUME,), groups=(GROUP,))) == []


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ({"servers": ()}, ["server", "ssh"]),
        ({"keys": ()}, ["key"]),
        ({"keys": (Key(1, NAME, OURS, "ssh-ed25519 OTHER x"),)}, ["key"]),
        ({"keys": (Key(1, NAME, OURS, LOGIN_KEY.replace(NAME, "laptop")),)}, []),
        ({"firewalls": ()}, ["firewall"]),
        ({"firewalls": (Firewall(2, NAME, OURS, ()),)}, ["firewall"]),
        ({"addresses": ()}, ["address"]),
        ({"servers": (server(status="off"),)}, ["start", "ssh"]),
        ({"servers": (server(status="initializing"),)}, ["wait", "ssh"]),
        ({"servers": (server(status="off", failed="server_error: no"),)}, ["broken", "server", "ssh"]),
        ({"servers": (server(status="deleting"),)}, ["broken", "server", "ssh"]),
        ({"servers": (server(firewalls=frozenset()),)}, ["guard"]),
        # A host in trouble passes; the server on it is not made anew.
        ({"servers": (server(status="unknown"),)}, ["ssh"]),
    ],
)
def test_what_is_missing_is_what_is_left(said: dict[str, Any], left: list[str]) -> None:
    assert kinds(spec(), seen(spec(), **said)) == left


def test_a_login_that_fails_is_left_to_wait_for() -> None:
    look = replace(seen(spec()), hindrance="port 22 does not answer")
    (step,) = steps(spec(), LOGIN_KEY, look)
    assert step.what == "wait for ssh: port 22 does not answer"


def test_a_volume_is_made_larger_attached_and_mounted() -> None:
    node = spec(volume="200G")
    loose = replace(VOLUME, server=None)
    look = replace(seen(node, volumes=(loose,)), mounted=False)
    assert kinds(node, look) == ["volume", "attach", "mount"]
    assert steps(node, LOGIN_KEY, look)[0].what == f"volume {NAME}: from 100 to 200 GB"
    # With a server that is made anew it comes by itself.
    assert kinds(node, replace(look, project=whole(node, servers=(), volumes=(loose,)))) == [
        "server", "volume", "ssh", "mount",
    ]  # fmt: skip


def test_an_address_that_is_not_to_be_kept_goes_with_its_server() -> None:
    node = spec(keep_address=False)
    assert kinds(node, seen(node)) == ["address"]
    assert kinds(node, seen(node, addresses=())) == []


def test_the_firewall_lets_in_whom_the_inventory_names() -> None:
    node = spec()
    said = {"ssh": {"admin_networks": ["192.0.2.0/24"]}, "kubernetes": {"api_from": ["198.51.100.7/32"]}}
    data = node.model_dump(mode="json")
    closed = Spec.model_validate({**data, **{key: {**data[key], **value} for key, value in said.items()}})
    assert rules(closed) == (
        Rule("icmp", "", ("0.0.0.0/0",), "ping"),
        Rule("tcp", "22", ("192.0.2.0/24",), "ssh"),
        Rule("tcp", "80", ("0.0.0.0/0",), "http"),
        Rule("tcp", "443", ("0.0.0.0/0",), "https"),
        Rule("tcp", "6443", ("198.51.100.7/32",), "Kubernetes"),
    )
    assert "6443" not in {rule.port for rule in rules(node)}
    assert same_rules(rules(closed), [replace(rule, description="") for rule in reversed(rules(closed))])
    assert not same_rules(rules(closed), rules(node))
    (step,) = steps(closed, LOGIN_KEY, seen(node))
    assert step.what == (f"firewall {NAME}: ping, ssh from 192.0.2.0/24, http, https, Kubernetes from 198.51.100.7/32")


# What is not ours


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"servers": (server(labels=STRANGER),)}, "server bids-1 (id 4) was not made by binder-node"),
        ({"servers": (server(labels=labels("ovh")),)}, "server bids-1 (id 4) belongs to the node ovh"),
        ({"servers": (server(labels={"binder-node/node": NAME}),)}, "was not made by binder-node"),
        ({"keys": (Key(1, NAME, STRANGER, LOGIN_KEY),)}, "ssh key bids-1 (id 1) was not made by binder-node"),
        ({"firewalls": (Firewall(2, NAME, STRANGER),)}, "firewall bids-1 (id 2)"),
        ({"volumes": (replace(VOLUME, labels=STRANGER),)}, "volume bids-1 (id 6)"),
    ],
)
def test_a_name_that_somebody_else_has_is_left_alone(said: dict[str, Any], words: str) -> None:
    with pytest.raises(StepError, match="it was left as it is") as caught:
        check(spec(), whole(spec(), **said))
    assert words in str(caught.value)


def test_two_servers_with_the_nodes_labels_are_for_a_person_to_judge() -> None:
    second = Server(9, "bids-old", OURS, status="running", ip="203.0.113.9")
    with pytest.raises(StepError, match=r"bids-1 \(id 4, .*\) and bids-old \(id 9, .*\) both carry"):
        check(spec(), whole(spec(), servers=(server(), second)))


def test_what_is_kept_elsewhere_is_said_and_not_left_behind() -> None:
    (address,) = whole(spec()).addresses
    kept = Project(addresses=(replace(address, server=None, location="hel1"),))
    assert pinned(spec(), kept) == "hel1"
    with pytest.raises(StepError, match=r"address 203\.0\.113\.20 wait in hel1, .*add hel1"):
        check(spec(), kept)
    with pytest.raises(StepError, match=r"is with another server \(id 77\)"):
        check(spec(), whole(spec(), addresses=(replace(address, server=77),)))
    check(spec(), Project(addresses=(replace(address, server=None, location="fsn1"),)))


def test_anybodys_placement_group_will_do() -> None:
    node = spec(placement="members")
    theirs = Group(7, "members", STRANGER, (1, 2))
    check(node, whole(node, groups=(theirs,)))
    assert kinds(node, seen(node, groups=(theirs,))) == []
    assert "placement group" not in {one.kind for one in doomed(node, whole(node, groups=(theirs,)), NOTHING)}


def test_what_up_does_not_change_is_told() -> None:
    assert drift(spec(), seen(spec())) == ""
    small = seen(spec(), servers=(server(type="cx23"),))
    assert drift(spec(), small) == "the server is a cx23; provider.types says ccx63"


# What goes


def test_destroy_goes_from_the_server_outwards_and_keeps_address_and_volume() -> None:
    node = spec(volume="100G", placement="members")
    there = whole(node, volumes=(VOLUME,), groups=(GROUP,))
    assert [one.what for one in doomed(node, there, KEEP)] == [
        "server bids-1 (ccx63 in nbg1, 203.0.113.20, id 4)",
        "firewall bids-1 (id 2)",
        "placement group members (id 7)",
        "ssh key bids-1 (id 1)",
    ]
    assert [one.kind for one in doomed(node, there, NOTHING)] == [
        "server", "volume", "primary IP", "firewall", "placement group", "ssh key",
    ]  # fmt: skip
    shared = replace(GROUP, servers=(4, 99))
    assert "placement group" not in {one.kind for one in doomed(node, whole(node, groups=(shared,)), NOTHING)}


def test_destroy_touches_nothing_without_the_nodes_labels() -> None:
    near = {**OURS, "managed-by": "terraform"}
    there = Project(
        servers=(server(labels=near), server(labels=labels("ovh")), server(labels=STRANGER)),
        keys=(Key(1, NAME, near, LOGIN_KEY),),
        volumes=(replace(VOLUME, labels={"binder-node/nodes": NAME}),),
    )
    assert doomed(spec(), there, NOTHING) == []


def test_a_protection_stops_all_of_it() -> None:
    with pytest.raises(StepError, match=r"protected against deletion: server bids-1 .*nothing was deleted"):
        doomed(spec(), whole(spec(), servers=(server(protected=True),)), KEEP)
    # One on what is kept anyway stops nothing.
    (address,) = whole(spec()).addresses
    guarded = whole(spec(), addresses=(replace(address, protected=True),))
    assert doomed(spec(), guarded, KEEP)
    with pytest.raises(StepError, match="primary IP bids-1"):
        doomed(spec(), guarded, NOTHING)


def test_a_server_whose_address_is_not_kept_takes_it_along() -> None:
    (first, *_) = doomed(spec(), whole(spec(), addresses=()), KEEP)
    assert first.what.endswith(", with its address")


def test_leftovers_are_other_nodes_and_what_this_one_does_not_want() -> None:
    there = whole(
        spec(),
        servers=(server(), server(labels=labels("gone"), name="gone")),
        volumes=(VOLUME,),
        groups=(Group(7, "used", labels("gone"), (4,)), Group(8, "empty", labels("gone"))),
    )
    assert [(one.kind, one.name, one.node) for one in leftovers(NAME, False, there)] == [
        ("server", "gone", "gone"),
        ("volume", NAME, NAME),
        ("placement group", "empty", "gone"),
    ]
    assert [one.name for one in leftovers(NAME, True, there)] == ["gone", "empty"]


def test_labels_select_what_they_mark() -> None:
    assert labels("bids") == {"binder-node/node": "bids", "managed-by": "binder-node"}
    assert selector("bids") == "managed-by=binder-node,binder-node/node=bids"
    assert selector() == "managed-by=binder-node"


# What a refusal means


@pytest.mark.parametrize(
    ("code", "reason", "remedy"),
    [
        ("unauthorized", "the API does not take this token", "HCLOUD_TOKEN"),
        ("token_readonly", "this token may only read", "read and write"),
        ("resource_limit_exceeded", "the project's limit is reached", "Limits"),
        ("brand_new_code", "the API refused: brand_new_code: told", ""),
    ],
)
def test_a_refusal_is_one_line_with_what_to_do(code: str, reason: str, remedy: str) -> None:
    error = explain("bids", "create server bids", code, "told")
    assert str(error).startswith(f"bids: create server bids: {reason}")
    assert code in str(error)
    assert remedy in error.remedy
    assert "\n" not in str(error)


def test_the_wait_for_the_rate_limit_is_by_the_apis_own_clock() -> None:
    theirs = datetime.fromtimestamp(1_700_000_000, UTC)
    assert seconds_until("1700000007", theirs) == 7
    assert seconds_until("1600000000", theirs) == 0
    assert seconds_until("soon", theirs) == 1


def test_the_volumes_script_never_formats_what_has_a_filesystem_and_covers_no_folder() -> None:
    text = script("/dev/disk/by-id/scsi-0HC_Volume_6", Path("/data/a b"))
    assert 'blkid -p -o value -s TYPE "$device" || true)" ] || mkfs.xfs' in text
    assert "is not empty" in text
    assert "state='/data/a b'" in text
