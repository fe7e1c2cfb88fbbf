"""``upgrade``: a node's components to the pinned versions, one at a time, each proven by smoke or taken back.

It is `up` with versions held: what is not yet to move stands in ``NODE.held.toml`` over all other pins, a component's
turn takes its tables out of there, and a failure puts them back. So every command agrees on the versions at any moment,
and what a node goes back to is what it says itself that it was made of.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from binder_node import files
from binder_node.artifacts.pins import Pins, PinsFile
from binder_node.errors import BinderNodeError, InputError, Problem, StepError
from binder_node.events import Event, Reporter, step
from binder_node.lifecycle.opened import Opened, held_of, load_unheld, open_spec, pins_of
from binder_node.lifecycle.upgrade_ways import Ways
from binder_node.smoke.checks import Result
from binder_node.smoke.run import Summary
from binder_node.spec.window import parse
from binder_node.upgrades import components, releases
from binder_node.upgrades.components import Move
from binder_node.upgrades.reported import Reported, wrong

STAGE = "upgrade"
# What settles after a restart (pods, leases, caches) is looked at again; what fails after that has failed.
SETTLE_SECONDS, PAUSE = 90.0, 10.0
# Most builds are shorter (field guide, 16: those over an hour nearly always fail).
BUILDS_SECONDS = 600.0
BEFORE = "check the node before anything moves"


@dataclass(frozen=True, slots=True)
class Row:
    """A component: what runs, what the node was made of, what is pinned, and why these are not the same (or empty)."""

    component: str
    runs: str
    made_of: str
    pinned: str
    why: str


@dataclass(frozen=True, slots=True)
class Done:
    """A component that moved."""

    component: str
    old: str
    new: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """A component that went back by itself, and why."""

    component: str
    old: str
    new: str
    why: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """``left``: by component, why it was not its turn."""

    node: str
    done: tuple[Done, ...]
    failed: Failed | None
    left: Mapping[str, str]
    seconds: float


@dataclass(frozen=True, slots=True)
class Asked:
    """What the operator wants: ``names`` of components (none: all), failed ones tried ``again``, K3s ``now`` whatever
    its window, checks whose failure is accepted, seconds for builds under way to end, and for what restarted to settle
    before a failure counts."""

    names: tuple[str, ...] = ()
    again: bool = False
    now: bool = False
    accept: tuple[str, ...] = ()
    builds: float = BUILDS_SECONDS
    settle: float = SETTLE_SECONDS


@dataclass(slots=True)
class Upgrading:
    """A node under upgrade; ``ways`` is what it does outside."""

    opened: Opened
    asked: Asked
    ways: Ways
    report: Reporter
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _held: dict[str, str] = field(default_factory=dict)
    # What the node was made of, as it keeps it: the text, and what it says.
    _text: str = ""
    _record: PinsFile = field(default_factory=lambda: PinsFile(entries={}))

    # --- looking -----------------------------------------------------------------------------------------------------

    def look(self) -> list[Row]:
        """Every component as it is; writes nothing but to the cache of artifacts. Raises as :meth:`run` does."""
        pins, moves = self._wanted()
        turn, left = self._whose_turn(moves)
        why = self._lasting(pins) | left | {move.component.name: "to be upgraded" for move in turn}
        running, pinned = self.ways.reported(), load_unheld(self.opened)
        there = [name for name in components.NAMES if name in running.parts]
        return [row(name, running, self._record, pinned, why.get(name, "")) for name in there]

    def _wanted(self) -> tuple[Pins, list[Move]]:
        """The pins, without what is held but for what failed in just that version; and what they would move."""
        self._text, self._record = self.ways.made_of()
        lift = (self.asked.names or components.NAMES) if self.asked.again else ()
        pins = components.unheld(load_unheld(self.opened), self.opened.pins, lift)
        entries = components.sealed(pins.entries, self.ways.artifacts(pins))
        return pins, components.moves(self._record, entries, pins.images)

    def _lasting(self, pins: Pins) -> dict[str, str]:
        return components.lasting(components.held_in(pins.entries), load_unheld(self.opened).entries)

    def _whose_turn(self, moves: Sequence[Move]) -> tuple[list[Move], dict[str, str]]:
        """Those to be made now, and why the others are not.

        Raises:
            InputError: K3s is pinned at a release from which there is no way back.
        """
        asked = [move for move in moves if not self.asked.names or move.component.name in self.asked.names]
        turn, left = [], {move.component.name: components.TURN for move in moves if move not in asked}
        for move in asked:
            if move.component.name == "k3s" and (why := releases.refused(move.old, move.new)):
                right = f"bring up a new node with it, or pin {move.old} in {pins_of(self.opened.inventory).name}"
                raise InputError(Problem("", 0, "k3s", why, right))
            if move.component.name == "k3s" and not self.asked.now and opens(self.opened, self.clock()) is not None:
                left["k3s"] = f"{components.WAITS}its window, {self.opened.spec.kubernetes.upgrade_window} (UTC)"
            else:
                turn.append(move)
        return turn, left

    # --- doing -------------------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Upgrade what is to be upgraded; what fails goes back, and nothing is tried after it.

        Interrupted or killed, what has not moved stays held, and the same call goes on.

        Raises:
            InputError: the pins cannot be, or K3s's release has no way back; nothing was touched.
            StepError: the node does not pass smoke as it is; or a component failed and could not be taken back.
            DeadlineError: as StepError.
        """
        began = self.monotonic()
        pins, moves = self._wanted()
        turn, left = self._whose_turn(moves)
        lasting = self._lasting(pins)
        self._hold(lasting | {move.component.name: components.TURN for move in moves} | left)
        done: list[Done] = []
        failed: Failed | None = None
        try:
            if turn or self._adrift():
                self._first()
            while turn and failed is None:
                move, since = turn.pop(0), self.monotonic()
                failed = self._one(move)
                if failed is None:
                    done.append(Done(move.component.name, move.old, move.new, round(self.monotonic() - since, 1)))
        except BinderNodeError:
            self._end()
            raise
        self._end()
        return Outcome(self.opened.spec.name, tuple(done), failed, lasting | left, round(self.monotonic() - began, 1))

    def _end(self) -> None:
        """Nothing waits for its turn any more: the pins say again what `up` does."""
        self._hold({name: why for name, why in self._held.items() if why != components.TURN})

    def _first(self) -> None:
        """The node with its other changes and the versions that it has, proven: what fails later is an upgrade's."""
        with step(self.report, STAGE, BEFORE):
            self.ways.up(None)
            self._text, self._record = self.ways.made_of()
            if failures := self._prove():
                remedy = "mend it first, or name what does not count by --accept"
                raise StepError(self.opened.spec.name, BEFORE, told(failures), remedy)

    def _one(self, move: Move) -> Failed | None:
        name, what = move.component.name, f"{move.component.name} from {move.old} to {move.new}"
        data = {"component": name, "from": move.old, "to": move.new}
        if move.component.ends_builds:
            self._await_builds()
        self.report(Event("start", STAGE, what, data))
        self._hold({other: why for other, why in self._held.items() if other != name})
        try:
            # It is not yet what the node is made of: a run that is killed here goes back in the next.
            self.ways.up(self._text)
            # The checks first: what they wait for, like the kubelet's next word to the API, is there afterwards.
            why = told(self._prove()) or self._versions(name)
        except BinderNodeError as error:
            why = str(error)
        except KeyboardInterrupt:
            self._hold({**self._held, name: components.TURN})
            raise
        if why:
            return self._back(move, why)
        self.ways.up(None)
        self._text, self._record = self.ways.made_of()
        self.report(Event("done", STAGE, what, data))
        return None

    def _back(self, move: Move, why: str) -> Failed:
        name, node = move.component.name, self.opened.spec.name
        data = {"component": name, "from": move.new, "to": move.old}
        self.report(Event("warn", STAGE, f"{name} {move.new}: {why}; going back to {move.old}", data))
        self._hold({**self._held, name: components.failed(move.new, why)})
        try:
            self.ways.up(None)
            failures = told(self._prove()) or self._versions(name)
        except BinderNodeError as error:
            failures = str(error)
        if failures:
            reason = f"{failures}; it was to go back because of {why}"
            remedy = f"`binder-node up {node}` makes it {move.old} again, `binder-node smoke {node}` tells what fails"
            raise StepError(node, f"take {name} back to {move.old}", reason, remedy)
        self.report(Event("failed", STAGE, f"{name} {move.new} went back to {move.old}", data))
        return Failed(name, move.old, move.new, why)

    def _adrift(self) -> bool:
        """Whether something runs that is not what the node was made of: a run was killed before it had proven it."""
        running = self.ways.reported()
        return any(wrong(running, name, self._record.entries) for name in running.parts)

    # --- steps -------------------------------------------------------------------------------------------------------

    def _hold(self, held: Mapping[str, str]) -> None:
        """Write down which components keep the version that the node has."""
        path, text = held_of(self.opened.inventory), components.kept(self._record, held)
        self._held = dict(held)
        if text:
            files.replace(path, text.encode(), 0o644)
        else:
            path.unlink(missing_ok=True)

    def _versions(self, name: str) -> str:
        """What runs of a component that is not what is pinned now."""
        now = open_spec(str(self.opened.inventory), self.opened.pins.overlay)
        return wrong(self.ways.reported(), name, now.pins.entries)

    def _prove(self) -> list[Result]:
        """The checks that fail and go on failing."""
        deadline, only = self.monotonic() + self.asked.settle, ""
        while True:
            left = failing(self.ways.smoke(only), self.asked.accept)
            if not left or self.monotonic() > deadline:
                return left
            only = ",".join(result.check.id for result in left)
            self.report(Event("progress", STAGE, f"not yet: {told(left)}"))
            self.sleep(min(PAUSE, self.asked.settle / 5))

    def _await_builds(self) -> None:
        """Builds under way end when this restarts: wait for them, but not for ever."""
        deadline, most = self.monotonic() + self.asked.builds, self.asked.builds
        while count := self.ways.builds():
            if self.monotonic() > deadline:
                self.report(Event("warn", STAGE, f"{count} builds are still under way after {most:.0f} s and will end"))
                return
            self.report(Event("progress", STAGE, f"wait for {count} builds to end", {"builds": count}))
            self.sleep(5.0)


