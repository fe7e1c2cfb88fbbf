"""Hosts of the redirector's file, changed as text: only what is meant changes, and never to what it dies of."""

from __future__ import annotations

import difflib
from collections.abc import Callable

import pytest

from binder_node.errors import InputError
from binder_node.federation import checkout, yamltext
from binder_node.federation.config import Member
from binder_node.federation.yamltext import Text
from tests.unit.federation_samples import OWN, PROD, SHARED, lab, needs_shared

NEW = lab().member(10)
LINES = [
    "+    lab:",
    "+      prime: false",
    "+      url: https://lab.example.org",
    "+      weight: 10",
    "+      health: https://lab.example.org/health",
    "+      versions: https://lab.example.org/versions",
]


def changed(before: str, after: str) -> list[str]:
    """The lines that differ, with + and -."""
    rows = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    return [row for row in rows if row[:1] in "+-" and row[:3] not in ("+++", "---")]


def shapes(text: str) -> dict[str, str]:
    """The same file as other editors leave it."""
    return {
        "as it is": text,
        "CRLF": text.replace("\n", "\r\n"),
        "hosts last": text[: text.index("\npodLogs:")].rstrip("\n") + "\n",
        "hosts last, no line end": text[: text.index("\npodLogs:")].rstrip("\n"),
        "empty lines at the end": text + "\n\n",
        "deeper": text.replace("\n    ", "\n        ").replace("\n          ", "\n            "),
    }


@pytest.mark.parametrize("shape", shapes(PROD))
def test_a_host_is_six_new_lines_and_leaves_no_trace(shape: str) -> None:
    text = shapes(PROD)[shape]
    new = checkout.add_host(text, NEW)
    rows = changed(text, new)
    assert [row.replace(" ", "") for row in rows if row != "-" and "watch its disk" not in row] == [
        row.replace(" ", "") for row in LINES
    ]
    assert checkout.federation(new).member("lab") == NEW
    assert checkout.remove_host(new, "lab") == text
    assert checkout.remove_host(text, "lab") == text


@needs_shared
@pytest.mark.parametrize("shape", ["as it is", "CRLF", "hosts last", "hosts last, no line end"])
def test_the_federations_own_file_gets_new_lines_only(shape: str) -> None:
    text = shapes((SHARED / "prod.yaml").read_text(encoding="utf-8"))[shape]
    new = checkout.add_host(text, NEW)
    rows = changed(text, new)
    assert rows == LINES
    assert "\r\n" not in text or new.count("\r\n") == text.count("\r\n") + len(LINES)
    assert checkout.remove_host(new, "lab") == text


def test_a_weight_is_one_word() -> None:
    assert changed(PROD, checkout.set_weight(PROD, "two", 5)) == [
        "-      weight: 40  # since May",
        "+      weight: 5  # since May",
    ]
    assert checkout.set_weight(checkout.set_weight(PROD, "two", 0), "two", 40) == PROD
    assert checkout.set_weight(PROD, "two", 40) == PROD


def test_a_weight_that_is_missing_is_written() -> None:
    without = PROD.replace("      weight: 40  # since May\n", "")
    assert checkout.federation(checkout.set_weight(without, "two", 7)).member("two").weight == 7


def test_the_prime_moves_in_one_change() -> None:
    moved = checkout.set_prime(PROD, "two")
    assert changed(PROD, moved) == [
        "-      prime: true   # the front page",
        "+      prime: false   # the front page",
        "-      prime: false",
        "+      prime: true",
    ]
    assert checkout.set_prime(moved, "one") == PROD
    assert checkout.set_prime(PROD, "one") == PROD


def test_other_urls_leave_weight_and_role() -> None:
    new = checkout.set_urls(PROD, Member("one", "https://1.org", "https://1.org/health", "https://1.org/versions", 3))
    there = checkout.federation(new).member("one")
    assert (there.url, there.weight, there.prime) == ("https://1.org", 60, True)


def test_a_name_that_yaml_takes_for_something_else_is_quoted() -> None:
    new = checkout.add_host(PROD, Member("no", "https://no.org", "https://no.org/h", "https://no.org/v", 2.5))
    assert '    "no":\n' in new
    assert checkout.federation(new).member("no").weight == 2.5


