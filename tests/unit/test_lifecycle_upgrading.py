"""An upgrade played through: what moves in which order, what goes back, and what stays held."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from binder_node.artifacts.model import Artifact
from binder_node.artifacts.pins import Pins, PinsFile, load_pins, parse_pins
from binder_node.artifacts.store import Sources
from binder_node.errors import InputError, StepError
from binder_node.events import Event, silent
from binder_node.lifecycle.following import Following
from binder_node.lifecycle.opened import held_of, open_spec
from binder_node.lifecycle.upgrade_ways import Ways
from binder_node.lifecycle.upgrading import Asked, Upgrading, failing, in_time, told
from binder_node.smoke.checks import Check, Outcome, Result
from binder_node.smoke.run import Summary
from binder_node.upgrades.components import COMPONENTS, TURN, failed, held_in, kept, record_of
from binder_node.upgrades.releases import turned
from binder_node.upgrades.reported import Reported
from tests.unit.test_lifecycle_draining import INVENTORY

BUILT_IN = load_pins()
OLD = {"registry": "v3.1.2", "buildkit": "v0.33.1", "k3s": "v1.35.8+k3s1"}
# Of the parts of a component, those that the tests move.
FIRST = {"registry": "registry", "buildkit": "buildkitd", "k3s": "k3s"}
SUNDAY, MONDAY = datetime(2026, 11, 22, 1, tzinfo=UTC), datetime(2026, 11, 23, 1, tzinfo=UTC)


def result(id: str, outcome: Outcome, *because: str) -> Result:
    return Result(Check(id, "", ()), outcome, reason="wrong" if outcome == "failed" else "", because=because)


def summary(*results: Result) -> Summary:
    return Summary("new", results, 1.0, 0)


class Killed(BaseException):
    """What nobody catches."""


@dataclass
class World:
    """A node that becomes what its pins say; ``broken`` versions fail their check, ``dead`` ones do not start."""

    folder: Path
    text: str = ""
    runs: dict[str, str] = field(default_factory=dict)
    did: list[str] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    lying: dict[str, str] = field(default_factory=dict)
    builds: list[int] = field(default_factory=list)
    at: Callable[[str], None] = lambda _: None
    now: float = 0.0
    more: str = ""

    def __post_init__(self) -> None:
        self.inventory.write_text(INVENTORY + self.more)
        self.text = record_of(BUILT_IN, self.artifacts(BUILT_IN))
        self.runs = self.versions(BUILT_IN)

    @property
    def inventory(self) -> Path:
        return self.folder / "new.yaml"

    @property
    def held(self) -> Mapping[str, str]:
        return held_in(open_spec(str(self.inventory), None).pins.entries)

    def pin(self, **versions: str) -> None:
        """Pin these components at other versions, in an overlay of the node's own."""
        from binder_node.upgrades.components import written

        entries = {FIRST[name]: turned(BUILT_IN.entries[FIRST[name]], version) for name, version in versions.items()}
        (self.folder / "new.pins.toml").write_text(written(entries, {}, "# ours"))

    def artifacts(self, pins: Pins) -> dict[str, Artifact]:
        names = [name for item in COMPONENTS for name in item.pins if name != "minio"]
        return {name: Artifact(name, pins.entries[name].version, Path(name), "a" * 64, 1) for name in names}

    def versions(self, pins: Pins) -> dict[str, str]:
        return {name: pins.entries[pin].version for name, pin in FIRST.items()}

    def made_of(self) -> tuple[str, PinsFile]:
        return self.text, parse_pins(tomllib.loads(self.text), Path("pins.toml"))

    def up(self, text: str | None) -> None:
        pins = open_spec(str(self.inventory), None).pins
        changed = [f"{name} {version}" for name, version in self.versions(pins).items() if self.runs[name] != version]
        self.did.append(f"up {', '.join(changed) or 'nothing'}")
        self.at(self.did[-1])
        self.text = record_of(pins, self.artifacts(pins)) if text is None else text
        self.runs = self.versions(pins)
        if found := self.dead & set(self.runs.values()):
            raise StepError("new", "start units", f"{min(found)} does not start")

    def smoke(self, only: str) -> Summary:
        self.now += 1
        self.did.append(f"smoke {only}".strip())
        self.at(self.did[-1])
        results = [result("k3s.api", "ok")]
        results += [result(f"{name}.works", "failed") for name, version in self.runs.items() if version in self.broken]
        return summary(*results)

    def reported(self) -> Reported:
        return Reported({name: {name: self.lying.get(version, version)} for name, version in self.runs.items()})

    def upgrading(self, asked: Asked | None = None, when: datetime = MONDAY) -> Upgrading:
        ways = Ways(
            self.made_of,
            self.artifacts,
            self.reported,
            self.up,
            self.smoke,
            lambda: self.builds.pop(0) if self.builds else 0,
        )

        def sleep(seconds: float) -> None:
            self.now += seconds

        opened = open_spec(str(self.inventory), None)
        return Upgrading(opened, asked or Asked(), ways, silent, lambda: when, lambda: self.now, sleep)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_components_move_one_at_a_time_each_proven_and_nothing_stays_held(world: World) -> None:
    world.pin(registry="v3.1.3", k3s="v1.35.9+k3s1")
    done = world.upgrading().run()
    assert world.did == [
        "up nothing", "smoke",
        "up registry v3.1.3", "smoke", "up nothing",
        "up k3s v1.35.9+k3s1", "smoke", "up nothing",
    ]  # fmt: skip
    assert [(item.component, item.old, item.new) for item in done.done] == [
        ("registry", "v3.1.2", "v3.1.3"),
        ("k3s", "v1.35.8+k3s1", "v1.35.9+k3s1"),
    ]
    assert (done.failed, done.left) == (None, {})
    assert not held_of(world.inventory).exists()
    assert world.upgrading().run().done == ()


