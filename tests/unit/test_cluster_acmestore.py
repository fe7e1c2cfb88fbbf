"""Traefik's file of certificates, and what of it goes to the next node."""

from __future__ import annotations

import json

import pytest

from binder_node.cluster.acmestore import Store, carried, covers, parsed, text_of
from tests.unit.acme_samples import ACCOUNT, NOW, raw, store_text

BINDER, OLD_HUB, NEW_HUB = "bids.example.org", "hub.bids.example.org", "hub-2.bids.example.org"
WANTED = (BINDER, NEW_HUB)


def test_a_file_comes_back_as_it_was() -> None:
    text = store_text(raw(BINDER, 80), raw(OLD_HUB, 80))
    assert json.loads(text_of(parsed(text))) == json.loads(text)


@pytest.mark.parametrize(
    "text", ["", " \n", "{}", '{"other": {}}', '{"acme": {"Account": null, "Certificates": null}}']
)
def test_nothing_in_it_is_an_empty_store(text: str) -> None:
    assert parsed(text) == Store()


@pytest.mark.parametrize("text", ["{", "[1]", '{"acme": 3}', '{"acme": {"Certificates": [{"domain": {}}]}}'])
def test_what_is_no_store_is_said_without_its_content(text: str) -> None:
    with pytest.raises(ValueError, match=r"^it (is no JSON|has another form than Traefik's)$"):
        parsed(text)


def test_no_key_is_shown() -> None:
    found = parsed(store_text(raw(BINDER, 80)))
    assert raw(BINDER, 80)["key"] not in repr(found)
    assert str(ACCOUNT["PrivateKey"]) not in repr(found)


def test_an_empty_store_gets_the_names_that_it_will_serve_and_the_account() -> None:
    old = parsed(store_text(raw(BINDER, 80), raw(OLD_HUB, 80)))
    made = carried(old, Store(), WANTED, NOW)
    assert [entry.names for entry in made.entries] == [(BINDER,)]
    assert made.account == ACCOUNT
    assert (covers(made, BINDER, NOW), covers(made, NEW_HUB, NOW)) == (True, False)


def test_its_own_account_and_certificates_stay() -> None:
    own = {**ACCOUNT, "PrivateKey": "BBBB"}
    new = parsed(store_text(raw(NEW_HUB, 89), account=own))
    made = carried(parsed(store_text(raw(BINDER, 80))), new, WANTED, NOW)
    assert made.account == own
    assert [entry.names for entry in made.entries] == [(NEW_HUB,), (BINDER,)]


def test_the_one_that_lasts_longer_wins() -> None:
    short, long = parsed(store_text(raw(BINDER, 20))), parsed(store_text(raw(BINDER, 80)))
    assert carried(long, short, WANTED, NOW).entries == long.entries
    assert carried(short, long, WANTED, NOW) == long


def test_one_that_has_ended_is_not_carried() -> None:
    assert carried(parsed(store_text(raw(BINDER, -1), account=None)), Store(), WANTED, NOW) == Store()


def test_a_second_time_nothing_changes() -> None:
    old = parsed(store_text(raw(BINDER, 80)))
    once = carried(old, Store(), WANTED, NOW)
    assert carried(old, once, WANTED, NOW) == once
