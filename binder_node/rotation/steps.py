"""Where a rotation stands, and what comes next: decided from what is seen, never from what was remembered. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

Which = Literal["old", "new"]
# Where the member's names lead: to one of the two, to both or a third, or nowhere.
Holder = Literal["old", "new", "between", "nobody"]


class Step(StrEnum):
    """What is done, in the order of a rotation; ``--abort`` has some of them with the nodes exchanged."""

    WRITE = "write"
    OPEN = "open"
    UP = "up"
    MIRROR = "mirror"
    WARM = "warm"
    SMOKE = "smoke"
    MOVE = "move"
    SETTLE = "settle"
    DRAIN = "drain"
    WAIT = "wait"
    MIRROR_REST = "mirror rest"
    DESTROY = "destroy"
    RETIRE = "retire"
    DONE = "done"


# Before the names move, each run makes sure of these anew: every one of them does nothing where all is done.
READY = (Step.UP, Step.MIRROR, Step.WARM, Step.SMOKE)


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two nodes.

    ``inventory``: it is where inventories are. ``machine``: there is something to take away. ``serving``: BinderHub is
    deployed on it. ``quota`` is what its inventory says, ``running`` what its BinderHub tells (None: it was not asked,
    or has none). ``sessions`` are those that run on it; ``silent``: it may have some, and does not tell. ``named``: the
    name of its hub leads somewhere, which is written before there can be any session.
    """

    name: str = ""
    inventory: bool = True
    machine: bool = False
    answers: bool = False
    serving: bool = False
    quota: int = 1
    running: int | None = None
    sessions: int = 0
    silent: bool = False
    named: bool = True

    @property
    def drained(self) -> bool:
        """Nothing new is launched on it."""
        return self.quota == 0 and self.running == 0

    @property
    def open(self) -> bool:
        """It takes launches."""
        return self.quota > 0 and self.running != 0


@dataclass(frozen=True, slots=True)
class Facts:
    """Both nodes and the names, as they are seen now.

    ``replaces``: the new inventory still says so. ``mirrored``: the buckets are two. ``done`` are the steps that this
    run has done; ``now``: sessions on the node that goes are not waited for, nor is it drained.
    """

    old: Side
    new: Side
    names: Holder
    replaces: bool = True
    mirrored: bool = False
    done: Collection[Step] = field(default_factory=frozenset)
    now: bool = False


@dataclass(frozen=True, slots=True)
class Next:
    """A step, and the node that it is about."""

    step: Step
    on: Which = "old"


def forward(facts: Facts) -> Next:
    """What a rotation does next."""
    if not facts.old.inventory:
        return Next(Step.RETIRE if facts.replaces and facts.new.inventory else Step.DONE)
    if not facts.new.inventory:
        return Next(Step.WRITE, "new")
    if facts.names == "new":
        return _leave(facts, facts.old, "old") or Next(Step.RETIRE)
    if facts.names == "between" and facts.new.serving and facts.new.open:
        return Next(Step.MOVE, "new")  # one that was cut while it wrote
    if facts.new.quota == 0:
        return Next(Step.OPEN, "new")  # of an abort that was given up
    for step in READY:
        if step not in facts.done and (step is not Step.MIRROR or facts.mirrored):
            return Next(step, "new")
    return Next(Step.MOVE, "new")


def backward(facts: Facts) -> Next:
    """What ``--abort`` does next: the old node serves as before, then the new one goes as an old one would."""
    if not facts.new.inventory:
        return Next(Step.DONE)
    if facts.old.serving and not facts.old.open:
        return Next(Step.OPEN, "old")
    if facts.names in ("new", "between"):
        return Next(Step.MOVE, "old")
    return _leave(facts, facts.new, "new") or Next(Step.RETIRE, "new")


def _leave(facts: Facts, side: Side, which: Which) -> Next | None:
    """What is left to do with a node to which no name leads any more; None when it is gone."""
    if not side.machine:
        return None
    if not facts.now:
        if side.serving and not side.drained:
            return Next(Step.DRAIN if Step.SETTLE in facts.done else Step.SETTLE, which)
        if side.sessions:
            return Next(Step.WAIT, which)
    if which == "old" and facts.mirrored and side.answers and Step.MIRROR_REST not in facts.done:
        return Next(Step.MIRROR_REST, which)
    return Next(Step.DESTROY, which)


def hindrance(facts: Facts, *, abort: bool) -> str:
    """Why it cannot go on by itself; empty when it can."""
    goes = facts.new if abort else facts.old
    if abort and not facts.old.machine:
        return f"{facts.old.name} has no machine any more: there is nothing to go back to"
    if abort and not facts.old.answers:
        return f"{facts.old.name} does not answer: there is nothing to go back to"
    if not abort and facts.names == "new" and facts.old.machine and not facts.new.serving:
        return f"{facts.new.name} has the names and does not serve: {facts.old.name} stays as it is"
    if not goes.inventory or not goes.machine or facts.now:
        return ""
    if not goes.answers and goes.named:
        return f"{goes.name} does not answer: nobody knows its sessions"
    return f"K3s on {goes.name} does not answer: nobody knows its sessions" if goes.silent else ""


def sentence(facts: Facts, *, abort: bool = False) -> str:
    """Where it stands, for ``status``."""
    step = (backward if abort else forward)(facts)
    old, new = facts.old.name, facts.new.name
    match step.step:
        case Step.UP | Step.MIRROR | Step.WARM | Step.SMOKE | Step.OPEN:
            return f"{new} is made ready; launches go to {old}"
        case Step.MOVE:
            return f"the names are on their way to {new}"
        case Step.SETTLE | Step.DRAIN:
            return f"launches go to {new}; {old} is not drained yet"
        case Step.WAIT:
            count = facts.old.sessions
            return f"launches go to {new}; {count} session{'' if count == 1 else 's'} left on {old}"
        case Step.MIRROR_REST | Step.DESTROY:
            return f"launches go to {new}; {old} is empty and can go"
        case Step.RETIRE:
            return f"{old} is gone; its inventory is left"
        case _:
            return f"{new} has taken the place of {old}"
