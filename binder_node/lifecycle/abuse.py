"""``abuse`` and ``explain``: one question to a node's memory, over ssh."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from ipaddress import AddressValueError, IPv4Address
from typing import Any

from binder_node.abuse import report
from binder_node.abuse.report import Asked, Moment, Report
from binder_node.errors import InputError, Problem, StepError
from binder_node.host.asking import answered
from binder_node.layout import ABUSE_STATE, BUILD_LOGS
from binder_node.lifecycle.opened import Opened, access_of

SECONDS = 60.0
# A repository may have been launched a thousand times today.
MOST = 20
CUTS = ("too_fast", "too_many")
ALL = ("pod", "event", "cut", "free", "refused", "met")


@dataclass(frozen=True, slots=True)
class Explained:
    """Of a launch: its ``pods``, what happened (to the last :data:`MOST`), the last lines of its builds' logs."""

    node: str
    pods: tuple[str, ...]
    timeline: tuple[Moment, ...]
    logs: Mapping[str, tuple[str, ...]]


def told(opened: Opened, hours: float) -> Report:
    """Who was cut in the last ``hours``. Raises StepError, DeadlineError."""
    now = datetime.now(UTC)
    ask = {"since": now - timedelta(hours=hours), "until": now, "kinds": ("cut", "free", "refused"), "sets": CUTS}
    return report.report(opened.spec.name, _read(opened, ask))


def explained(opened: Opened, launch: str, hours: float, lines: int) -> Explained:
    """What happened to the launches that ``launch`` (a pod, a repository) means, in the last ``hours``.

    Raises:
        StepError: the node remembers none, or does not answer.
    """
    now = datetime.now(UTC)
    span = {"since": now - timedelta(hours=hours), "until": now}
    pods = report.pods_of(_read(opened, {**span, "kinds": ("pod",), "words": (launch,)})["records"], launch)
    if not pods:
        raise StepError(
            opened.spec.name,
            f"look for {launch}",
            f"nothing of it ran in the last {hours:g} hours",
            f"look further back with --hours; {opened.spec.abuse.keep_days} days are kept",
        )
    last = pods[-MOST:]
    found = _read(opened, {**span, "kinds": ALL, "words": last, "tail": lines})
    logs = {pod: tuple(text) for pod, text in found["logs"].items() if pod in last}
    return Explained(opened.spec.name, tuple(pods), tuple(report.timeline(found["records"])[-lines:]), logs)


def complained(opened: Opened, to: str, at: str) -> list[Asked]:
    """Who asked for the address ``to`` around ``at``, as a provider's complaint says it; the most likely first.

    Raises:
        InputError: ``to`` is no address, or ``at`` no time.
        StepError, DeadlineError: the node does not answer.
    """
    try:
        address = str(IPv4Address(to.strip()))
    except AddressValueError:
        raise InputError(Problem("", 0, "--to", f"{to!r} is no IPv4 address", "write it as 203.0.113.9")) from None
    try:
        when = report.moment(at) if at else datetime.now(UTC)
    except ValueError:
        right = "write it as 2026-11-21T20:00Z; without a zone it is UTC"
        raise InputError(Problem("", 0, "--at", f"{at!r} is no time", right)) from None
    ask = {
        "since": when - report.COMPLAINT_BEFORE,
        "until": when + report.COMPLAINT_AFTER,
        "kinds": ("met", "refused"),
        "to": address,
    }
    return report.suspects(_read(opened, ask)["records"], when)


def _read(opened: Opened, ask: Mapping[str, Any]) -> dict[str, Any]:
    access, _ = access_of(opened)
    text = (files("binder_node.abuse.on_node") / "read.py").read_text(encoding="utf-8")
    question = {
        "state": f"{opened.spec.machine.state}/{ABUSE_STATE}",
        "logs": str(BUILD_LOGS),
        **ask,
        "since": report.written(ask["since"]),
        "until": report.written(ask["until"]),
    }
    step, remedy = "read what the node remembers", "see `binder-node logs` for watch"
    said = answered(access, text, json.dumps(question), timeout=SECONDS, step=step, remedy=remedy)
    found: dict[str, Any] = json.loads(said)
    return found
