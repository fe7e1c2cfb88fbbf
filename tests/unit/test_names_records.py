"""Which records a node wants, and what is done to a zone that has others."""

from __future__ import annotations

import pytest

from binder_node.names.records import (
    Edit,
    Found,
    Kind,
    Other,
    Record,
    asked,
    covered,
    edits,
    looks_after,
    removals,
    targets,
    wanted,
)
from binder_node.spec.model import Spec
from tests.unit.host_samples import sample_spec

HERE, ELSEWHERE = "198.51.100.7", "192.0.2.1"
BINDER, STAR = "bids.example.org", "*.bids.example.org"
HUB = "hub.bids.example.org"


def spec(**names: str) -> Spec:
    return sample_spec(names=names, dns={"kind": "cloudflare", "zone": "example.org", "ttl": 120})


def found(name: str, value: str, owner: str = "", kind: Kind = "A", ttl: int = 120) -> Found:
    return Found(Record(name, kind, (value,), ttl), owner)


def texts(made: tuple[Edit, ...]) -> list[str]:
    return [f"{edit.action} {edit}" for edit in made]


def test_the_hub_has_a_record_of_its_own_and_the_wildcard_is_enough_for_the_registry() -> None:
    assert wanted(spec(), HERE) == tuple(Record(name, "A", (HERE,), 120) for name in (BINDER, STAR, HUB))
    assert covered(spec()) == ("registry.bids.example.org",)
    assert asked(spec()) == (
        BINDER,
        "hub.bids.example.org",
        "registry.bids.example.org",
        "binder-node-probe.bids.example.org",
    )


def test_names_elsewhere_have_records_of_their_own() -> None:
    made = wanted(spec(hub="hub.example.org", registry="registry.example.org"), HERE)
    assert [record.name for record in made] == [BINDER, STAR, "hub.example.org", "registry.example.org"]


def test_an_empty_zone() -> None:
    assert texts(edits(spec(), HERE, ())) == [f"create A {name} {HERE}" for name in (BINDER, STAR, HUB)]


def test_before_there_is_an_address_the_plan_says_so() -> None:
    assert texts(edits(spec(), "", ()))[0] == f"create A {BINDER} (the machine's address)"


def test_what_leads_to_the_machine_is_right_whoever_wrote_it() -> None:
    there = [found(BINDER, HERE), found(STAR, HERE, "bids-0", ttl=3600), found(HUB, HERE)]
    assert edits(spec(), HERE, there) == ()


def test_what_leads_elsewhere_is_changed_where_this_node_wrote_it() -> None:
    there = [found(BINDER, ELSEWHERE, "bids-1"), found(STAR, HERE, "bids-1"), found(HUB, HERE)]
    (made,) = edits(spec(), HERE, there)
    assert (str(made), made.foreign) == (f"A {BINDER} {ELSEWHERE} -> {HERE}", ())


@pytest.mark.parametrize("owner", ["", "bids-0"])
def test_what_leads_elsewhere_and_is_not_this_nodes_is_foreign(owner: str) -> None:
    other = found(BINDER, ELSEWHERE, owner)
    made = edits(spec(), HERE, [other, found(STAR, HERE), found(HUB, HERE)])
    assert [edit.foreign for edit in made] == [(other,)]


@pytest.mark.parametrize(("kind", "value"), [("CNAME", "x.example.org"), ("AAAA", "2001:db8::1")])
def test_other_kinds_at_the_name_are_in_the_way(kind: Kind, value: str) -> None:
    other, right = found(BINDER, value, kind=kind), found(BINDER, HERE)
    made = edits(spec(), HERE, [other, found(STAR, HERE), found(HUB, HERE)])
    assert texts(made) == [f"update A {BINDER} {kind} {value} -> {HERE}"]
    assert made[0].foreign == (other,)
    beside = edits(spec(), HERE, [right, other, found(STAR, HERE), found(HUB, HERE)])
    assert [(edit.over, edit.foreign) for edit in beside] == [((right, other), (other,))]


def test_a_record_below_the_wildcard_that_leads_elsewhere_hides_it() -> None:
    registry = "registry.bids.example.org"
    there = [found(BINDER, HERE), found(STAR, HERE), found(HUB, HERE), found(registry, ELSEWHERE)]
    made = edits(spec(), HERE, there)
    assert texts(made) == [f"delete A {registry} {ELSEWHERE}"]
    assert made[0].foreign == (there[3],)
    assert edits(spec(), HERE, [*there[:3], found(registry, HERE)]) == ()