@pytest.mark.parametrize(
    ("do", "said"),
    [
        (
            lambda: checkout.set_weight(PROD, "one", 0),
            "prod.yaml:9: federationRedirect.hosts.one: cannot have weight 0",
        ),
        (lambda: checkout.remove_host(PROD, "one"), "prod.yaml:9: federationRedirect.hosts.one: cannot be taken out"),
        (lambda: checkout.set_prime(checkout.set_weight(PROD, "two", 0), "two"), "the redirector would have no prime"),
        (lambda: checkout.set_weight(PROD, "three", 1), "has no member three; it has one, two"),
        (
            lambda: checkout.add_host(PROD, Member("two", "https://a.b", "https://a.b", "https://a.b", 1)),
            "there already",
        ),
        (
            lambda: checkout.add_host(PROD, Member("x", "https://two.example.org", "https://a.b", "https://a.b", 1)),
            "two is there already, at https://two.example.org",
        ),
        (
            lambda: checkout.add_host(PROD.replace("    # the first one\n", "    gone: null\n"), NEW),
            "is null: the redirector dies of it at its start",
        ),
        (lambda: checkout.add_host(PROD.replace("weight: 60", "weight: 0"), NEW), "No prime host configured"),
        (lambda: checkout.set_weight(PROD.replace("weight: 40", "weight: many"), "two", 1), "'many' is not allowed"),
        (lambda: checkout.add_host("federationRedirect: {hosts: {}}\n", NEW), "names no host"),
        (lambda: checkout.add_host(PROD + "podLogs: {}\n", NEW), "stands twice"),
    ],
)
def test_what_the_redirector_chokes_on_is_refused(do: Callable[[], str], said: str) -> None:
    with pytest.raises(InputError) as refused:
        do()
    assert said in str(refused.value)


def test_braces_and_aliases_are_left_to_a_person() -> None:
    flat = (
        "federationRedirect:\n  hosts: {one: {prime: true, weight: 1, url: https://a.b, health: https://a.b, "
        "versions: https://a.b}}\n"
    )
    with pytest.raises(InputError, match="is written with braces; write one entry a line"):
        checkout.add_host(flat, NEW)
    shared = PROD.replace("    two:\n", "    three: &three\n").replace("podLogs:\n", "podLogs: &p\n")
    shared = shared.replace("federationRedirect:\n", "base: &base {weight: 3}\nfederationRedirect:\n")
    assert "lab" in checkout.add_host(shared, NEW)
    aliased = PROD.replace("      weight: 40  # since May\n", "      weight: *w\n").replace("60", "&w 60")
    with pytest.raises(InputError, match="is an alias of what stands elsewhere; write the value out"):
        checkout.set_weight(aliased, "two", 1)


def test_a_quota_is_one_word_under_either_name() -> None:
    assert changed(OWN, checkout.set_quota(OWN, 0, "config/lab.yaml")) == [
        "-      total_quota: 60   # by the machine's size",
        "+      total_quota: 0   # by the machine's size",
    ]
    assert checkout.quota_of(OWN, "config/lab.yaml") == 60
    old = "binderhub:\n  config:\n    BinderHub:\n      pod_quota: 20\n"
    assert checkout.set_quota(old, 0, "x.yaml") == old.replace("20", "0")
    with pytest.raises(InputError, match=r"LaunchQuota\.total_quota: is not there"):
        checkout.set_quota("binderhub: {}\n", 0, "x.yaml")


def test_items_keep_the_empty_lines_between_them() -> None:
    text = "a:\n  - x: 1\n\n  - y: 2 # two\n\n# end\n"
    first = yamltext.put_item(Text(text, "f"), ("a",), ["- z: 0", "  w: 9"], 0)
    assert first.text == "a:\n  - z: 0\n    w: 9\n\n  - x: 1\n\n  - y: 2 # two\n\n# end\n"
    assert yamltext.without_item(first, ("a",), 0).text == text
    last = yamltext.put_item(Text(text, "f"), ("a",), ["- z: 0"])
    assert last.text == "a:\n  - x: 1\n\n  - y: 2 # two\n\n  - z: 0\n\n# end\n"
    assert yamltext.without_item(last, ("a",), 2).text == text
    middle = yamltext.put_item(Text(text, "f"), ("a",), ["- z: 0"], 1)
    assert yamltext.without_item(middle, ("a",), 1).text == text


def test_a_value_that_is_empty_is_filled_where_it_belongs() -> None:
    assert yamltext.replaced(Text("a:\n  b:\n  c: 1\n", "f"), ("a", "b"), "2").text == "a:\n  b: 2\n  c: 1\n"
    with pytest.raises(InputError, match=r"f:2: a\.b: has no value"):
        yamltext.replaced(Text("a:\n  b: # so\n  c: 1\n", "f"), ("a", "b"), "2")
