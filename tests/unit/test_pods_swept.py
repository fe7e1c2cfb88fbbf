"""Which pods serve nobody: exact, from pods as Kubernetes tells them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from binder_node.host.on_node.pods import BUILD, ENDED, LONG, ORPHAN, USER, servers, why

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LIMITS = {"ended": 600, "orphan": 3600, "build": 7200}
KNOWN = {("ada", "")}


def ago(**said: float) -> str:
    return (NOW - timedelta(**said)).isoformat(timespec="seconds").replace("+00:00", "Z")


def pod(
    component: str = USER, phase: str = "Running", age: str = ago(hours=5), ended: str = "", **more: Any
) -> dict[str, Any]:
    status: dict[str, Any] = {"phase": phase, "conditions": [{"lastTransitionTime": age}]}
    if ended:
        status["containerStatuses"] = [
            {"state": {"terminated": {"finishedAt": ago(hours=4)}}},
            {"state": {"terminated": {"finishedAt": ended}}},
        ]
    about = {"name": "p", "uid": "u", "creationTimestamp": age, "labels": {"component": component}, **more}
    return {"metadata": about, "status": status}


def of(user: str) -> dict[str, Any]:
    return {"annotations": {"hub.jupyter.org/username": user, "hub.jupyter.org/servername": ""}}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (pod(phase="Succeeded", ended=ago(minutes=11)), ENDED),
        (pod(phase="Succeeded", ended=ago(minutes=9)), ""),
        (pod(BUILD, phase="Failed", ended=ago(minutes=11)), ENDED),
        # Evicted before any container ran: by its last condition.
        (pod(phase="Failed", age=ago(minutes=11)), ENDED),
        (pod(phase="Failed", age=ago(minutes=9)), ""),
        # Of anything else in the namespace, but for a Job's, which is Helm's to read.
        (pod("hub", phase="Failed", ended=ago(hours=1)), ENDED),
        (pod("hook", phase="Succeeded", ended=ago(hours=1), ownerReferences=[{"kind": "Job"}]), ""),
        # Kubernetes is at it.
        (pod(phase="Failed", ended=ago(hours=1), deletionTimestamp=ago(minutes=1)), ""),
        (pod("hub", age=ago(days=90)), ""),
        (pod(BUILD, age=ago(minutes=119)), ""),
        (pod(BUILD, age=ago(minutes=121)), LONG),
        (pod(**of("ada")), ""),
        (pod(**of("grace")), ORPHAN),
        (pod(phase="Pending", **of("grace")), ORPHAN),
        (pod(age=ago(minutes=59), **of("grace")), ""),
        # Nobody's that it could be told by.
        (pod(), ""),
    ],
)
def test_why_a_pod_goes(found: dict[str, Any], said: str) -> None:
    assert why(found, LIMITS, KNOWN, NOW) == said


def test_a_hub_that_does_not_tell_loses_nobody_a_server() -> None:
    assert why(pod(**of("grace")), LIMITS, None, NOW) == ""
    assert why(pod(phase="Failed", ended=ago(hours=1), **of("grace")), LIMITS, None, NOW) == ENDED


def test_a_users_servers_are_told_by_name() -> None:
    users: list[dict[str, Any]] = [
        {"name": "ada", "servers": {"": {}, "second": {}}},
        {"name": "grace", "servers": {}},
        {"name": "jean"},
    ]
    assert servers(users) == {("ada", ""), ("ada", "second")}
