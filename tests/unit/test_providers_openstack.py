"""The OpenStack provider's decisions: what is next, who stays where there are two, what goes and what is kept."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from binder_node.providers.openstack import reading
from binder_node.providers.openstack.calls import explained, retry_after, said
from binder_node.providers.openstack.imagine import planned
from binder_node.providers.openstack.market import candidates, dear, fixed, lacking, shortfall, volume_size
from binder_node.providers.openstack.plan import elected, next_step, wanted_rules
from binder_node.providers.openstack.removal import doomed, next_removal, surplus
from binder_node.providers.openstack.steps import (
    Attach,
    Knock,
    MakeServer,
    Mark,
    Mount,
    Refuse,
    Remove,
    SetGroup,
    SetRules,
    Start,
    Wait,
    change,
)
from binder_node.providers.openstack.things import (
    Address,
    Candidate,
    Flavor,
    Found,
    Group,
    Market,
    Port,
    Quota,
    Rule,
    Server,
    Thing,
    Volume,
    collected,
    described,
    description,
    labels,
    owner,
)
from binder_node.spec.model import Spec
from tests.unit.host_samples import sample_spec

G = 10**9
KEEP: frozenset[Any] = frozenset({"address", "volume"})


def spec_of(**said: Any) -> Spec:
    """8 cores, 60 GB; ``ssh`` and ``kubernetes`` are sections, the rest the provider's keys."""
    sections = {name: said.pop(name) for name in ("ssh", "kubernetes", "cost") if name in said}
    provider = {"kind": "openstack", "regions": ["GRA11", "SBG5"], "flavors": ["b3-64", "r3-64"], **said}
    spec = sample_spec(machine={"cpus": 8, "memory": "60G", "disk": "100G"}, name="bids", **sections)
    return Spec.model_validate_json(json.dumps({**spec.model_dump(mode="json"), "provider": provider}), strict=True)


def thing(kind: type[Any], id_: str, **said: Any) -> Any:
    return kind(**{"region": "GRA11", "id": id_, "name": "bids", "node": "bids", "created": "2026-11-21", **said})


def market(region: str = "GRA11", **said: Any) -> Market:
    flavors = (Flavor("f1", "b3-64", 16, 64 * G, 400 * G), Flavor("f2", "r3-64", 8, 64 * G, 200 * G))
    return replace(Market(region, flavors, "image", "net", "ext"), **said)


MARKETS = [market("GRA11"), market("SBG5")]
SERVER = thing(Server, "s1", status="ACTIVE", used=True)
PORT = thing(Port, "p1", address="203.0.113.9", device="s1", groups=("g1",), used=True)
RULES = tuple((f"r{index}", rule) for index, rule in enumerate(sorted(wanted_rules(spec_of()))))
GROUP = thing(Group, "g1", rules=RULES)
WHOLE = collected([SERVER, PORT, GROUP])


def after(found: Found, **flags: Any) -> Any:
    spec = flags.pop("spec", spec_of())
    return next_step(spec, found, MARKETS, flags.pop("tried", {}), **{"answered": True, **flags})


def test_labels_go_where_the_api_takes_them() -> None:
    """Nova's and Cinder's metadata keys have no slash; Neutron's things have a description."""
    assert labels("bids") == {"managed-by": "binder-node", "binder-node.node": "bids"}
    assert described(description("bids", used=True)) == labels("bids", used=True)
    assert owner(described("binder-node.node=bids")) == ""  # a person's, who writes as we do
    assert owner(described("Jo's port, do not touch")) == owner(described(None)) == owner({}) == ""


def test_who_is_let_in() -> None:
    spec = spec_of(ssh={"admin_networks": ["192.0.2.0/24"]}, kubernetes={"api_from": ["198.51.100.7/32"]})
    assert sorted(wanted_rules(spec)) == [
        Rule(22, "192.0.2.0/24"),
        Rule(80, "0.0.0.0/0"),
        Rule(443, "0.0.0.0/0"),
        Rule(6443, "198.51.100.7/32"),
    ]


