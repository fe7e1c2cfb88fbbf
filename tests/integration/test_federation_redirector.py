"""The federation's real redirector over played members, and whether the rules and the checks here agree with it.

Runs where BINDER_NODE_REDIRECTOR names a checkout of jupyterhub/mybinder.org-deploy; it is not part of this project.
"""

from __future__ import annotations

import heapq
import json
import math
import random
import re
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from binder_node.federation import ask, rules
from binder_node.federation.config import parse
from binder_node.federation.demand import synthetic
from binder_node.federation.simulate import Capacity, Change, Load, Scenario, simulate
from tests.integration.federation_fixtures import (
    CHECKOUT,
    VERSIONS,
    PlayedMember,
    Redirector,
    config,
    members,
    redirector,
    redirector_folder,
)

pytestmark = pytest.mark.skipif(
    redirector_folder() is None, reason=f"{CHECKOUT} names no checkout of jupyterhub/mybinder.org-deploy"
)
Members = dict[str, PlayedMember]
# Three sigma and more: a right redirector fails once in a million runs.
UNLIKELY = 1e-6


@pytest.fixture
def folder() -> Path:
    found = redirector_folder()
    assert found is not None
    return found


@pytest.fixture
def three() -> Iterator[Members]:
    with members("prime", "bids", "gesis") as found:
        found["prime"].weight, found["bids"].weight, found["gesis"].weight = 50, 20, 10
        yield found


@pytest.fixture
def real(folder: Path, three: Members, tmp_path: Path) -> Iterator[Redirector]:
    with redirector(folder, config(three), tmp_path) as running:
        yield running


def test_ten_thousand_requests_are_spread_by_weight(real: Redirector, three: Members) -> None:
    found = Counter(real.route(f"/build/gh/org/repo-{number}/HEAD") for number in range(10_000))
    expected = {member.url: 10_000 * member.weight / 80 for member in three.values()}
    square = sum((found[url] - count) ** 2 / count for url, count in expected.items())
    assert math.exp(-square / 2) > UNLIKELY, found  # the chance of such a spread with two degrees of freedom


@pytest.mark.parametrize("way", ["quota", "versions", "hub", "dead"])
def test_a_member_goes_in_the_redirectors_own_time_and_comes_back(way: str, real: Redirector, three: Members) -> None:
    bids, rest = three["bids"], {"prime", "gesis"}
    began = time.monotonic()
    if way == "quota":
        bids.quota = 0
    elif way == "versions":
        bids.versions = {**VERSIONS, "binderhub": "another"}
    elif way == "hub":
        bids.hub = False
    else:
        bids.stop()
    # A period, and for what is tried again four pauses of a second.
    real.until(rest, 0.63 + (4 if way in ("hub", "dead") else 0) + 2)
    print(f"{way}: out after {time.monotonic() - began:.2f} s")
    assert bids.url not in {real.route(f"/build/gh/o/r{number}/HEAD", bids.url) for number in range(50)}
    bids.quota, bids.versions, bids.hub = 100, dict(VERSIONS), True
    if way == "dead":
        bids.start()
    print(f"{way}: back after {real.until({*rest, 'bids'}, 1.26 + 2):.2f} s")
    assert real.route("/build/gh/o/r/HEAD", bids.url) == bids.url


def test_with_nobody_healthy_the_prime_takes_it(real: Redirector, three: Members) -> None:
    for member in three.values():
        member.quota = 0
    real.until(set(), 5)
    assert {real.route(f"/build/gh/o/r{number}/HEAD") for number in range(50)} == {three["prime"].url}


def pods(total: Any, quota: Any, ok: Any = True) -> dict[str, Any]:
    return {"service": "Pod quota", "total_pods": total, "quota": quota, "ok": ok}


