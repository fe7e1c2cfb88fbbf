"""A node's checks run on the way of something else: as often as it takes, its results told as events."""

from __future__ import annotations

from dataclasses import dataclass

from binder_node.events import Event, Reporter
from binder_node.lifecycle.opened import Opened
from binder_node.smoke.run import Summary, run
from binder_node.smoke.told import Told

STAGE = "smoke"


@dataclass(frozen=True, slots=True)
class Proof:
    """The checks of one node; with a ``repository`` the deep ones too, which build a branch of it."""

    opened: Opened
    repository: str
    push_to: str
    report: Reporter

    def __call__(self, only: str) -> Summary:
        """Run all, or those in ``only`` (and what they need). Raises StepError where they cannot be run."""
        found = run(
            self.opened.spec.name,
            str(self.opened.inventory),
            Told(self.report, STAGE),
            deep=bool(self.repository),
            only=only,
            pins=self.opened.pins.overlay,
            repository=self.repository,
            push_to=self.push_to,
        )
        passed = f"{found.count('ok')} of {len(found.results)} checks pass"
        self.report(Event("done", STAGE, passed, {"seconds": found.seconds, "ok": found.ok}))
        return found
