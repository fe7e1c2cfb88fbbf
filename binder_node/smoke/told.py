"""A run of the checks as events, for verbs that check a node on their way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from binder_node.events import Event, Reporter
from binder_node.smoke.checks import Check, Result


@dataclass(frozen=True, slots=True)
class Told:
    """A :class:`~binder_node.smoke.run.Watcher`; ``stage`` is the verb's."""

    report: Reporter
    stage: str

    def planned(self, checks: Sequence[Check], deep_left_out: int) -> None:
        more = f", {deep_left_out} deep ones left out" if deep_left_out else ""
        self.report(Event("log", self.stage, f"{len(checks)} checks{more}", {"checks": len(checks)}))

    def started(self, check: Check) -> None:
        self.report(Event("progress", self.stage, check.about, {"check": check.id}))

    def finished(self, result: Result) -> None:
        if result.outcome == "failed":
            message = f"{result.check.id}: {result.reason} -> {result.remedy}"
            self.report(Event("warn", self.stage, message, {"check": result.check.id}))
