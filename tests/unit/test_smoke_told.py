"""A run of the checks on the way of another verb, as that verb's events."""

from __future__ import annotations

from binder_node.events import Event
from binder_node.smoke.checks import Check, Result
from binder_node.smoke.told import Told


def test_it_says_what_is_checked_what_was_left_out_and_what_failed() -> None:
    events: list[Event] = []
    told, dns = Told(events.append, "smoke"), Check("k3s.dns", "names are found")
    told.planned([dns], 0)
    told.planned([dns], 7)
    told.started(dns)
    told.finished(Result(dns, "ok"))
    told.finished(Result(dns, "blocked", because=("k3s.api",)))
    told.finished(Result(dns, "failed", reason="it does not answer", remedy="look at its pod"))
    assert [(event.kind, event.stage, event.message) for event in events] == [
        ("log", "smoke", "1 checks"),
        ("log", "smoke", "1 checks, 7 deep ones left out"),
        ("progress", "smoke", "names are found"),
        ("warn", "smoke", "k3s.dns: it does not answer -> look at its pod"),
    ]
