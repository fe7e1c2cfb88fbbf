"""``saturate``: the rate of launches at which a node still does what is wanted, found by loading it step by step."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from binder_node import remote
from binder_node.capacity import measured, parts
from binder_node.capacity.steps import Bounds, Goal, Step, bounds, good, next_rate, why_not
from binder_node.cluster.kube import sudo
from binder_node.errors import DeadlineError, StepError
from binder_node.events import Event, Reporter
from binder_node.layout import NAMESPACE
from binder_node.lifecycle.loading import Asked, Own, node_target, play
from binder_node.load.arrivals import Habits, poisson
from binder_node.load.result import Result
from binder_node.load.run import Limits

STAGE = "load"
# After a step, until the servers of those who have left are gone.
EMPTY_SECONDS = 180.0
LOOK_SECONDS = 2.0
RUNNING = "--field-selector=status.phase!=Succeeded,status.phase!=Failed"


@dataclass(frozen=True, slots=True)
class Pace:
    """How to search. ``start`` and ``least``: rates, launches a second. ``seconds``: how long users come in a step.
    ``stay``: mean seconds in a server. ``steps``: at most so many. ``at_once``: users at most.
    """

    start: float = 0.3
    least: float = 0.05
    seconds: float = 60.0
    stay: float = 10.0
    steps: int = 12
    seed: int = 0
    at_once: int = 500


@dataclass(frozen=True, slots=True)
class Tried:
    """One step: what was wanted of it, what the node did, and what went into it. ``own``: core-seconds of this process
    meanwhile, which are the node's, too, where it is a machine on this computer."""

    wanted: float
    step: Step
    spent: parts.Spent
    result: Result
    own: float = 0.0


@dataclass(frozen=True, slots=True)
class Found:
    """The steps in their order; ``bounds`` are of the rates that really came."""

    tried: tuple[Tried, ...]
    bounds: Bounds


def saturate(node: Own, popularity: Mapping[str, float], goal: Goal, pace: Pace, report: Reporter) -> Found:
    """Load the node step by step, each when the one before has left, until its saturation is known.

    ``popularity``: what ``/build/`` takes, and how often each is asked for beside the others.

    Raises:
        StepError, DeadlineError: the node does not answer, or servers stay after their users have left.
    """
    tried: list[Tried] = []
    before = _servers(node)

    def known() -> list[Step]:
        return [one.step for one in tried]

    while len(tried) < pace.steps and (rate := next_rate(known(), goal, pace.start, pace.least)) is not None:
        one = _step(node, popularity, rate, pace)
        tried.append(one)
        report(Event("progress", STAGE, sentence(one, goal), {"rate": one.step.rate}))
        _emptied(node, before, time.monotonic)
    return Found(tuple(tried), bounds(known(), goal))


def sentence(one: Tried, goal: Goal) -> str:
    """``0.6 a second: good (36 ready, p95 5.2 s, 71 % of the cores)``"""
    step = one.step
    verdict = "good" if good(step, goal) else why_not(step, goal)
    p95 = f", p95 {step.p95:.1f} s" if step.p95 is not None else ""
    return f"{step.rate:.2f} a second: {verdict} ({len(step.ready)} ready{p95}, {one.spent.cpu:.0%} of the cores)"


def _step(node: Own, popularity: Mapping[str, float], rate: float, pace: Pace) -> Tried:
    habits = Habits(stay=pace.stay, longest=pace.stay * 3)
    arrivals = poisson(popularity, habits, rate=rate, seconds=pace.seconds, seed=pace.seed)
    asked = Asked(Limits(at_once=pace.at_once), settings={"rate": rate, "for": pace.seconds, "stay": pace.stay})
    before, own = look(node), time.process_time()
    result = play(node_target(node), [node], arrivals, asked)
    own = time.process_time() - own
    return Tried(rate, measured.step(result), parts.spent(before, look(node)), result, round(own, 2))


def look(node: Own) -> parts.Looked:
    """What has used the node's cores so far. Raises StepError where it does not tell."""
    words = shlex.join(["python3", "-c", parts.script()])
    text = remote.run(node.access, f"exec {sudo(node.access)}{words}").stdout
    try:
        return parts.looked(text)
    except (ValueError, TypeError):
        raise StepError(node.spec.name, "ask what uses its cores", text[:200] or "it said nothing") from None


def _emptied(node: Own, before: int, clock: Callable[[], float]) -> None:
    """Waits until no more servers run than before. Ended pods may stay: the hub looks every half minute only."""
    deadline = clock() + EMPTY_SECONDS
    while (left := _servers(node)) > before:
        if clock() >= deadline:
            last = f"{left - before} are still there"
            raise DeadlineError(node.spec.name, "servers to end whose users have left", EMPTY_SECONDS, last)
        time.sleep(LOOK_SECONDS)


def _servers(node: Own) -> int:
    pods = f"get pods -n {NAMESPACE} -l component=singleuser-server --no-headers {RUNNING}"
    return remote.run(node.access, f"{sudo(node.access)}k3s kubectl {pods}").stdout.count("\n")