def opens(opened: Opened, now: datetime) -> datetime | None:
    """When the node's window for K3s opens next; None while it is open, and where there is none."""
    said = opened.spec.kubernetes.upgrade_window
    if not said:
        return None
    moment = parse(said).opens(now)
    return None if moment == now else moment


def in_time(
    opened: Opened,
    report: Reporter,
    *,
    patch: bool,
    wait: bool,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Whether to go on: with ``wait`` once K3s's window is open, as it is every week; with ``patch`` only if it is."""
    while (moment := opens(opened, clock())) is not None and (wait or patch):
        when = f"K3s's window, {opened.spec.kubernetes.upgrade_window}, opens at {moment:%Y-%m-%d %H:%M} UTC"
        if not wait:
            report(Event("done", STAGE, f"{opened.spec.name}: nothing is done: {when}", {"opens": moment.isoformat()}))
            return False
        report(Event("progress", STAGE, f"waiting: {when}", {"opens": moment.isoformat()}))
        sleep(min(60.0, max(1.0, (moment - clock()).total_seconds())))
    return True


def row(name: str, running: Reported, record: PinsFile, pins: Pins, why: str) -> Row:
    """A component as it is; ``why`` it is not as pinned, where that is known already."""
    first = components.component(name).pins[0]
    made = record.entries[first].version if first in record.entries else ""
    return Row(name, running.of(name), made, pins.entries[first].version, why or wrong(running, name, record.entries))


def failing(found: Summary, accept: Sequence[str]) -> list[Result]:
    """What did not pass; one that could not be looked at counts unless accepted ones alone are to blame."""
    return [
        result
        for result in found.results
        if (result.outcome == "failed" and result.check.id not in accept)
        or (result.outcome == "blocked" and not set(result.because) <= set(accept))
    ]


def told(failures: Sequence[Result]) -> str:
    """``k3s.dns: the cluster's DNS does not answer; and 3 more``; what is blocked only where nothing else is."""
    shown = [result for result in failures if result.outcome == "failed"] or list(failures)
    some = [f"{result.check.id}: {result.reason or 'could not be looked at'}" for result in shown[:3]]
    more = f"; and {len(shown) - 3} more" if len(shown) > 3 else ""
    return "; ".join(some) + more
