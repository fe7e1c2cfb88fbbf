"""The walk over the stages that every verb shares, with stages kept in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from binder_node.changes import Change
from binder_node.errors import StepError
from binder_node.events import Event, Reporter
from binder_node.lifecycle.stages import apply_all, look_at_all


@dataclass
class World:
    """What the machine holds, and what was asked of it, in order."""

    has: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)


@dataclass
class Thing:
    """A stage that wants one thing, and can only be looked at once ``needs`` is there."""

    name: str
    world: World
    needs: str = ""
    breaks: bool = False

    def nothing(self) -> bool:
        return False

    def inspect(self, report: Reporter) -> bool:
        del report
        self.world.asked.append(f"look {self.name}")
        if self.needs and self.needs not in self.world.has:
            raise StepError("bids", f"look at {self.name}", f"no {self.needs}")
        return self.name in self.world.has

    def changes(self, seen: bool) -> list[Change]:
        return [] if seen else [Change(self.name, "create", self.name)]

    def apply(self, seen: bool, report: Reporter) -> None:
        del seen, report
        self.world.asked.append(f"make {self.name}")
        if self.breaks:
            raise StepError("bids", f"make {self.name}", "it broke")
        self.world.has.add(self.name)


def events() -> tuple[list[Event], Reporter]:
    seen: list[Event] = []
    return seen, seen.append


def test_a_bare_machine_is_made_in_order_and_a_second_time_nothing_is_done() -> None:
    world = World()
    stages = [Thing("host", world), Thing("storage", world, "host"), Thing("release", world, "storage")]
    _, report = events()
    told: list[Change] = []
    assert apply_all(look_at_all(stages, report, exists=True), report, told.extend) == 3
    assert [change.what for change in told] == ["host", "storage", "release"]
    assert [ask for ask in world.asked if ask.startswith("make")] == ["make host", "make storage", "make release"]
    world.asked.clear()
    assert apply_all(look_at_all(stages, report, exists=True), report, told.extend) == 0
    assert sorted(world.asked) == ["look host", "look release", "look storage"]


def test_without_a_machine_everything_is_planned_and_nothing_looked_at() -> None:
    world = World()
    stages = [Thing("host", world), Thing("storage", world, "host")]
    _, report = events()
    found = look_at_all(stages, report, exists=False)
    assert [[change.what for change in inspected.changes] for inspected in found] == [["host"], ["storage"]]
    assert world.asked == []


def test_a_later_stage_that_cannot_be_looked_at_yet_is_no_failure() -> None:
    world = World()
    seen, report = events()
    found = look_at_all([Thing("host", world), Thing("storage", world, "host")], report, exists=True)
    assert [len(inspected.changes) for inspected in found] == [1, 1]
    assert "failed" not in [event.kind for event in seen]


def test_one_that_cannot_be_looked_at_though_all_before_it_is_well_is_a_failure() -> None:
    world = World({"host"})
    _, report = events()
    with pytest.raises(StepError, match="no bucket"):
        look_at_all([Thing("host", world), Thing("storage", world, "bucket")], report, exists=True)


def test_a_failure_stops_the_walk_and_the_next_one_goes_on_from_there() -> None:
    world = World()
    broken = Thing("storage", world, "host", breaks=True)
    stages = [Thing("host", world), broken, Thing("release", world, "storage")]
    _, report = events()
    with pytest.raises(StepError, match="it broke"):
        apply_all(look_at_all(stages, report, exists=True), report, lambda _: None)
    assert world.has == {"host"}
    broken.breaks = False
    world.asked.clear()
    assert apply_all(look_at_all(stages, report, exists=True), report, lambda _: None) == 2
    assert "make host" not in world.asked