def test_a_plan_from_nothing_is_all_that_up_will_do() -> None:
    changes = planned(spec_of(volume="200G"), Found(), MARKETS, answered=False)
    assert [f"{one.action} {one.what}" for one in changes] == [
        "create security group bids in GRA11",
        "update rules of security group bids in GRA11",
        "create port bids in GRA11, which has the address",
        "create server bids: b3-64 in GRA11",
        "create volume bids of 187 GiB in GRA11",
        "update volume bids in GRA11: attached to server bids in GRA11",
        "run wait for ssh at server bids in GRA11",
        "run mount volume bids in GRA11 at /var/lib/binder-node",
        "update server bids in GRA11 and port bids in GRA11 and volume bids in GRA11: noted as in use",
    ]
    floating = planned(spec_of(floating_from="Ext-Net"), Found(), MARKETS, answered=False)
    assert "create floating address in GRA11" in [f"{one.action} {one.what}" for one in floating]


def test_nothing_is_to_do_where_all_is_right() -> None:
    assert after(WHOLE) is None
    assert after(WHOLE.having(replace(SERVER, task="image_uploading"))) is None  # somebody takes a snapshot
    assert planned(spec_of(), WHOLE, [], answered=True) == []


@pytest.mark.parametrize(
    ("broken", "step"),
    [
        (replace(SERVER, status="SHUTOFF"), Start),
        (replace(SERVER, status="BUILD", task="spawning"), Wait),
        (replace(SERVER, task="rebooting"), Wait),
        (replace(SERVER, status="PAUSED"), Refuse),
        (replace(SERVER, status="ERROR", fault="burned"), Refuse),
        (replace(SERVER, status="ERROR", used=False), Remove),
        (replace(SERVER, task="deleting"), Wait),
        (replace(PORT, device=""), Refuse),
        (replace(PORT, groups=()), SetGroup),
        (replace(GROUP, rules=RULES[1:]), SetRules),
        (replace(PORT, used=False), Mark),
    ],
)
def test_what_is_not_right_is_put_right_or_said(broken: Thing, step: type) -> None:
    assert isinstance(after(WHOLE.having(broken)), step)


def test_a_server_that_does_not_let_us_in_is_knocked_at() -> None:
    assert after(WHOLE, answered=False) == Knock(SERVER, "203.0.113.9")


def test_rules_that_are_too_many_are_dropped() -> None:
    more = (("x", None), ("y", Rule(8080, "0.0.0.0/0")), ("z", RULES[0][1]))
    assert after(WHOLE.having(replace(GROUP, rules=RULES + more))) == SetRules(
        replace(GROUP, rules=RULES + more), (), ("x", "y", "z")
    )


def test_of_two_servers_every_operator_keeps_the_same() -> None:
    young = thing(Server, "s0", status="BUILD", created="2026-11-22")
    old = thing(Server, "s9", status="BUILD")
    twin = thing(Server, "s8", status="BUILD")
    assert elected([young, old]) == elected([old, young]) == old
    assert elected([old, twin]) == elected([twin, old]) == twin  # of one second: the id decides
    assert elected([replace(young, used=True), old]) == replace(young, used=True)  # one that has been in use stays
    assert after(collected([old, young, PORT, GROUP])) == Remove(young, "a second one, which another run made")
    both = collected([replace(old, used=True), replace(young, used=True)])
    assert isinstance(after(both), Refuse)  # never a guess where both may hold data


def test_what_another_run_left_goes_when_the_server_is_up_and_not_before() -> None:
    volume = thing(Volume, "v2", status="available")
    stray = [thing(Port, "p2", region="SBG5"), thing(Group, "g2", region="SBG5"), volume]
    found = collected([*WHOLE.all(), *stray])
    assert isinstance(after(found, answered=False), Knock)
    steps = []
    while (step := after(found)) is not None:
        assert isinstance(step, Remove)
        steps.append(step.thing.id)
        found = found.without(step.thing)
    assert steps == ["p2", "v2", "g2"]
    kept = replace(volume, used=True)
    assert after(WHOLE.having(kept)) is None  # it has data on it: `leftovers` tells


