"""What BinderHub says of itself, as an operator hears it."""

from __future__ import annotations

from typing import Any

import pytest

from binder_node.cluster.served import Served
from binder_node.smoke import judge_binder as judge
from tests.unit.host_samples import sample_spec

SPEC = sample_spec()
MEMBER = sample_spec(federation={"member": "bids-1"})


def health(quota: int | None = 60, pods: int = 0, registry: bool = True, hub: bool = True) -> dict[str, Any]:
    checks: list[dict[str, Any]] = [
        {"service": judge.REGISTRY, "ok": registry},
        {"service": judge.HUB, "ok": hub},
        {"service": judge.QUOTA, "ok": True, "quota": quota, "total_pods": pods, "_ignore_failure": True},
    ]
    return {"ok": registry and hub, "checks": checks}


def test_all_is_well() -> None:
    found = health()
    assert judge.health_form(found) is None
    assert [f(found, SPEC) for f in (judge.registry, judge.hub, judge.quota)] == [None] * 3


@pytest.mark.parametrize(
    "found", [{}, {"ok": True}, {"ok": 1, "checks": []}, {**health(), "checks": health()["checks"][1:]}]
)
def test_an_answer_of_another_form_is_no_health(found: dict[str, Any]) -> None:
    assert judge.health_form(found) is not None


def test_each_part_fails_by_itself() -> None:
    assert judge.registry(health(registry=False), SPEC) is not None
    assert judge.hub(health(registry=False), SPEC) is None
    assert judge.hub(health(hub=False), SPEC) is not None


@pytest.mark.parametrize(
    ("quota", "pods", "member", "word"),
    [
        (60, 0, False, None),
        (60, 59, False, None),
        (60, 60, False, "60 pods of 60"),
        (0, 0, False, "the quota is 0"),
        (None, 0, False, "no quota"),
        (60, 49, True, None),
        (60, 50, True, "the federation sends nobody"),
    ],
)
def test_the_quota_at_its_edges(quota: int | None, pods: int, member: bool, word: str | None) -> None:
    trouble = judge.quota(health(quota, pods), MEMBER if member else SPEC)
    assert (trouble is None) if word is None else (trouble is not None and word in trouble.reason)


def test_a_drained_node_is_told_by_whom() -> None:
    drained = sample_spec(binderhub={"quota": 0})
    said, other = judge.quota(health(0), drained), judge.quota(health(0), SPEC)
    assert said is not None
    assert "the inventory says so" in said.reason
    assert other is not None
    assert f"the inventory says {SPEC.binderhub.quota}" in other.reason


@pytest.mark.parametrize(
    ("found", "word"),
    [
        ({"binderhub": "1.0", "builder_info": {"build_image": "r2d:1"}}, None),
        ({"binderhub": "1.0", "builder_info": {"build_image": "r2d:2"}}, "r2d:2"),
        ({"binderhub": "1.0"}, "None"),
        ({}, "names no version"),
    ],
)
def test_versions_have_to_be_the_pins(found: dict[str, Any], word: str | None) -> None:
    trouble = judge.versions(found, "r2d:1", SPEC)
    assert (trouble is None) if word is None else (trouble is not None and word in trouble.reason)


def test_a_status_and_a_certificate() -> None:
    assert judge.status("x", 424, 424, "") is None
    trouble = judge.status("https://hub/user/doesntexist", 403, 424, "up")
    assert trouble is not None
    assert trouble.reason == "https://hub/user/doesntexist: HTTP 403, not 424"
    shown = [
        Served("a", "2027-01-01T00:00:00", 90),
        Served("b", "2026-12-01T00:00:00", 9),
        Served("c", trouble="no TLS"),
    ]
    assert [one.reason for one in judge.certificates(shown)] == ["c: no TLS"]
    # What ends soon still serves: nothing is blocked by it.
    assert [one.reason for one in judge.renewals(shown)] == ["b: its certificate ends in 9 days (2026-12-01)"]