# What a member's /health says, and a status: every branch of the redirector's reading of it.
HEALTH: dict[str, tuple[int, Any]] = {
    "good": (200, {"ok": True, "checks": [{"service": "JupyterHub API", "ok": True}, pods(0, 100)]}),
    "at-the-edge": (200, {"checks": [pods(49, 60)]}),
    "over-the-edge": (200, {"checks": [pods(50, 60)]}),
    "quota-nought": (200, {"checks": [pods(0, 0)]}),
    "quota-null": (200, {"checks": [pods(1000, None)]}),
    "quota-missing": (200, {"checks": [{"service": "Pod quota", "ok": True}]}),
    "quota-a-text": (200, {"checks": [pods(1, "60")]}),
    "pods-null": (200, {"checks": [pods(None, 60)]}),
    "past-the-quota": (200, {"checks": [pods(101, 100, False)]}),
    "hub-down-200": (200, {"checks": [{"service": "JupyterHub API", "ok": False}, pods(0, 100)]}),
    "hub-down-503": (503, {"checks": [{"service": "JupyterHub API", "ok": False}]}),
    "ignored": (200, {"checks": [{"service": "Extra", "ok": False, "_ignore_failure": True}]}),
    "late": (200, {"checks": [pods(0, 100), {"service": "Late", "ok": False}]}),
    "late-without-quota": (200, {"checks": [pods(0, None), {"service": "Late", "ok": False}]}),
    "two-findings": (200, {"checks": [{"service": "First", "ok": False}, {"service": "Second", "ok": False}]}),
    "finding-then-broken": (200, {"checks": [{"service": "First", "ok": False}, {"service": "Pod quota", "ok": 1}]}),
    "ok-null": (200, {"checks": [{"service": "JupyterHub API", "ok": None}]}),
    "ok-nought": (200, {"checks": [{"service": "JupyterHub API", "ok": 0}]}),
    "ok-a-digit": (200, {"checks": [{"service": "JupyterHub API", "ok": "0"}]}),
    "ok-a-word": (200, {"checks": [{"service": "JupyterHub API", "ok": "true"}]}),
    "no-service": (200, {"checks": [{"ok": True}]}),
    "no-checks": (200, {"ok": True}),
    "checks-empty": (200, {"ok": False, "checks": []}),
    "a-list": (200, []),
    "no-content": (204, None),
}
TELLS = re.compile(r'federation_health\{member="([^"]+)",reason="([^"]*)"\} ([01])\.0')


def test_every_document_is_judged_as_the_redirector_judges_it(folder: Path, tmp_path: Path) -> None:
    with members("prime", *HEALTH) as found:
        for name, (status, document) in HEALTH.items():
            found[name].instead["/health"] = (status, "" if document is None else json.dumps(document))
        settings = config(found, check={"period": 60, "failed_period": 60, "timeout": 5})
        federation = parse(json.dumps(settings), "config.json")
        ours = {one.member.name: (one.verdict.inside, one.verdict.cause) for one in ask.check(federation)}
        with redirector(folder, settings, tmp_path) as real:
            theirs: dict[str, tuple[bool, str]] = {}
            until = time.monotonic() + 40
            while len(theirs) < len(found):
                assert time.monotonic() < until, f"the redirector told of {sorted(theirs)} only"
                time.sleep(0.3)
                told = TELLS.findall(httpx.get(f"{real.url}/metrics").text)
                theirs = {name: (value == "1", reason) for name, reason, value in told}
    assert ours == theirs
    assert Counter(inside for inside, _ in ours.values())[True] > 4


def test_of_five_attempts_the_last_one_decides_there_too(folder: Path, tmp_path: Path) -> None:
    with members("prime", "first", "last") as found:
        settings = config(found, check={"period": 60, "failed_period": 60, "timeout": 5})
        good, bad = '{"checks": []}', ""
        found["first"].series, found["last"].series = [bad, *[good] * 4], [*[good] * 4, bad]
        with redirector(folder, settings, tmp_path) as real:
            real.until({"prime", "first"}, 20)


def test_rendezvous_hashing_is_the_redirectors(folder: Path, three: Members, tmp_path: Path) -> None:
    weighted = [(name, member.weight) for name, member in three.items()]
    with redirector(folder, config(three, load_balancer="rendezvous"), tmp_path) as real:
        for number in range(200):
            path = f"/build/{'gh' if number % 2 else 'gl'}/Org/repo-{number}/main"
            name = rules.rank(weighted, rules.cache_key(path))[0]
            assert real.route(path) == three[name].url


# What happens to members while requests come in: seconds, who, what.
HAPPENS = (
    Change(12, "gesis", quota=0),
    Change(24, "gesis", quota=400),
    Change(30, "prime", state="hub down"),
    Change(48, "prime", state="well"),
    Change(56, "bids", versions="another"),
    Change(64, "bids", versions="as the prime"),
    Change(68, "gesis", state="refusing"),
    Change(84, "gesis", state="well"),
)