def test_what_fails_smoke_goes_back_by_itself_and_nothing_is_tried_after_it(world: World) -> None:
    world.pin(registry="v3.1.3", buildkit="v0.34.0", k3s="v1.35.9+k3s1")
    world.broken = {"v0.34.0"}
    done = world.upgrading().run()
    assert [item.component for item in done.done] == ["registry"]
    assert done.failed is not None
    assert (done.failed.component, done.failed.why) == ("buildkit", "buildkit.works: wrong")
    assert world.runs == OLD | {"registry": "v3.1.3"}
    assert world.held == {"buildkit": "v0.34.0 failed: buildkit.works: wrong"}
    # Once more it is not tried, and the rest goes on.
    assert [item.component for item in world.upgrading().run().done] == ["k3s"]
    world.broken = set()
    assert [item.component for item in world.upgrading(Asked(again=True)).run().done] == ["buildkit"]
    assert world.held == {}


def test_what_does_not_start_goes_back(world: World) -> None:
    world.pin(k3s="v1.35.9+k3s1")
    world.dead = {"v1.35.9+k3s1"}
    done = world.upgrading().run()
    assert done.failed is not None
    assert "v1.35.9+k3s1 does not start" in done.failed.why
    assert world.runs == OLD


def test_what_reports_another_version_than_the_pin_goes_back(world: World) -> None:
    world.pin(registry="v3.1.3")
    world.lying = {"v3.1.3": "v3.1.2"}
    done = world.upgrading().run()
    assert done.failed is not None
    assert done.failed.why == "registry is v3.1.2; the pins say v3.1.3"


def test_a_newer_version_than_the_one_that_failed_is_tried(world: World) -> None:
    world.pin(registry="v3.1.3")
    world.broken = {"v3.1.3"}
    world.upgrading().run()
    world.pin(registry="v3.1.4")
    assert [(item.old, item.new) for item in world.upgrading().run().done] == [("v3.1.2", "v3.1.4")]
    assert world.held == {}


