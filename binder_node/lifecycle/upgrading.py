"""``upgrade``: a node's components to the pinned versions, one at a time, each proven by smoke or taken back.

It is `up` with versions held: what is not yet to move stands in ``NODE.held.toml`` over all other pins, a component's
turn takes its tables out of there, and a failure puts them back. So every command agrees on the versions at any moment,
and what a node goes back to is what it says itself that it was made of.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from binder_node import files, remote
from binder_node.artifacts.pins import Pins, PinsFile
from binder_node.artifacts.store import Sources
from binder_node.cluster.kube import sudo
from binder_node.errors import BinderNodeError, InputError, LockedError, Problem, StepError
from binder_node.events import Event, Reporter, quiet, step
from binder_node.layout import NAMESPACE
from binder_node.lifecycle import verbs
from binder_node.lifecycle.opened import (
    Opened,
    access_of,
    ensure_artifacts,
    held_of,
    load_unheld,
    open_node,
    open_spec,
    pins_of,
)
from binder_node.lifecycle.versions import made_of, reported
from binder_node.node import Access
from binder_node.smoke.checks import Result
from binder_node.smoke.run import Summary
from binder_node.spec.window import parse
from binder_node.upgrades import components, releases
from binder_node.upgrades.components import Move
from binder_node.upgrades.reported import Reported, wrong

STAGE = "upgrade"
# What settles after a restart (pods, leases, caches) is looked at again; what then still fails has failed.
SETTLE_SECONDS, PAUSE = 90.0, 10.0
# Builds take 10 minutes at most nearly always; an hour at the latest (field guide, 16).
BUILDS_SECONDS = 600.0
BUILDS = (
    f"k3s kubectl get pods -n {NAMESPACE} -l component=binderhub-build --field-selector=status.phase=Running -o name"
)


@dataclass(frozen=True, slots=True)
class Row:
    """A component: what runs, what the node was made of, what is pinned, and why that is not the same (or empty)."""

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
    its window, checks whose failure is accepted, seconds for builds under way to end."""

    names: tuple[str, ...] = ()
    again: bool = False
    now: bool = False
    accept: tuple[str, ...] = ()
    builds: float = BUILDS_SECONDS


Smoke = Callable[[str], Summary]


