"""The federation as its values or the redirector's own file say it, and what the redirector would die of."""

from __future__ import annotations

import json

import pytest

from binder_node.errors import InputError
from binder_node.federation.config import (
    CHART,
    OWN,
    CheckRules,
    Federation,
    Member,
    around,
    joined,
    member_at,
    parse,
    same,
)

VALUES = """\
binderhub:
  config: {}   # of the chart, not read
federationRedirect:
  enabled: true
  hosts:
    hetzner-2i2c:
      prime: true
      url: https://2i2c.mybinder.org/
      weight: 50
      health: https://2i2c.mybinder.org/health
      versions: https://2i2c.mybinder.org/versions
    bids-ovh:
      prime: false
      url: https://bids.mybinder.org
      weight: 0
      health: https://bids.mybinder.org/health
      versions: https://bids.mybinder.org/versions
"""


def wrong(text: str) -> list[str]:
    with pytest.raises(InputError) as raised:
        parse(text, "prod.yaml")
    return [str(problem) for problem in raised.value.problems]


def test_the_charts_values_with_the_charts_defaults() -> None:
    found = parse(VALUES, "prod.yaml")
    two = "https://2i2c.mybinder.org"
    assert found.members[0] == Member("hetzner-2i2c", two, f"{two}/health", f"{two}/versions", 50, True)
    assert (found.rules, found.balance, found.cookie_hours) == (CHART, "random", 4)
    assert found.rules == CheckRules(15, 0.1, 5, 5, 90, 10)
    assert found.lines == {"hetzner-2i2c": 6, "bids-ovh": 12}
    assert found.prime.name == "hetzner-2i2c"


def test_a_member_without_weight_is_known_but_not_routed_to() -> None:
    found = parse(VALUES, "prod.yaml")
    assert [member.name for member in found.members] == ["hetzner-2i2c", "bids-ovh"]
    assert [member.name for member in found.routed] == ["hetzner-2i2c"]
    assert parse(VALUES.replace("      weight: 0\n", ""), "prod.yaml").member("bids-ovh").weight == 0


def test_the_redirectors_own_file_with_its_own_defaults_and_tabs() -> None:
    host = {"prime": True, "url": "http://a", "weight": 1, "health": "http://a/health", "versions": "http://a/versions"}
    text = json.dumps({"check": {"period": 3}, "pod_headroom": 0, "hosts": {"a": host}}, indent="\t")
    found = parse(text, "config.json")
    assert found.rules == CheckRules(3, 0.1, 2, 5, 300, 0)
    assert (OWN.period, found.balance) == (10, "rendezvous")


def test_a_null_host_is_refused_with_its_line() -> None:
    text = VALUES.replace("    bids-ovh:\n", "    gesis: null\n    bids-ovh:\n")
    assert wrong(text) == [
        "prod.yaml:12: federationRedirect.hosts.gesis: is null: the redirector dies of it at its start; "
        "take the whole entry out"
    ]


def test_a_prime_without_weight_and_no_prime_are_refused() -> None:
    (zero,) = wrong(VALUES.replace("weight: 50", "weight: 0"))
    assert zero.startswith("prod.yaml:9: federationRedirect.hosts.hetzner-2i2c.weight: the prime has no weight")
    (none,) = wrong(VALUES.replace("prime: true", "prime: false"))
    assert none.startswith("prod.yaml:5: federationRedirect.hosts: has no prime")


def test_two_primes_are_refused() -> None:
    (second,) = wrong(VALUES.replace("prime: false", "prime: true").replace("weight: 0", "weight: 5"))
    assert second.startswith("prod.yaml:13: federationRedirect.hosts.bids-ovh.prime: is a second prime beside")


def test_every_mistake_at_once() -> None:
    text = VALUES.replace("weight: 50", "weight: -1").replace("https://bids.mybinder.org/health", "bids/health")
    text = text.replace("  enabled: true\n", "  check: {period: 0, retries: none, jitter: 2}\n  pod_headroom: true\n")
    assert [line.partition(": ")[2].partition(":")[0] for line in wrong(text)] == [
        "federationRedirect.check.jitter",
        "federationRedirect.check.period",
        "federationRedirect.check.retries",
        "federationRedirect.pod_headroom",
        "federationRedirect.hosts.hetzner-2i2c.weight",
        "federationRedirect.hosts.bids-ovh.health",
    ]


def test_a_file_of_something_else() -> None:
    assert wrong("x: 1\n") == ["prod.yaml:1: hosts: names no host; is this the file with federationRedirect.hosts?"]
    assert wrong("federationRedirect: {hosts: {}}\n")[0].startswith("prod.yaml:1: federationRedirect.hosts: names no")


def test_a_node_that_is_no_member_yet_is_looked_at_beside_the_prime() -> None:
    federation = around("https://mybinder.org")
    bids = member_at("bids", "https://bids.mybinder.org/", 5)
    with_it = joined(federation, bids)
    assert [member.name for member in with_it.members] == ["mybinder.org", "bids"]
    assert with_it.members[1].health == "https://bids.mybinder.org/health"
    assert joined(with_it, bids) is with_it
    with pytest.raises(InputError, match="is no URL; write https"):
        around("mybinder.org")


def test_an_unknown_member_is_told_with_those_there_are() -> None:
    federation: Federation = parse(VALUES, "prod.yaml")
    with pytest.raises(InputError, match=r"has no member bids; it has hetzner-2i2c, bids-ovh"):
        federation.member("bids")


def test_a_node_is_found_by_its_url_and_another_one_of_its_name_is_refused() -> None:
    federation = parse(VALUES, "prod.yaml")
    assert same(federation, member_at("mine", "https://bids.mybinder.org")).name == "bids-ovh"
    with pytest.raises(InputError) as raised:
        same(federation, member_at("bids-ovh", "https://bids.example.org"))
    assert str(raised.value) == (
        "prod.yaml:12: hosts: bids-ovh is https://bids.mybinder.org, the node is https://bids.example.org; "
        "correct one of the two"
    )
