"""The redirector's rules, exactly: what keeps a member out, and where a request goes."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from binder_node.federation.config import CHART, CheckRules, Federation, member_at
from binder_node.federation.rules import (
    Answer,
    Attempt,
    Verdict,
    cache_key,
    candidates,
    judge,
    pick,
    rank,
    remembered,
    route,
    wait,
)

PRIME = {"builder_info": {"build_image": "quay.io/jupyterhub/repo2docker:2026.4.0"}, "binderhub": "1.0.0"}
NO_HEADROOM = CheckRules(15, 0.1, 5, 5, 90, 0)


def health(total: Any = 0, quota: Any = 100, *, hub: Any = True, registry: Any = True, more: Any = ()) -> Any:
    within = not (isinstance(quota, int) and isinstance(total, int)) or total <= quota
    pods = {"service": "Pod quota", "total_pods": total, "quota": quota, "ok": within, "_ignore_failure": True}
    checks = [{"service": "Docker registry", "ok": registry}, {"service": "JupyterHub API", "ok": hub}, pods, *more]
    return {"ok": True, "checks": checks}


def verdict(document: Any, versions: Any = PRIME, prime: Any = PRIME, rules: CheckRules = CHART) -> Verdict:
    return judge([Attempt(Answer(versions), Answer(document))] * rules.retries, prime, rules)


@pytest.mark.parametrize(("pods", "inside"), [(49, True), (50, False), (60, False), (61, False)])
def test_ten_pods_are_kept_free_below_the_quota(pods: int, inside: bool) -> None:
    assert verdict(health(pods, 60)).inside is inside


def test_the_quota_is_told_with_where_it_ends() -> None:
    assert verdict(health(50, 60)) == Verdict(
        False, ("Pod quota: 50 pods of 60, and 10 are kept free: out from 50 on",), "Pod quota"
    )
    assert verdict(health(3, 0)).reasons == ("Pod quota: not ok, 3 pods of 0",)
    assert verdict(health(0, 0)).reasons == ("Pod quota: a quota of 0 takes nobody, as 10 pods are kept free (0 run)",)


def test_no_quota_is_never_full() -> None:
    assert verdict(health(100_000, None)) == Verdict(True)


def test_without_headroom_only_what_binderhub_itself_says_counts() -> None:
    assert verdict(health(100, 100), rules=NO_HEADROOM).inside
    assert verdict(health(101, 100), rules=NO_HEADROOM).cause == "Pod quota"


def test_ignore_failure_is_not_heeded() -> None:
    document = {"ok": True, "checks": [{"service": "Extra", "ok": False, "_ignore_failure": True}]}
    assert verdict(document) == Verdict(False, ("Extra: not ok",), "Extra")


def test_the_documents_own_ok_is_not_looked_at() -> None:
    assert verdict({"ok": False, "checks": []}).inside


def test_what_comes_after_the_quota_is_not_looked_at() -> None:
    late = [{"service": "Late", "ok": False}]
    assert verdict(health(more=late)).inside
    assert verdict(health(quota=None, more=late)).cause == "Late"
    assert verdict(health(more=late), rules=NO_HEADROOM).cause == "Late"


def test_versions_are_compared_as_a_whole_and_the_difference_is_told() -> None:
    own = {"builder_info": {"build_image": "own:1"}, "binderhub": "1.0.0", "extra": 1}
    assert verdict(health(hub=False), own) == Verdict(
        False,
        (
            "versions.builder_info.build_image: own:1, the prime has quay.io/jupyterhub/repo2docker:2026.4.0",
            "versions.extra: 1, the prime has nothing",
            "JupyterHub API: not ok",
        ),
        "versions",
    )


def test_without_the_primes_versions_all_are_taken() -> None:
    assert verdict(health(), {"any": "thing"}, None).inside


def test_documents_that_cannot_be_read_are_tried_again_and_then_out() -> None:
    documents: list[Any] = [
        [],
        {},
        {"checks": None},
        {"checks": [{"ok": True}]},
        {"checks": [{"service": "x"}]},
        {"checks": [{"service": "x", "ok": None}]},
        {"checks": [{"service": "Pod quota", "ok": True}]},
        {"checks": [{"service": "Pod quota", "ok": True, "quota": 5}]},
        health(total=None),
        health(quota="60"),
    ]
    for document in documents:
        assert verdict(document).cause == "unknown", document


def test_a_finding_counts_at_once_and_before_what_cannot_be_read_after_it() -> None:
    broken = {"checks": [{"service": "x", "ok": False}, {"service": "Pod quota", "ok": True}]}
    assert verdict(broken).cause == "x"
    good, bad = Answer(health()), Answer(health(hub=False))
    assert not judge([Attempt(Answer(PRIME), bad), Attempt(Answer(PRIME), good)], PRIME, CHART).inside


def test_of_what_is_tried_again_the_last_attempt_decides() -> None:
    good, bad = Attempt(Answer(PRIME), Answer(health())), Attempt(Answer(error="no answer within 5 s"))
    assert judge([bad, bad, bad, bad, good], PRIME, CHART).inside
    assert judge([good, good, good, good, bad], PRIME, CHART) == Verdict(
        False, ("versions: no answer within 5 s",), "unknown"
    )


def test_the_primes_versions_are_remembered_even_when_it_is_unhealthy_or_silent() -> None:
    old, new = {"v": 1}, {"v": 2}
    assert remembered([Attempt(Answer(new), Answer(error="HTTP 503"))], old) == new
    assert remembered([Attempt(Answer(error="refused"))], old) == old


def test_times_between_checks() -> None:
    assert [wait(True, CHART, draw) for draw in (0.0, 0.5, 1.0)] == [15.75, 15, 14.25]
    assert [wait(False, CHART, draw) for draw in (0.0, 0.5, 1.0)] == [94.5, 90, 85.5]


def test_the_weighted_choice_is_pythons_own() -> None:
    members = [("a", 50), ("b", 0.5), ("c", 20)]
    for seed in range(200):
        draw = random.Random(seed).random()
        names, weights = [name for name, _ in members], [weight for _, weight in members]
        assert pick(members, draw) == random.Random(seed).choices(names, weights)[0]
    assert pick(members, 0.999_999_999) == "c"


def test_rendezvous_keeps_githubs_repositories_together_and_goes_by_weight() -> None:
    assert cache_key("/build/gh/Org/Repo/main") == cache_key("/build/gh/org/repo/v2") == "/build/gh/org/repo"
    assert cache_key("/build/gl/org%2Frepo/v2") == "/build/gl/org%2frepo/v2"
    found = Counter(rank([("a", 70), ("b", 30)], f"/build/gh/org/r{number}")[0] for number in range(10_000))
    assert found["a"] == pytest.approx(7000, abs=200)


def federation(balance: Any = "random") -> Federation:
    hosts = (member_at("a", "http://a", 50, True), member_at("b", "http://b", 50), member_at("c", "http://c", 0))
    return Federation(hosts, CHART, balance)


def test_a_cookie_counts_while_its_member_is_a_candidate() -> None:
    both = candidates(federation(), {"a": True, "b": True})
    assert [member.name for member in both] == ["a", "b"]
    assert route(federation(), both, "/build/gh/o/r/HEAD", "http://b", 0.1) == "b"
    assert route(federation(), both, "/build/gh/o/r/HEAD", "http://c", 0.1) == "a"
    only = candidates(federation(), {"b": False})
    assert route(federation(), only, "/build/gh/o/r/HEAD", "http://b", 0.9) == "a"


def test_with_nobody_healthy_the_prime_takes_it() -> None:
    left = candidates(federation(), {"a": False, "b": False})
    assert [member.name for member in left] == ["a"]


def test_with_rendezvous_the_path_decides() -> None:
    hosts = candidates(federation("rendezvous"), {})
    found = {route(federation("rendezvous"), hosts, "/build/gh/o/r/HEAD", "", draw / 10) for draw in range(10)}
    assert len(found) == 1
