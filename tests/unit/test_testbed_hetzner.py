"""The stand-in's pure parts: what a list is asked for, and how prices are written."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from binder_node.errors import StepError
from binder_node.providers.userdata import user_data
from binder_node.secrets.generate import generate
from tests.testbed.hetzner.catalogue import Catalogue
from tests.testbed.hetzner.errors import ApiError
from tests.testbed.hetzner.faults import Fault, Faults
from tests.testbed.hetzner.machines import Wanted
from tests.testbed.hetzner.nspawn import seed_of
from tests.testbed.hetzner.query import check_labels, ordered, page_of, parse_selector, selected
from tests.unit.host_samples import sample_spec

OURS = {"binder-node/node": "bids", "managed-by": "binder-node"}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("", True),
        ("binder-node/node", True),
        ("binder-node/node=bids", True),
        ("binder-node/node==bids", True),
        ("binder-node/node=bid", False),
        ("binder-node/node!=bids", False),
        ("other!=bids", True),
        ("!other", True),
        ("!managed-by", False),
        ("binder-node/node in (bids, gesis)", True),
        ("binder-node/node notin (bids,gesis)", False),
        ("binder-node/node in (gesis),managed-by=binder-node", False),
        ("binder-node/node=bids,managed-by", True),
        ("binder-node/nodes", False),
    ],
)
def test_label_selectors(selector: str, expected: bool) -> None:
    assert selected(OURS, selector) is expected


@pytest.mark.parametrize("selector", ["a b", "=x", "a=b c", "a in x", "a=/b", "a//b"])
def test_a_selector_that_is_not_understood_selects_nothing(selector: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse_selector(selector)
    assert (caught.value.code, caught.value.status) == ("invalid_input", 422)


@pytest.mark.parametrize(
    "labels", [{"": "x"}, {"a b": "x"}, {"a": "-x"}, {"a": "x" * 64}, {"A.example/x": "y"}, {"a": "x/y"}]
)
def test_labels_that_the_api_refuses(labels: dict[str, str]) -> None:
    with pytest.raises(ApiError):
        check_labels(labels)
    assert check_labels(OURS) == OURS


def test_pages_say_where_they_are() -> None:
    rows, meta = page_of(range(120), "2", "")
    assert rows == list(range(25, 50))
    assert meta["pagination"] == {
        "page": 2,
        "per_page": 25,
        "previous_page": 1,
        "next_page": 3,
        "last_page": 5,
        "total_entries": 120,
    }
    rows, meta = page_of(range(120), "3", "500")  # at most 50
    assert (rows[0], len(rows), meta["pagination"]["next_page"]) == (100, 20, None)
    assert page_of([], "", "")[1]["pagination"]["last_page"] == 1
    with pytest.raises(ApiError):
        page_of([], "0", "")


def test_order_is_by_the_first_sort_then_the_next() -> None:
    rows = [{"id": 1, "name": "b"}, {"id": 2, "name": "a"}, {"id": 3, "name": "b"}]
    assert [row["id"] for row in ordered(rows, ["name:asc", "id:desc"], ["id", "name"])] == [2, 3, 1]
    with pytest.raises(ApiError):
        ordered(rows, ["colour"], ["id", "name"])


def test_prices_are_texts_with_their_places_and_tax() -> None:
    catalogue = Catalogue.load(datetime.now(UTC))
    ccx63 = catalogue.types["ccx63"]
    assert (ccx63.cores, ccx63.memory) == (48, 192)
    assert ccx63.monthly["fsn1"] < 350
    assert catalogue.gross(Decimal("288.49")) == {"net": "288.4900000000", "gross": "343.3031000000000000"}
    assert catalogue.hourly(Decimal("288.49"))["net"] == "0.4623000000"


def test_a_type_is_sold_out_withdrawn_and_priced_by_switch() -> None:
    catalogue = Catalogue.load(datetime.now(UTC))
    catalogue.stock_out("cx23", "fsn1")
    catalogue.stock_out("cx33", listed=False)
    catalogue.set_price("ccx63", "400", "fsn1")

    def available(name: str) -> list[bool]:
        return [place["available"] for place in catalogue.type_json(catalogue.types[name])["locations"]]

    assert available("cx23") == [False, True, True]
    assert available("cx33") == [True, True, True]  # found out on trying only
    assert not catalogue.in_stock("cx33", "hel1")
    assert [str(catalogue.types["ccx63"].monthly[place]) for place in ("fsn1", "hel1")] == ["400", "288.49"]
    catalogue.withdraw("cx43")
    catalogue.withdraw("cx53", listed=False)
    assert catalogue.is_gone(catalogue.types["cx43"])
    assert catalogue.find_type("cx43") is not None
    assert catalogue.find_type("cx53") is None
    assert not catalogue.is_gone(catalogue.types["cpx11"])  # announced, but still sold


def test_a_switch_hits_those_that_it_is_for_and_no_more() -> None:
    faults = Faults()
    faults.add(Fault("cut", method="POST", path="/servers*", skip=1, times=2))
    faults.add(Fault("fail", command="create_*"))
    asked = [("GET", "/servers"), *[("POST", "/servers")] * 2, ("POST", "/volumes"), *[("POST", "/servers/1")] * 2]
    assert [faults.take_request(*request) is not None for request in asked] == [False, False, True, False, True, False]
    assert [
        faults.take_action(command) is not None for command in ("start_server", "create_server", "create_server")
    ] == [
        False,
        True,
        False,
    ]


def test_the_user_data_and_the_keys_of_the_api_meet_in_one_seed(tmp_path: Path) -> None:
    secrets = generate()
    ours = user_data(sample_spec(ssh={"user": "debian"}), secrets)
    seed = seed_of(Wanted(1, "bids", "192.0.2.1", 40, "debian-12", ours, ("ssh-ed25519 AAAA ada",)), tmp_path)
    assert seed["ssh_keys"]["ed25519_public"] == secrets.host_key_public
    assert {row["name"]: row["ssh_authorized_keys"] for row in seed["users"]} == {
        "debian": [secrets.login_key_public],
        "root": ["ssh-ed25519 AAAA ada"],
    }
    bare = seed_of(Wanted(1, "bids", "192.0.2.1", 40, "debian-12", ""), tmp_path)
    assert bare["hostname"] == "bids"
    assert bare["ssh_keys"]["ed25519_public"].startswith("ssh-ed25519 ")  # as sshd makes one itself
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StepError, match="cloud-config"):
        seed_of(Wanted(1, "bids", "192.0.2.1", 40, "debian-12", "#!/bin/sh\n"), tmp_path)
