"""What a node's own word is read as, and what a trial is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from binder_node.host.on_node.alerts import counted, more
from binder_node.lifecycle.alerting import counts, read, the_trial
from tests.unit.host_samples import sample_spec
from tests.unit.metrics_samples import whole_spec


def fires(name: str, state: str = "firing", severity: str = "warning", **labels: str) -> dict[str, Any]:
    return {
        "labels": {"alertname": name, "severity": severity, **labels},
        "annotations": {"summary": f"{name}!", "action": "look", "runbook": "docs/runbooks/x.md"},
        "state": state,
        "activeAt": "2026-11-21T12:00:00.5Z",
    }


ANSWER = {
    "alerts": [
        fires("JobLate", "pending", task="backup"),
        fires("DeadPods"),
        fires("Watchdog", severity="none"),
        fires("DiskFull", severity="critical", mountpoint="/"),
    ],
    "targets": [
        {"labels": {"job": "hub"}, "health": "down", "lastError": "connection refused"},
        {"labels": {"job": "registry", "role": "push"}, "health": "unknown", "lastError": ""},
        {"labels": {"job": "node"}, "health": "up", "lastError": ""},
    ],
    "rules": [{"rules": [{"name": "DiskFull", "health": "ok"}, {"name": "Odd", "health": "err", "lastError": "many"}]}],
}


def test_what_users_notice_comes_first_and_the_watchdog_is_no_trouble() -> None:
    found = read(sample_spec(), ANSWER)
    assert [(one.name, one.state) for one in found.alerts] == [
        ("DiskFull", "firing"),
        ("DeadPods", "firing"),
        ("JobLate", "pending"),
    ]
    assert found.alerts[0].labels == {"mountpoint": "/"}
    assert found.blind == {"hub": "connection refused"}
    assert found.broken == ("Odd: many",)
    assert found.alive
    assert not read(sample_spec(), {**ANSWER, "alerts": []}).alive


def test_zulip_is_one_more_webhook() -> None:
    assert counts(whole_spec()) == {"webhook": 2, "email": 1}
    assert counts(sample_spec()) == {}


def test_each_trial_is_another_alert_and_ends_by_itself() -> None:
    spec = sample_spec()
    one, other = (the_trial(spec, datetime(2026, 11, 21, 12, 0, second, tzinfo=UTC)) for second in (1, 2))
    assert one["labels"] != other["labels"]
    assert one["labels"]["alertname"] == "Trial"
    assert one["endsAt"] == "2026-11-21T12:01:01+00:00"


def test_counts_are_of_all_reasons_together() -> None:
    text = (
        "# HELP alertmanager_notification_requests_total x\n"
        'alertmanager_notification_requests_total{integration="webhook",receiver_name="a"} 2\n'
        'alertmanager_notification_requests_total{integration="webhook",receiver_name="b"} 1\n'
        'alertmanager_notification_requests_failed_total{integration="email"} 4\n'
    )
    now = counted(text)
    assert now["alertmanager_notification_requests_total"] == {"webhook": 3}
    assert more("alertmanager_notification_requests_total", counted(""), now) == {"webhook": 3}
    assert more("alertmanager_notification_requests_failed_total", now, now) == {"email": 0}