def test_what_cannot_go_back_either_is_told_with_both_reasons(world: World) -> None:
    world.pin(registry="v3.1.3")
    world.broken = {"v3.1.3"}

    def at(what: str) -> None:
        if what == "up registry v3.1.2":
            raise StepError("new", "upload", "the disk is full")

    world.at = at
    with pytest.raises(StepError, match=r"take registry back to v3.1.2: .*disk is full.*because of registry.works"):
        world.upgrading().run()
    assert world.held == {"registry": "v3.1.3 failed: registry.works: wrong"}


def test_a_node_that_fails_smoke_as_it_is_is_not_upgraded(world: World) -> None:
    world.pin(registry="v3.1.3")
    world.broken = {"v0.33.1"}
    with pytest.raises(StepError, match=r"check the node before anything moves: buildkit.works: wrong"):
        world.upgrading().run()
    assert (world.runs, world.held) == (OLD, {})
    # What is accepted is not told from what the upgrade broke, so it is said by name.
    assert len(world.upgrading(Asked(accept=("buildkit.works",))).run().done) == 1


def test_what_settles_is_waited_for_and_only_that_is_looked_at_again(world: World) -> None:
    world.pin(k3s="v1.35.9+k3s1")
    world.broken = {"v1.35.9+k3s1"}

    def at(what: str) -> None:
        if what == "smoke k3s.works" and world.did.count(what) == 2:
            world.broken = set()

    world.at = at
    assert world.upgrading().run().failed is None
    assert world.did.count("smoke k3s.works") == 2


def killed_before_it_was_proven(world: World, **also: str) -> None:
    """A run that moves the registry to v3.1.3, and is killed in its smoke. ``also`` is pinned too."""
    world.pin(registry="v3.1.3", **also)

    def at(what: str) -> None:
        if what == "smoke" and world.runs["registry"] == "v3.1.3":
            raise Killed

    world.at = at
    with pytest.raises(Killed):
        world.upgrading().run()


def test_killed_before_it_was_proven_the_next_run_goes_back_and_tries_again(world: World) -> None:
    killed_before_it_was_proven(world, buildkit="v0.34.0")
    assert world.held == {"buildkit": TURN}  # an `up` now does not move what was never tried
    world.at, world.did = lambda _: None, []
    done = world.upgrading().run()
    assert world.did[:3] == ["up registry v3.1.2", "smoke", "up registry v3.1.3"]
    assert [item.component for item in done.done] == ["registry", "buildkit"]


def test_killed_before_it_was_proven_and_pinned_no_more_it_goes_back(world: World) -> None:
    killed_before_it_was_proven(world)
    world.at, world.did = lambda _: None, []
    (world.folder / "new.pins.toml").unlink()
    assert world.upgrading().run().done == ()
    assert (world.did, world.runs) == (["up registry v3.1.2", "smoke"], OLD)
    assert world.upgrading().run().done == ()
    assert world.did == ["up registry v3.1.2", "smoke"]


def test_interrupted_what_was_under_way_is_held(world: World) -> None:
    world.pin(registry="v3.1.3")

    def at(what: str) -> None:
        if what == "up registry v3.1.3":
            raise KeyboardInterrupt

    world.at = at
    with pytest.raises(KeyboardInterrupt):
        world.upgrading().run()
    assert world.held == {"registry": TURN}


def test_named_components_alone_move(world: World) -> None:
    world.pin(registry="v3.1.3", buildkit="v0.34.0")
    done = world.upgrading(Asked(names=("buildkit",))).run()
    assert [item.component for item in done.done] == ["buildkit"]
    assert done.left == {"registry": TURN}
    assert (world.runs["registry"], world.held) == ("v3.1.2", {})


def test_k3s_waits_for_its_window_and_stays_held_until_then(tmp_path: Path) -> None:
    world = World(tmp_path, more='kubernetes: {upgrade_window: "Sun 00:00-02:00"}\n')
    world.pin(registry="v3.1.3", k3s="v1.35.9+k3s1")
    done = world.upgrading().run()
    assert [item.component for item in done.done] == ["registry"]
    assert done.left == {"k3s": "it waits for its window, Sun 00:00-02:00 (UTC)"}
    assert world.held == done.left
    rows = {row.component: row for row in world.upgrading().look()}
    assert (rows["k3s"].runs, rows["k3s"].pinned) == ("v1.35.8+k3s1", "v1.35.9+k3s1")
    assert rows["k3s"].why == done.left["k3s"]
    assert rows["registry"].why == ""
    assert [item.component for item in world.upgrading(when=SUNDAY).run().done] == ["k3s"]
    assert world.held == {}


