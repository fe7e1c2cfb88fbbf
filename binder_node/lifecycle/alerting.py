"""``alerts``: what a node's Prometheus says is wrong, and whether what it tells gets out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from binder_node.errors import InputError, Problem, StepError
from binder_node.host.asking import answered
from binder_node.host.metrics.config import TRIAL
from binder_node.host.metrics.itself import WATCHDOG
from binder_node.host.observe import script
from binder_node.layout import ALERTMANAGER_PORT, PROMETHEUS_PORT
from binder_node.lifecycle.opened import Opened, access_of
from binder_node.spec.model import Spec

SECONDS, TRIAL_SECONDS = 60.0, 40.0
# What Alertmanager calls the ways of `alerts.to`: Zulip is a webhook.
INTEGRATIONS = {"webhook": "webhook", "zulip": "webhook", "mail": "email"}


@dataclass(frozen=True, slots=True)
class Alert:
    """One that fires, or whose condition holds but not for long enough (``pending``)."""

    name: str
    state: str
    severity: str
    since: str
    says: str
    do: str
    runbook: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Told:
    """``blind``: what Prometheus cannot ask, and why; ``broken``: rules that it cannot evaluate. ``to``: the
    inventory's ways; ``tried``: what became of a trial, by Alertmanager's names of the ways."""

    node: str
    alerts: tuple[Alert, ...]
    blind: Mapping[str, str]
    broken: tuple[str, ...]
    alive: bool
    to: tuple[str, ...]
    deadman: bool
    tried: Mapping[str, str]


def look(opened: Opened, *, trial: bool = False) -> Told:
    """What is wrong now; with ``trial`` an alert that says that it is one goes to everybody.

    Raises:
        InputError: the node does not measure itself, or nobody is to be told; StepError: it does not answer.
    """
    spec = opened.spec
    if not spec.measured:
        right = "write metrics.enabled: true and `up`" if not spec.central else "ask the federation's Prometheus"
        raise InputError(Problem("", 0, spec.name, "this node does not measure itself", right))
    ways = counts(spec)
    if trial and not ways:
        raise InputError(Problem("", 0, "alerts.to", "nobody is told", "name a way in the inventory, and `up`"))
    access, _ = access_of(opened)
    question = {
        "prometheus": PROMETHEUS_PORT,
        "alertmanager": ALERTMANAGER_PORT,
        "tell": the_trial(spec, datetime.now(UTC)) if trial else None,
        "ways": ways,
        "seconds": TRIAL_SECONDS,
    }
    step, remedy = "ask Prometheus", f"binder-node logs {spec.name} metrics"
    said = answered(access, script("alerts"), json.dumps(question), timeout=SECONDS, step=step, remedy=remedy)
    answer = json.loads(said)
    if "error" in answer:
        raise StepError(access.name, step, answer["error"], remedy)
    return read(spec, answer)


def counts(spec: Spec) -> dict[str, int]:
    """How many receivers there are of each of Alertmanager's ways. Pure."""
    found: dict[str, int] = {}
    for way in spec.alerts.to:
        found[INTEGRATIONS[way]] = found.get(INTEGRATIONS[way], 0) + 1
    return found


def the_trial(spec: Spec, now: datetime) -> dict[str, Any]:
    """The alert of a trial; it ends by itself. Pure."""
    return {
        # Each is another one: Alertmanager does not tell twice of the same.
        "labels": {"alertname": TRIAL, "severity": "warning", "node": spec.name, "at": now.strftime("%H:%M:%S")},
        "annotations": {"summary": "this is a trial: nothing is wrong", "action": "nothing", "runbook": ""},
        "endsAt": (now + timedelta(minutes=1)).isoformat(),
    }


def read(spec: Spec, answer: Mapping[str, Any]) -> Told:
    """The node's answer. Pure."""
    found = [_alert(one) for one in answer["alerts"]]
    return Told(
        spec.name,
        tuple(sorted((one for one in found if one.name != WATCHDOG), key=_order)),
        {
            f"{one['labels']['job']} {one['labels'].get('role', '')}".strip(): one["lastError"]
            for one in answer["targets"]
            if one["health"] == "down"
        },
        tuple(_broken(answer["rules"])),
        any(one.name == WATCHDOG and one.state == "firing" for one in found),
        tuple(spec.alerts.to),
        spec.alerts.deadman,
        answer.get("told", {}),
    )


def _alert(found: Mapping[str, Any]) -> Alert:
    labels, notes = dict(found["labels"]), found["annotations"]
    return Alert(
        labels.pop("alertname"),
        found["state"],
        labels.pop("severity", ""),
        found["activeAt"],
        notes.get("summary", ""),
        notes.get("action", ""),
        notes.get("runbook", ""),
        labels,
    )


def _order(alert: Alert) -> tuple[bool, bool, str]:
    return alert.state != "firing", alert.severity != "critical", alert.since


def _broken(groups: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for group in groups:
        yield from (f"{rule['name']}: {rule['lastError']}" for rule in group["rules"] if rule["health"] == "err")