def test_the_next_candidate_is_taken_where_one_was_tried() -> None:
    found = collected([replace(PORT, device=""), GROUP])
    made = after(found)
    assert isinstance(made, MakeServer)
    assert made.candidate == Candidate("GRA11", "b3-64")
    tried = {Candidate("GRA11", "b3-64"): "No valid host"}
    assert after(found, tried=tried).candidate == Candidate("GRA11", "r3-64")
    spec = spec_of()
    assert candidates(spec)[2] == Candidate("SBG5", "b3-64")
    end = after(found, tried=dict.fromkeys(candidates(spec, ["GRA11"]), "No valid host"))
    assert isinstance(end, Refuse)  # its port has been in use: it is held to that region
    assert end.reason == "b3-64 in GRA11: No valid host; r3-64 in GRA11: No valid host"


def test_what_was_kept_holds_the_node_to_its_region() -> None:
    kept = thing(Volume, "v1", region="SBG5", status="available", size=187, used=True)
    assert after(collected([kept])).region == "SBG5"
    assert after(collected([replace(kept, used=False)])).region == "GRA11"
    apart = collected([kept, thing(Volume, "v2", used=True)])
    assert isinstance(after(apart), Refuse)


@pytest.mark.parametrize(
    ("said", "step"),
    [
        ({"status": "available", "size": 187}, Attach),
        ({"status": "attaching", "size": 187, "server": "s1"}, Wait),
        ({"status": "creating"}, Wait),
        ({"status": "error"}, Remove),
        ({"status": "error", "used": True}, Refuse),
        ({"status": "available", "size": 100, "used": True}, Refuse),
        ({"status": "in-use", "size": 187, "server": "s1"}, Mount),
    ],
)
def test_a_volume_on_its_way_to_the_state_folder(said: dict[str, Any], step: type) -> None:
    assert isinstance(after(WHOLE.having(thing(Volume, "v1", **said)), spec=spec_of(volume="200G")), step)


def test_the_size_of_a_volume_is_rounded_up_to_whole_gib() -> None:
    assert volume_size(spec_of(volume="1T")) == 932
    assert volume_size(spec_of(volume="10Gi")) == 10
    assert volume_size(spec_of()) == 0


def test_a_flavor_is_measured_against_the_machine() -> None:
    small = Flavor("f", "b3-8", 2, 8 * G, 50 * G)
    assert shortfall(small, spec_of()) == "has 2 cores, not 8 and 8G of RAM, not 60G and a disk of 50G, not 100G"
    assert shortfall(replace(small, cpus=8, memory=64 * G), spec_of(volume="100G")) == ""
    assert shortfall(replace(small, cpus=8, memory=64 * G, disk=0), spec_of()) == ""  # boots from a volume: not told


def test_a_quota_is_measured_before_it_is_met() -> None:
    full = market(quota=Quota(servers=3, cpus=4, memory=100 * G, volumes=0, volume=None))
    flavor = full.flavors[0]
    assert lacking(full, flavor, spec_of(), volume=False) == "the project's quota is full: cores: 16 wanted, 4 left"
    assert lacking(full, flavor, spec_of(volume="1T"), volume=True).endswith("4 left; volumes: 1 wanted, 0 left")
    assert lacking(market(), flavor, spec_of(), volume=True) == ""


def test_what_it_may_cost_is_server_address_and_volume() -> None:
    said: dict[str, Any] = {"prices": {"b3-64": 90.0}, "volume": "200G", "cost": {"volume": 0.04, "address": 2.0}}
    assert fixed(spec_of(**said), "b3-64") == Decimal("100.00")
    assert fixed(spec_of(**said), "r3-64") is None
    assert dear(spec_of(**said, max_price=100.0), "b3-64") == ""
    assert "100.00 EUR a month are more" in dear(spec_of(**said, max_price=99.0), "b3-64")
    assert "is not in provider.prices" in dear(spec_of(**said, max_price=99.0), "r3-64")
    assert dear(spec_of(), "r3-64") == ""


