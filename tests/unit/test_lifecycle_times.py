"""The table of times after an ``up``."""

from __future__ import annotations

from binder_node.events import Event, step
from binder_node.lifecycle.verbs import Timed


def test_a_stages_seconds_do_not_count_the_steps_inside_it_again() -> None:
    seen: list[Event] = []
    timed = Timed(seen.append)
    with step(timed, "release", "install", whole=True), step(timed, "release", "wait for pods"):
        pass
    timed(Event("done", "release", "look at release", {"seconds": 2.0, "whole": True}))
    timed(Event("done", "release", "a step inside", {"seconds": 1.5}))
    whole = next(event.data["seconds"] for event in seen if event.message == "install" and event.kind == "done")
    assert timed.seconds == {"release": 2.0 + whole}
    assert len(seen) == 6
