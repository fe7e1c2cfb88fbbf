"""A ramp as it runs: look at the member at its weight, decide, write the next weight into the checkout.

Nothing is remembered between runs: the checkout says where the ramp is, the member how it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from binder_node.errors import DeadlineError
from binder_node.events import Event, Kind, Reporter
from binder_node.federation.config import Federation
from binder_node.federation.gate import Judgement, Limits, judge
from binder_node.federation.measured import Numbers, Sample, numbers
from binder_node.federation.steps import Decision, after, decide

STAGE = "ramp"
# A weight is a reviewed change and a deploy: hours where people do it, minutes where a machine does.
IN_FORCE_SECONDS, IN_FORCE_POLL = 1800.0, 5.0


class Book(Protocol):
    """A checkout of the federation's repository, as far as weights go."""

    def federation(self) -> Federation:
        """What it says now. Raises InputError."""

    def write(self, weight: int) -> str:
        """Give the member this weight; the diff. Raises InputError."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds: how long a step is watched, and how long between two looks."""

    window: float
    every: float


@dataclass(frozen=True, slots=True)
class Ways:
    """What a ramp does outside: ``look`` at the member, say why it is not ``ready`` for a first weight, ``deploy`` a
    weight that was written, and say the weight that the redirector has ``in_force`` (None: the member is not in
    rotation); any of the last two may be missing.
    """

    look: Callable[[], Sample]
    ready: Callable[[], tuple[str, ...]] = tuple
    deploy: Callable[[int], None] | None = None
    in_force: Callable[[], float | None] | None = None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class Step:
    """One window at ``weight``, what was seen, and what followed."""

    weight: int
    decision: Decision
    seen: Numbers | None = None
    diff: str = ""


@dataclass(slots=True)
class Ramp:
    """One member's ramp to ``goal``. ``run`` may be called again: it goes on from what the checkout says."""

    book: Book
    name: str
    goal: int
    limits: Limits
    pace: Pace
    ways: Ways
    report: Reporter
    steps: list[Step] = field(default_factory=list)

    def run(self, *, watch: bool) -> list[Step]:
        """One step, or with ``watch`` step after step until the target is reached or one is taken back.

        A hold without ``watch`` ends it; with it, the next window begins at the same weight.

        Raises:
            InputError: the checkout is not as it must be.
            StepError: a deploy failed.
            DeadlineError: the redirector does not get to know a weight.
        """
        before: Numbers | None = None
        while True:
            step = self.step(before)
            self.steps.append(step)
            if (
                not watch
                or step.decision.what in ("back", "done")
                or (step.decision.what == "hold" and not step.weight)
            ):
                return self.steps
            if step.decision.what == "go":
                before = step.seen

    def step(self, before: Numbers | None) -> Step:
        """Watch the member at its weight for a window, or until it has to go back; then write what follows."""
        found = self.book.federation()
        now = round(found.member(self.name).weight)
        if now == 0:
            if hindrances := self.ways.ready():
                return self._told(Step(0, Decision("hold", 0, hindrances)))
            return self._write(Step(0, Decision("go", after(0, self.goal), ("the first weight",))))
        self._await_force(now)
        others = sum(one.weight for one in found.routed if one.name != self.name)
        seen, judgement = self._watch(now, before)
        decision = decide(now, self.goal, others, seen, judgement, self.limits.headroom)
        if decision.what == "back" and decision.weight == 0 and found.prime.name == self.name:
            reasons = (
                *decision.reasons,
                "it is the prime, which needs a weight: make another one prime, then drain it",
            )
            decision = Decision("back", now, reasons)
        step = Step(now, decision, seen)
        return self._write(step) if step.decision.what in ("go", "back") else self._told(step)

    def _watch(self, weight: int, before: Numbers | None) -> tuple[Numbers, Judgement]:
        self.report(Event("start", STAGE, f"{self.name} at weight {weight}: watch for {self.pace.window / 60:.0f} min"))
        began, samples = self.ways.clock(), list[Sample]()
        while True:
            samples.append(self.ways.look())
            seen = numbers(samples, headroom=self.limits.headroom, build_limit=self.limits.build_limit)
            judgement = judge(seen, self.limits, before)
            self.report(Event("progress", STAGE, f"{self.name} at weight {weight}: {line(seen)}", {"weight": weight}))
            left = self.pace.window - (self.ways.clock() - began)
            if judgement.back or left <= 0:
                return seen, judgement
            self.ways.sleep(min(self.pace.every, left))

    def _await_force(self, weight: int) -> None:
        """What is seen counts for a weight only once the redirector routes by it."""
        if self.ways.in_force is None:
            return
        began = self.ways.clock()
        while (seen := self.ways.in_force()) != weight:
            if self.ways.clock() - began > IN_FORCE_SECONDS:
                last = "it is not in rotation" if seen is None else f"it has {seen:g}"
                what = f"the redirector to route to {self.name} by weight {weight}"
                raise DeadlineError(self.name, what, IN_FORCE_SECONDS, last, "deploy the checkout's change")
            self.report(Event("progress", STAGE, f"wait for weight {weight} at the redirector, which has {seen}"))
            self.ways.sleep(IN_FORCE_POLL)

    def _write(self, step: Step) -> Step:
        weight = step.decision.weight
        diff = self.book.write(weight)
        told = self._told(Step(step.weight, step.decision, step.seen, diff))
        if self.ways.deploy is not None:
            self.ways.deploy(weight)
        return told

    def _told(self, step: Step) -> Step:
        decision = step.decision
        kind, sentence = _said(self.name, step.weight, decision)
        self.report(Event(kind, STAGE, f"{sentence}: {'; '.join(decision.reasons)}", fields(step)))
        return step


def fields(step: Step) -> dict[str, Any]:
    """A step for machines: ``{"from", "what", "weight", "reasons", "seen"}``."""
    return {"from": step.weight, **asdict(step.decision), "seen": asdict(step.seen) if step.seen else None}


def _said(name: str, weight: int, decision: Decision) -> tuple[Kind, str]:
    match decision.what:
        case "go":
            return "change", f"{name}: weight {weight} -> {decision.weight}"
        case "back":
            return "warn", f"{name}: back from weight {weight} to {decision.weight}"
        case "hold":
            return "warn", f"{name}: stays at weight {decision.weight}"
        case _:
            return "done", f"{name}: at its target"


def line(seen: Numbers) -> str:
    """What was seen so far, in a line."""
    if seen.silent:
        return f"no answer: {seen.error}"
    parts = [
        f"{seen.launched} launched, {seen.failed} failed",
        f"p95 {seen.ready:.0f} s" if seen.ready is not None else "",
        f"{seen.building} building" if seen.building else "",
        f"{seen.pods} pods of {'no quota' if seen.quota is None else seen.quota}",
        f"disk {seen.disk.used:.0f} %" if seen.disk is not None else "",
    ]
    return ", ".join(filter(None, parts))
