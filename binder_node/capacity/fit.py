"""What measured steps say of a node: memory and CPU by session and launch, and how many sessions follow. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from binder_node.capacity.steps import Goal, Step, bounds
from binder_node.spec import sizing
from binder_node.spec.model import Spec

# Of the memory that is left beside the node itself, sessions get this much: the rest is for those that grow.
MEMORY_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Line:
    """``y = base + each * x``, by least squares over ``points`` points."""

    base: float
    each: float
    points: int


def line(points: Sequence[tuple[float, float]]) -> Line | None:
    """None where the points lie on one x, so that no slope can be told.

    >>> line([(0, 1.0), (10, 2.0)])
    Line(base=1.0, each=0.1, points=2)
    """
    from statistics import StatisticsError, linear_regression

    try:
        found = linear_regression([x for x, _ in points], [y for _, y in points])
    except StatisticsError:
        return None
    return Line(round(found.intercept, 9), round(found.slope, 9), len(points))


@dataclass(frozen=True, slots=True)
class Machine:
    """The measured machine: ``cpus`` cores, ``memory`` bytes."""

    cpus: int
    memory: int


@dataclass(frozen=True, slots=True)
class Seen:
    """The node at one moment of a load: ``memory`` bytes in use, ``cpu`` busy cores, ``sessions``, ``builds``."""

    sessions: int
    memory: int
    cpu: float
    builds: int = 0


@dataclass(frozen=True, slots=True)
class Fit:
    """What one node needs. ``rate``: launches a second that it did as wanted, 0 where no step was good; ``open``: no
    step was bad, so that it may do more. ``idle`` and ``session`` are bytes; ``launch`` core-seconds of one launch,
    ``idle_cpu`` cores that are busy without any. None: the load did not show it.
    """

    machine: Machine
    rate: float
    open: bool
    idle: int | None
    session: int | None
    launch: float | None
    idle_cpu: float | None


def fit(machine: Machine, steps: Sequence[Step], seen: Sequence[Seen], goal: Goal) -> Fit:
    """What the steps and moments say."""
    found = bounds(steps, goal)
    memory = line([(one.sessions, one.memory) for one in seen if not one.builds])
    cpu = line([(step.rate, step.cpu * machine.cpus) for step in steps if step.cpu is not None])
    rising = memory is not None and memory.each > 0
    return Fit(
        machine,
        found.good,
        math.isinf(found.bad),
        int(memory.base) if memory is not None and rising else None,
        int(memory.each) if memory is not None and rising else None,
        cpu.each if cpu is not None and cpu.each > 0 else None,
        max(0.0, cpu.base) if cpu is not None and cpu.each > 0 else None,
    )


@dataclass(frozen=True, slots=True)
class Use:
    """How people use it: a session lasts ``stay`` seconds in the mean. ``build`` bytes are reserved for each of
    ``builds`` at once."""

    stay: float
    builds: int
    build: int


@dataclass(frozen=True, slots=True)
class Limit:
    """``sessions`` at once, and ``what`` allows no more."""

    what: str
    sessions: int


def limits(found: Fit, use: Use, *, machine: Machine | None = None, pods: int | None = None) -> list[Limit]:
    """What each thing allows on ``machine`` (None: the measured one), the least first.

    Launches go by cores, sessions by memory; a machine's speed is taken for the measured one's. A rate of arrivals
    holds ``rate * stay`` sessions (Little's law).
    """
    at = machine or found.machine
    least: list[Limit] = []
    if found.session and found.idle is not None:
        left = at.memory - found.idle - use.builds * use.build
        least.append(Limit("memory", max(0, int(left * MEMORY_SHARE / found.session))))
    if found.rate:
        least.append(Limit("launches", int(found.rate * at.cpus / found.machine.cpus * use.stay)))
    if pods is not None:
        least.append(Limit("pods", max(0, pods - sizing.OWN_PODS)))
    return sorted(least, key=lambda one: (one.sessions, one.what))


@dataclass(frozen=True, slots=True)
class Proposal:
    """What to write into the inventory. ``limit``: what stands in the way of more sessions. ``guarantee``: bytes."""

    quota: int
    max_pods: int
    build_limit: int
    guarantee: int
    limit: str


def propose(found: Fit, use: Use, *, machine: Machine | None = None) -> Proposal | None:
    """None where the load showed neither memory nor rate."""
    at = machine or found.machine
    most = limits(found, use, machine=at)
    if not most:
        return None
    quota = min(int(sizing.QUOTA_SHARE * most[0].sessions), sizing.MOST_PODS - sizing.OWN_PODS - use.builds)
    pods = max(sizing.LEAST_PODS, quota + use.builds + sizing.OWN_PODS)
    # The scheduler counts guarantees: what all of them come to must lie in the machine beside the node and its builds.
    room = at.memory - (found.idle or sizing.IDLE) - use.builds * use.build
    guarantee = min(sizing.GUARANTEE, max(0, room) // max(1, quota))
    return Proposal(max(0, quota), pods, use.builds, guarantee // 10**6 * 10**6, most[0].what)


@dataclass(frozen=True, slots=True)
class Rule:
    """One sizing rule of the Spec against what was measured: ``holds`` where following it does no harm."""

    key: str
    says: str
    measured: str
    holds: bool


def rules(found: Fit, spec: Spec, use: Use) -> list[Rule]:
    """The Spec's sizing rules for this node, and what the load says of each; what it did not show is left out."""
    told: list[Rule] = []
    if found.idle is not None:
        told.append(Rule("idle memory", gb(sizing.IDLE), gb(found.idle), found.idle <= sizing.IDLE))
    if found.session is not None:
        guarantee = int(spec.binderhub.session.memory_guarantee)
        held = found.session <= guarantee
        told.append(Rule("binderhub.session.memory_guarantee", gb(guarantee), gb(found.session), held))
    for one in limits(found, use):
        fits = int(sizing.QUOTA_SHARE * one.sessions)
        says, measured = f"{spec.binderhub.quota} sessions", f"{fits} by {one.what}"
        told.append(Rule("binderhub.quota", says, measured, spec.binderhub.quota <= fits))
    needed = spec.binderhub.quota + sizing.OWN_PODS
    holds = spec.kubernetes.max_pods >= needed
    told.append(Rule("kubernetes.max_pods", str(spec.kubernetes.max_pods), f"{needed} for its quota", holds))
    return told


def gb(value: int) -> str:
    """Bytes for people: megabytes below a gigabyte.

    >>> gb(1_450_000_000), gb(106_000_000)
    ('1.45G', '106M')
    """
    return f"{value / 10**9:.3g}G" if value >= 10**9 else f"{value / 10**6:.3g}M"
