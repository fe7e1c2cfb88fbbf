"""Two generations of a node in one zone, on a real name server: whose the member's names are, and how they move."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from binder_node.errors import StepError
from binder_node.events import silent
from binder_node.names.records import Other
from binder_node.names.stage import NamesStage
from binder_node.node import Node
from tests.integration.names_fixtures import BINDER, ELSEWHERE, HERE, ZONE, served, up
from tests.integration.test_names_rfc2136 import ask, put
from tests.testbed.knot import KEY, SECRET, Knot
from tests.unit.host_samples import sample_secrets, sample_spec

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="apt fetches the server as root only"),
]
THERE = "198.51.100.8"
HUBS = (f"hub.{BINDER}", f"hub-2.{BINDER}")


@pytest.fixture
def primary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Knot]:
    monkeypatch.setenv("RFC2136_TSIG_SECRET", SECRET)
    with served(tmp_path / "primary") as server:
        yield server


def generation(server: Knot, number: int, *, takes: Other | None = None, **dns: Any) -> NamesStage:
    zone = {"kind": "rfc2136", "zone": ZONE, "server": server.name, "key": KEY}
    said = {**zone, "wait": 5, "ttl": 2, "nameservers": [server.name], **dns}
    spec = sample_spec(
        dns=said,
        name=f"bids-{number}",
        names={"hub": HUBS[number - 1]},
        replaces="bids-1" if number == 2 else "",
    )
    node = Node(spec, sample_secrets(), {}, {}, Path("/nowhere"), successor="bids-2" if number == 1 else "")
    return NamesStage(node, HERE if number == 1 else THERE, takes=takes)


def names(server: Knot) -> list[list[str]]:
    """Where the member's name, one that only its wildcard has, and both hubs lead."""
    return [ask(server, name) for name in (BINDER, f"any.{BINDER}", *HUBS)]


def test_the_names_go_over_and_back_and_neither_node_fights_the_other(primary: Knot) -> None:
    old, new = generation(primary, 1), generation(primary, 2)
    up(old)
    assert up(new) == [f"create A {HUBS[1]} {THERE}"]
    assert (up(old), up(new)) == ([], [])
    assert names(primary) == [[HERE], [HERE], [HERE], [THERE]]

    there = Other("bids-1", HERE)
    assert up(generation(primary, 2, takes=there)) == [
        f"update A {BINDER} {HERE} -> {THERE}",
        f"update A *.{BINDER} {HERE} -> {THERE}",
    ]
    assert names(primary) == [[THERE], [THERE], [HERE], [THERE]]
    assert up(generation(primary, 2, takes=there)) == []
    assert (up(old), up(new)) == ([], [])

    up(generation(primary, 1, takes=Other("bids-2", THERE)))
    assert names(primary) == [[HERE], [HERE], [HERE], [THERE]]
    new.destroy(silent)
    assert names(primary) == [[HERE], [HERE], [HERE], [HERE]]
    assert up(old) == []


def test_the_old_nodes_end_leaves_the_new_ones_names(primary: Knot) -> None:
    old = generation(primary, 1)
    up(old)
    up(generation(primary, 2))
    up(generation(primary, 2, takes=Other("bids-1", HERE)))
    old.destroy(silent)
    assert names(primary) == [[THERE], [THERE], [THERE], [THERE]]
    assert up(generation(primary, 2)) == []


def test_records_that_a_person_wrote_for_the_old_node_are_moved_and_others_are_not(primary: Knot) -> None:
    for name in (BINDER, f"*.{BINDER}"):
        put(primary, name, "A", HERE)
    up(generation(primary, 1))
    put(primary, BINDER, "A", ELSEWHERE)
    with pytest.raises(StepError, match=rf"A {BINDER} {ELSEWHERE} is there and not this node's"):
        up(generation(primary, 2, takes=Other("bids-1", HERE)))
    assert ask(primary, f"any.{BINDER}") == [HERE]
    put(primary, BINDER, "A", HERE)
    up(generation(primary, 2, takes=Other("bids-1", HERE)))
    assert names(primary)[:2] == [[THERE], [THERE]]


def test_by_hand_a_node_keeps_what_leads_to_it(primary: Knot) -> None:
    said = {"nameservers": [primary.name], "wait": 5}

    def by_hand(number: int) -> NamesStage:
        made = generation(primary, number)
        spec = made.node.spec.model_copy(update={"dns": sample_spec(dns={"kind": "manual", **said}).dns})
        node = Node(spec, sample_secrets(), {}, {}, Path("/nowhere"), successor=made.node.successor)
        return NamesStage(node, made.address)

    for name, value in ((BINDER, HERE), (f"*.{BINDER}", HERE), (HUBS[1], THERE)):
        put(primary, name, "A", value)
    for number in (1, 2):
        made = by_hand(number)
        assert made.changes(made.inspect(silent)) == []