def test_another_ttl_is_a_change_of_our_own_records_only() -> None:
    there = [found(BINDER, HERE, "bids-1", ttl=60), found(STAR, HERE, "", ttl=60), found(HUB, HERE)]
    assert texts(edits(spec(), HERE, there)) == [f"update A {BINDER} {HERE}, ttl 60 -> 120"]


def test_a_name_of_this_node_that_nothing_wants_any_more_goes() -> None:
    there = [found(BINDER, HERE), found(STAR, HERE), found(HUB, HERE), found("old.example.org", HERE, "bids-1")]
    made = edits(spec(), HERE, [*there, found("other.example.org", HERE, "bids-2")])
    assert texts(made) == [f"delete A old.example.org {HERE}"]


def test_destroy_takes_what_bears_the_nodes_mark() -> None:
    there = [found(BINDER, HERE, "bids-1"), found(STAR, HERE), found("hub.example.org", HERE, "bids-11")]
    assert texts(removals("bids-1", there)) == [f"delete A {BINDER} {HERE}"]


def test_a_zone_files_line() -> None:
    assert wanted(spec(), HERE)[1].line() == f"{STAR}. 120 IN A {HERE}"


# --- two generations of one node -----------------------------------------------------------------------------------

THERE = "198.51.100.8"


def zone(first: str, second: str, owners: tuple[str, str]) -> list[Found]:
    """The zone of two nodes: where the member's two records lead, and whose mark they bear."""
    hubs = [found(HUB, HERE, "bids-1"), found("hub-2.bids.example.org", THERE, "bids-2")]
    return [found(BINDER, first, owners[0]), found(STAR, second, owners[1]), *hubs]


def newer() -> Spec:
    made = spec(hub="hub-2.bids.example.org")
    return made.model_copy(update={"name": "bids-2", "replaces": "bids-1"})


def test_a_node_that_replaces_another_writes_its_hubs_name_only_until_it_has_the_names() -> None:
    there = [found(BINDER, HERE, "bids-1"), found(STAR, HERE, "bids-1"), found(HUB, HERE, "bids-1")]
    assert not looks_after(newer(), "", THERE, there)
    assert texts(edits(newer(), THERE, there, member=False)) == [f"create A hub-2.bids.example.org {THERE}"]
    assert asked(newer(), member=False) == ("hub-2.bids.example.org",)
    assert looks_after(newer(), "", THERE, zone(THERE, THERE, ("bids-2", "bids-2")))
    assert not looks_after(newer(), "", "", [])


def test_a_node_that_is_replaced_keeps_the_names_until_the_other_ones_mark_is_on_them() -> None:
    before, after = zone(HERE, HERE, ("bids-1", "")), zone(THERE, THERE, ("bids-2", "bids-2"))
    half = zone(THERE, HERE, ("bids-2", "bids-1"))
    assert [looks_after(spec(), "bids-2", HERE, there) for there in (before, half, after)] == [True, False, False]
    assert edits(spec(), HERE, after, member=False) == ()
    # Without a successor they are somebody else's.
    assert [edit.foreign for edit in edits(spec(), HERE, after)] == [(after[0],), (after[1],)]


@pytest.mark.parametrize("owners", [("bids-1", "bids-1"), ("", "bids-1"), ("", "")])
def test_the_names_are_taken_from_the_other_node_whoever_wrote_them(owners: tuple[str, str]) -> None:
    made = edits(newer(), THERE, zone(HERE, HERE, owners), takes=Other("bids-1", HERE))
    assert texts(made) == [f"update A {BINDER} {HERE} -> {THERE}", f"update A {STAR} {HERE} -> {THERE}"]
    assert [edit.foreign for edit in made] == [(), ()]


def test_names_that_lead_to_a_third_machine_are_not_taken() -> None:
    astray = zone(ELSEWHERE, HERE, ("", "bids-1"))
    made = edits(newer(), THERE, astray, takes=Other("bids-1", HERE))
    assert [edit.foreign for edit in made] == [(astray[0],), ()]


def test_the_old_nodes_end_takes_its_hubs_record_only() -> None:
    assert texts(removals("bids-1", zone(THERE, THERE, ("bids-2", "bids-2")))) == [f"delete A {HUB} {HERE}"]


def test_where_the_members_records_lead() -> None:
    assert targets(spec(), zone(HERE, THERE, ("", ""))) == {HERE, THERE}
    assert targets(spec(), [found(BINDER, HERE)]) == {HERE, ""}