def test_destroy_goes_from_the_server_outwards_and_keeps_what_was_in_use() -> None:
    volume = thing(Volume, "v1", status="in-use", server="s1", used=True)
    found = WHOLE.having(volume)
    assert [one.id for one in doomed(spec_of(), found, frozenset())] == ["s1", "p1", "v1", "g1"]
    assert [one.id for one in doomed(spec_of(), found, KEEP)] == ["s1"]  # the group guards the port that stays
    assert [one.id for one in doomed(spec_of(), found.having(replace(volume, used=False)), KEEP)] == ["s1", "v1"]
    step = next_removal(spec_of(), found.having(replace(SERVER, task="deleting")), KEEP)
    assert isinstance(step, Wait)
    gone = found.without(SERVER)
    assert isinstance(next_removal(spec_of(), gone.without(PORT), frozenset()), Wait)  # the volume is being detached
    assert next_removal(spec_of(), gone, KEEP) is None
    floating = collected([PORT, GROUP, thing(Address, "a1", port="p1", used=True)])
    assert [one.id for one in doomed(spec_of(floating_from="Ext-Net"), floating, KEEP)] == ["p1", "g1"]


def test_what_a_server_does_not_use_is_left_over() -> None:
    stray = thing(Volume, "v9", status="available", used=True)
    assert surplus(spec_of(), WHOLE) == []
    assert surplus(spec_of(), WHOLE.having(stray)) == [stray]
    assert surplus(spec_of(), collected([PORT, GROUP, stray])) == []  # kept by `destroy`


def test_every_step_has_a_line() -> None:
    for step in (
        Start(SERVER),
        Remove(PORT, "why"),
        Wait(SERVER, "it", "BUILD"),
        Mark((SERVER,)),
        Refuse("a", "b", "c"),
    ):
        assert change(step, "bids").what


def test_the_sdks_objects_become_ours() -> None:
    server = SimpleNamespace(
        id="s1", name="bids", metadata=labels("bids"), fault={"message": "No valid\nhost"}, flavor={"id": "f1"},
        created_at="2026-11-21T10:00:00Z", status="ERROR", task_state=None, is_locked=None,
        attached_volumes=[{"id": "v1"}],
    )  # fmt: skip
    read = reading.server("GRA11", server)
    assert (read.node, read.fault, read.flavor, read.locked, read.volumes, read.used) == (
        "bids", "No valid host", "f1", False, ("v1",), False,
    )  # fmt: skip
    rule = {"id": "r", "direction": "ingress", "protocol": "tcp", "ethertype": "IPv4", "port_range_min": 22,
            "port_range_max": 22, "remote_ip_prefix": None, "remote_group_id": None}  # fmt: skip
    wide, out = {**rule, "id": "w", "port_range_max": 23}, {**rule, "direction": "egress"}
    group = SimpleNamespace(id="g", name="bids", description=description("bids"), created_at="",
                            security_group_rules=[rule, wide, out])  # fmt: skip
    assert reading.group("GRA11", group).rules == (("r", Rule(22, "0.0.0.0/0")), ("w", None))
    port = SimpleNamespace(
        id="p", name="", description="theirs", created_at=None, device_id="", security_group_ids=None,
        fixed_ips=[{"ip_address": "2001:db8::1"}, {"ip_address": "203.0.113.9"}],
    )  # fmt: skip
    assert (reading.port("GRA11", port).address, reading.port("GRA11", port).node) == ("203.0.113.9", "")
    absolute = SimpleNamespace(
        total_ram=-1, total_ram_used=0, instances=10, instances_used=4, total_cores=None, total_cores_used=None
    )
    assert reading.quota(absolute, None) == Quota(servers=6)


def test_an_error_that_is_not_the_clouds_stays_as_it_is() -> None:
    error = ZeroDivisionError("ours")
    assert explained("bids", "step", error, None) is error
    assert said(error) == "ours"
    assert retry_after(error) is None
    response = SimpleNamespace(headers={"Retry-After": "7"})
    assert retry_after(SimpleNamespace(response=response)) == 7  # type: ignore[arg-type]
