"""What an alert is, and how rules are written for Prometheus. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["critical", "warning", "none"]


@dataclass(frozen=True, slots=True)
class Alert:
    """``guide``: numbers of the field guide's failures that it would have shortened. ``minutes`` for which ``expr``
    has to hold. ``says`` and ``do`` are what a person is told: what is wrong, and the first thing to do; ``says`` may
    use Prometheus' templates. ``critical`` is what users notice now; ``none`` is no trouble at all.
    """

    name: str
    guide: tuple[int, ...]
    expr: str
    minutes: int
    severity: Severity
    says: str
    do: str

    @property
    def page(self) -> str:
        """Its runbook, below docs/.

        >>> Alert("DiskFull", (), "", 0, "critical", "", "").page
        'runbooks/disk-full.md'
        """
        return f"runbooks/{kebab(self.name)}.md"


def kebab(name: str) -> str:
    """
    >>> kebab("OutOfMemoryKills")
    'out-of-memory-kills'
    """
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


def rule(alert: Alert) -> dict[str, Any]:
    """One alerting rule as Prometheus reads it."""
    return {
        "alert": alert.name,
        "expr": alert.expr,
        **({"for": f"{alert.minutes}m"} if alert.minutes else {}),
        "labels": {"severity": alert.severity},
        "annotations": {"summary": alert.says, "action": alert.do, "runbook": f"docs/{alert.page}"},
    }


def rule_file(groups: Iterable[tuple[str, Iterable[Alert]]]) -> dict[str, Any]:
    """A file of rules: groups by their names."""
    return {"groups": [{"name": name, "rules": [rule(alert) for alert in alerts]} for name, alerts in groups]}