def test_outside_of_its_window_when_told_now(tmp_path: Path) -> None:
    world = World(tmp_path, more='kubernetes: {upgrade_window: "Sun 00:00-02:00"}\n')
    world.pin(k3s="v1.35.9+k3s1")
    assert len(world.upgrading(Asked(now=True)).run().done) == 1


def test_another_minor_release_of_k3s_is_refused_and_nothing_is_touched(world: World) -> None:
    world.pin(registry="v3.1.3", k3s="v1.36.4+k3s1")
    with pytest.raises(InputError, match=r"k3s: from v1.35.8\+k3s1 to v1.36.4\+k3s1 there is no way back"):
        world.upgrading().run()
    assert (world.did, world.held) == ([], {})
    assert len(world.upgrading(Asked(names=("registry",))).run().done) == 1


def test_builds_under_way_are_waited_for_but_not_for_ever(world: World) -> None:
    world.pin(buildkit="v0.34.0")
    world.builds = [2, 1, 0]
    world.upgrading().run()
    assert world.builds == []
    world.pin(buildkit="v0.34.1")
    world.builds = [1] * 1000
    began = world.now
    world.upgrading(Asked(builds=60)).run()
    assert 60 < world.now - began < 80


def test_the_window_ends_a_patch_or_is_waited_for(tmp_path: Path) -> None:
    world = World(tmp_path, more='kubernetes: {upgrade_window: "Sun 00:00-02:00"}\n')
    opened, events, now = (
        open_spec(str(world.inventory), None),
        list[Event](),
        [datetime(2026, 11, 21, 23, 58, tzinfo=UTC)],
    )

    def sleep(seconds: float) -> None:
        now[0] = datetime.fromtimestamp(now[0].timestamp() + seconds, UTC)

    def asked(*, patch: bool, wait: bool) -> bool:
        return in_time(opened, events.append, patch=patch, wait=wait, clock=lambda: now[0], sleep=sleep)

    assert not asked(patch=True, wait=False)
    assert events[-1].message.endswith("K3s's window, Sun 00:00-02:00, opens at 2026-11-22 00:00 UTC")
    assert asked(patch=False, wait=False)  # other components need no window
    assert asked(patch=True, wait=True)
    assert now[0] == datetime(2026, 11, 22, tzinfo=UTC)


def test_what_counts_as_failed() -> None:
    found = summary(
        result("machine.clock", "failed"), result("k3s.dns", "blocked", "machine.clock"), result("k3s.api", "skipped")
    )
    assert [item.check.id for item in failing(found, [])] == ["machine.clock", "k3s.dns"]
    assert failing(found, ["machine.clock"]) == []
    assert told(failing(found, [])) == "machine.clock: wrong"
    assert told(failing(found, ["k3s.dns"])) == "machine.clock: wrong"
    assert told([result("k3s.dns", "blocked", "x.y")]) == "k3s.dns: could not be looked at"
    many = [result(f"a.{number}", "failed") for number in range(5)]
    assert told(many) == "a.0: wrong; a.1: wrong; a.2: wrong; and 2 more"


def test_a_chart_that_is_held_does_not_follow_the_prime(world: World) -> None:
    held_of(world.inventory).write_text(kept(world.made_of()[1], {"chart": failed("2.0", "no hub")}))
    nobody: Any = None
    with pytest.raises(
        InputError, match=r"its chart is held: 2.0 failed: no hub; `binder-node upgrade new chart --again`"
    ):
        Following(open_spec(str(world.inventory), None), nobody, nobody, Sources((), None), silent)
