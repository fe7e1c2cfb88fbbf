"""Which records a node wants, and what is done to a zone that has others."""

from __future__ import annotations

import pytest

from binder_node.names.records import Edit, Found, Kind, Record, asked, covered, edits, removals, wanted
from binder_node.spec.model import Spec
from tests.unit.host_samples import sample_spec

HERE, ELSEWHERE = "198.51.100.7", "192.0.2.1"
BINDER, STAR = "bids.example.org", "*.bids.example.org"


def spec(**names: str) -> Spec:
    return sample_spec(names=names, dns={"kind": "cloudflare", "zone": "example.org", "ttl": 120})


def found(name: str, value: str, owner: str = "", kind: Kind = "A", ttl: int = 120) -> Found:
    return Found(Record(name, kind, (value,), ttl), owner)


def texts(made: tuple[Edit, ...]) -> list[str]:
    return [f"{edit.action} {edit}" for edit in made]


def test_the_name_and_its_wildcard_are_enough_for_the_hub_and_the_registry_below_it() -> None:
    assert wanted(spec(), HERE) == (Record(BINDER, "A", (HERE,), 120), Record(STAR, "A", (HERE,), 120))
    assert covered(spec()) == ("hub.bids.example.org", "registry.bids.example.org")
    assert asked(spec()) == (
        BINDER,
        "hub.bids.example.org",
        "registry.bids.example.org",
        "binder-node-probe.bids.example.org",
    )


def test_a_hub_elsewhere_has_a_record_of_its_own() -> None:
    made = wanted(spec(hub="hub.example.org", registry="a.b.bids.example.org"), HERE)
    assert [record.name for record in made] == [BINDER, STAR, "hub.example.org"]


def test_an_empty_zone() -> None:
    assert texts(edits(spec(), HERE, ())) == [f"create A {BINDER} {HERE}", f"create A {STAR} {HERE}"]


def test_before_there_is_an_address_the_plan_says_so() -> None:
    assert texts(edits(spec(), "", ()))[0] == f"create A {BINDER} (the machine's address)"


def test_what_leads_to_the_machine_is_right_whoever_wrote_it() -> None:
    there = [found(BINDER, HERE), found(STAR, HERE, "bids-0", ttl=3600)]
    assert edits(spec(), HERE, there) == ()


def test_what_leads_elsewhere_is_changed_where_this_node_wrote_it() -> None:
    there = [found(BINDER, ELSEWHERE, "bids-1"), found(STAR, HERE, "bids-1")]
    (made,) = edits(spec(), HERE, there)
    assert (str(made), made.foreign) == (f"A {BINDER} {ELSEWHERE} -> {HERE}", ())


@pytest.mark.parametrize("owner", ["", "bids-0"])
def test_what_leads_elsewhere_and_is_not_this_nodes_is_foreign(owner: str) -> None:
    other = found(BINDER, ELSEWHERE, owner)
    made = edits(spec(), HERE, [other, found(STAR, HERE)])
    assert [edit.foreign for edit in made] == [(other,)]


@pytest.mark.parametrize(("kind", "value"), [("CNAME", "x.example.org"), ("AAAA", "2001:db8::1")])
def test_other_kinds_at_the_name_are_in_the_way(kind: Kind, value: str) -> None:
    other, right = found(BINDER, value, kind=kind), found(BINDER, HERE)
    made = edits(spec(), HERE, [other, found(STAR, HERE)])
    assert texts(made) == [f"update A {BINDER} {kind} {value} -> {HERE}"]
    assert made[0].foreign == (other,)
    beside = edits(spec(), HERE, [right, other, found(STAR, HERE)])
    assert [(edit.over, edit.foreign) for edit in beside] == [((right, other), (other,))]


def test_a_record_below_the_wildcard_that_leads_elsewhere_hides_it() -> None:
    there = [found(BINDER, HERE), found(STAR, HERE), found("hub.bids.example.org", ELSEWHERE)]
    made = edits(spec(), HERE, there)
    assert texts(made) == [f"delete A hub.bids.example.org {ELSEWHERE}"]
    assert made[0].foreign == (there[2],)
    assert edits(spec(), HERE, [*there[:2], found("hub.bids.example.org", HERE)]) == ()


def test_another_ttl_is_a_change_of_our_own_records_only() -> None:
    there = [found(BINDER, HERE, "bids-1", ttl=60), found(STAR, HERE, "", ttl=60)]
    assert texts(edits(spec(), HERE, there)) == [f"update A {BINDER} {HERE}, ttl 60 -> 120"]


def test_a_name_of_this_node_that_nothing_wants_any_more_goes() -> None:
    there = [found(BINDER, HERE), found(STAR, HERE), found("old.example.org", HERE, "bids-1")]
    made = edits(spec(), HERE, [*there, found("other.example.org", HERE, "bids-2")])
    assert texts(made) == [f"delete A old.example.org {HERE}"]


def test_destroy_takes_what_bears_the_nodes_mark() -> None:
    there = [found(BINDER, HERE, "bids-1"), found(STAR, HERE), found("hub.example.org", HERE, "bids-11")]
    assert texts(removals("bids-1", there)) == [f"delete A {BINDER} {HERE}"]


def test_a_zone_files_line() -> None:
    assert wanted(spec(), HERE)[1].line() == f"{STAR}. 120 IN A {HERE}"