def happen(member: PlayedMember, change: Change) -> None:
    """The same to a played member as to the simulated one."""
    if change.quota is not None:
        member.quota = change.quota
    if change.versions is not None:
        member.versions = VERSIONS if change.versions == "as the prime" else {"binderhub": change.versions}
    if change.state is not None:
        member.hub = change.state != "hub down"
        if change.state == "refusing":
            member.stop()
            member.users = 0
        elif change.state == "well" and not member.running:
            member.start()


def drive(real: Redirector, found: Members, scenario: Scenario, lasts: Sequence[float]) -> dict[str, Counter[str]]:
    """Send the scenario's requests at their times, with their visitors' cookies, and have members take sessions.

    Counts of ``sent``, ``refused`` (at the quota) and ``failed`` (down), by member.
    """
    names = {member.url: name for name, member in found.items()}
    counts = {name: Counter[str]() for name in found}
    cookies: dict[tuple[int, str], str] = {}
    ends: list[tuple[float, str]] = []
    changes = deque(scenario.changes)
    began = time.monotonic()
    for arrival, seconds in zip(scenario.arrivals, lasts, strict=True):
        while changes and changes[0].at <= arrival.at:
            happen(found[changes[0].member], changes.popleft())
        time.sleep(max(0.0, began + arrival.at - time.monotonic()))
        while ends and ends[0][0] <= arrival.at:
            member = found[heapq.heappop(ends)[1]]
            member.users = max(member.users - 1, 0)
        key = arrival.visitor, arrival.path
        cookies[key] = url = real.route(arrival.path, cookies.get(key, ""))
        name = names[url]
        member = found[name]
        counts[name]["sent"] += 1
        if not member.running or not member.hub:
            counts[name]["failed"] += 1
        elif member.quota is not None and member.users >= member.quota:
            counts[name]["refused"] += 1
        else:
            member.users += 1
            heapq.heappush(ends, (arrival.at + seconds, name))
    return counts


def test_simulate_agrees_with_what_the_redirector_does(folder: Path, three: Members, tmp_path: Path) -> None:
    """10,000 requests while members fill up, are drained, lag, lose their hub and die: shares within two percent."""
    three["bids"].quota, three["gesis"].quota, three["prime"].quota = 60, 400, None
    for member in three.values():
        member.cache = 0.6  # BinderHub counts its pods now and then: here for sessions of two seconds
    # Slow enough that what a busy computer adds to each check does not count.
    check = {"period": 1.2, "jitter": 0.1, "retries": 5, "timeout": 2, "failed_period": 2.4}
    settings = config(three, check=check)
    arrivals = synthetic(hours=96 / 3600, per_hour=3600 * 10_000 / 96, swing=0, repositories=300, seed=3)
    scenario = Scenario(
        parse(json.dumps(settings), "config.json"),
        arrivals,
        {name: Capacity(member.quota) for name, member in three.items()},
        Load(session=2, longest=40, fresh=0, counted=0.6, hub_asked=0, attempt=0.01),
        HAPPENS,
        redirectors=1,
    )
    draw = random.Random(5)
    lasts = [min(draw.expovariate(1 / 2), 40) for _ in arrivals]
    with redirector(folder, settings, tmp_path) as real:
        real.until(set(three), 10)
        measured = drive(real, three, scenario, lasts)
    played = [simulate(replace(scenario, seed=seed)) for seed in range(10)]
    for number, name in enumerate(three):
        share = measured[name]["sent"] / len(arrivals)
        expected = sum(result.share(name) for result in played) / len(played)
        told = {what: sum(getattr(one.tallies[number], what) for one in played) / 10 for what in ("refused", "failed")}
        print(f"{name}: measured {share:.4f}, simulated {expected:.4f}; {dict(measured[name])}, {told}")
        assert share == pytest.approx(expected, abs=0.02)
    lost = sum(counts["refused"] + counts["failed"] for counts in measured.values()) / len(arrivals)
    assert lost == pytest.approx(sum(one.refused + one.failed for one in played) / 10 / len(arrivals), abs=0.02)