@dataclass(slots=True)
class Upgrading:
    """A node under upgrade. ``smoke`` runs its checks: all for an empty text, else those named, parted by commas."""

    opened: Opened
    sources: Sources
    asked: Asked
    smoke: Smoke
    report: Reporter
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep
    _held: dict[str, str] = field(default_factory=dict)
    _record: PinsFile = field(default_factory=lambda: PinsFile(entries={}))
    _text: str = ""

    @property
    def name(self) -> str:
        return self.opened.spec.name

    # --- looking -----------------------------------------------------------------------------------------------------

    def look(self) -> list[Row]:
        """Every component as it is; writes nothing but to the cache of artifacts. Raises as :meth:`run` does."""
        access, _ = access_of(self.opened)
        wanted, moves = self._wanted(access)
        turn, left = self._whose_turn(moves)
        running = reported(access, self.opened.spec)
        held = components.lasting(components.held_in(wanted.entries), load_unheld(self.opened).entries)
        said = held | left | {move.component.name: "to be upgraded" for move in turn}
        return [
            row(name, running, self._record, load_unheld(self.opened), said.get(name, "")) for name in running.versions
        ]

    def _wanted(self, access: Access) -> tuple[Pins, list[Move]]:
        """The pins without what is held (but for what failed in that version), and what they would move."""
        self._text, self._record = made_of(access)
        lift = (self.asked.names or components.NAMES) if self.asked.again else ()
        wanted = components.unheld(load_unheld(self.opened), self.opened.pins, lift)
        artifacts = ensure_artifacts(replace(self.opened, pins=wanted), self.report, self.sources)
        return wanted, components.moves(self._record, components.sealed(wanted.entries, artifacts), wanted.images)

    def _whose_turn(self, moves: Sequence[Move]) -> tuple[list[Move], dict[str, str]]:
        """Those to be made now, and why the others are not.

        Raises:
            InputError: K3s is pinned at a release from which there is no way back.
        """
        turn, left = components.chosen(moves, self.asked.names), {}
        for move in moves:
            if move not in turn:
                left[move.component.name] = components.TURN
        for move in turn:
            if move.component.name != "k3s":
                continue
            if why := releases.refused(move.old, move.new):
                right = f"bring up a new node with it, or pin {move.old} in {pins_of(self.opened.inventory).name}"
                raise InputError(Problem("", 0, "k3s", why, right))
            opens = self.opens()
            if opens is not None and not self.asked.now:
                left["k3s"] = f"{components.WAITS}its window, {self.opened.spec.kubernetes.upgrade_window} (UTC)"
                turn = [other for other in turn if other is not move]
        return turn, left

    def opens(self) -> datetime | None:
        """When K3s's window opens next; None while it is open, and where there is none."""
        return opens(self.opened, self.clock())

    # --- doing -------------------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Upgrade what is to be upgraded; what fails goes back, and nothing is tried after it.

        Raises:
            InputError: the pins cannot be, or K3s's release has no way back; nothing was touched.
            StepError: the node does not pass smoke as it is; or a component failed and could not be taken back.
            DeadlineError: as StepError.
        """
        began = time.monotonic()
        access, _ = access_of(self.opened)
        wanted, moves = self._wanted(access)
        turn, left = self._whose_turn(moves)
        lasting = components.lasting(components.held_in(wanted.entries), load_unheld(self.opened).entries)
        window = {name: why for name, why in left.items() if why != components.TURN}
        self._hold(lasting | {move.component.name: components.TURN for move in moves} | window)
        done: list[Done] = []
        failed: Failed | None = None
        try:
            if turn:
                self._first()
            for move in turn:
                since = time.monotonic()
                failed = self._one(access, move)
                if failed is not None:
                    break
                done.append(Done(move.component.name, move.old, move.new, round(time.monotonic() - since, 1)))
        except BinderNodeError:
            self._hold(self._ended())
            raise
        # Interrupted, the others stay held: the same command goes on.
        self._hold(self._ended())
        return Outcome(self.name, tuple(done), failed, lasting | left, round(time.monotonic() - began, 1))

    def _ended(self) -> dict[str, str]:
        return {name: why for name, why in self._held.items() if why != components.TURN}

    def _first(self) -> None:
        """The node with its other changes and the versions that it has, proven: what fails later is an upgrade's."""
        with step(self.report, STAGE, "check the node before anything moves"):
            self._up()
            if failures := self._prove():
                remedy = "mend it first, or name what does not count by --accept"
                raise StepError(self.name, "check the node before anything moves", told(failures), remedy)

    def _one(self, access: Access, move: Move) -> Failed | None:
        name, what = move.component.name, f"{move.component.name} from {move.old} to {move.new}"
        if move.component.ends_builds:
            self._await_builds(access)
        self.report(Event("start", STAGE, what, {"component": name, "from": move.old, "to": move.new}))
        self._hold({other: why for other, why in self._held.items() if other != name})
        try:
            self._up(before=True)
            why = self._versions(access, name) or told(self._prove())
        except LockedError:
            raise
        except BinderNodeError as error:
            why = str(error)
        except KeyboardInterrupt:
            self._hold({**self._held, name: components.TURN})
            raise
        if why:
            return self._back(move, why)
        # What it was made of moves on now that it is proven; until here a run that is killed goes back.
        self._up()
        self._text, self._record = made_of(access)
        self.report(Event("done", STAGE, what, {"component": name, "from": move.old, "to": move.new}))
        return None

    def _back(self, move: Move, why: str) -> Failed:
        name = move.component.name
        data = {"component": name, "from": move.new, "to": move.old}
        self.report(Event("warn", STAGE, f"{name} {move.new}: {why}; going back to {move.old}", data))
        self._hold({**self._held, name: components.failed(move.new, why)})
        try:
            self._up()
            failures = told(self._prove())
        except BinderNodeError as error:
            failures = str(error)
        if failures:
            remedy = (
                f"`binder-node up {self.name}` tries {move.old} again; `binder-node smoke {self.name}` says what fails"
            )
            raise StepError(
                self.name, f"take {name} back to {move.old}", f"{failures}; it went back for: {why}", remedy
            )
        self.report(Event("failed", STAGE, f"{name} {move.new} went back to {move.old}: {why}", data))
        return Failed(name, move.old, move.new, why)

    def _versions(self, access: Access, name: str) -> str:
        """What runs of a component that is not what is pinned now."""
        pins = self._now().pins
        return wrong(reported(access, self.opened.spec), name, pins.entries)

    # --- steps -------------------------------------------------------------------------------------------------------

    def _now(self) -> Opened:
        return open_spec(str(self.opened.inventory), self.opened.pins.overlay)

    def _hold(self, held: Mapping[str, str]) -> None:
        """Write down which components keep the version that the node has."""
        path = held_of(self.opened.inventory)
        text = components.kept(self._record, held)
        self._held = dict(held)
        if text:
            files.replace(path, text.encode(), 0o644)
        else:
            path.unlink(missing_ok=True)

    def _up(self, *, before: bool = False) -> None:
        """`up` by the pins as they are now; ``before``: the node keeps saying that it is made of what it was."""
        node = open_node(self._now(), quiet(self.report), sources=self.sources)
        verbs.up(replace(node, made_of=self._text) if before else node, self.report)

    def _prove(self) -> list[Result]:
        """The checks that fail and go on failing."""
        deadline, only = time.monotonic() + SETTLE_SECONDS, ""
        while True:
            left = failing(self.smoke(only), self.asked.accept)
            if not left or time.monotonic() > deadline:
                return left
            only = ",".join(result.check.id for result in left)
            self.report(Event("progress", STAGE, f"not yet: {told(left)}"))
            self.sleep(PAUSE)

    def _await_builds(self, access: Access) -> None:
        """Builds under way end when this restarts: wait for them, but not for ever."""
        deadline = time.monotonic() + self.asked.builds
        while True:
            done = remote.run(access, f"{sudo(access)}{BUILDS}", timeout=30, check=False)
            count = len(done.stdout.split())
            if not count:
                return
            if time.monotonic() > deadline:
                self.report(
                    Event("warn", STAGE, f"{count} builds go on after {self.asked.builds:.0f} s: they will end")
                )
                return
            self.report(Event("progress", STAGE, f"wait for {count} builds to end", {"builds": count}))
            self.sleep(min(5.0, max(0.1, deadline - time.monotonic())))


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
    first = components.component(name).pins[0]
    made = record.entries[first].version if first in record.entries else ""
    why = why or (wrong(running, name, record.entries) if made else "")
    return Row(name, running.of(name), made, pins.entries[first].version, why)


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
