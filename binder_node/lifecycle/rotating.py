"""``rotate``: one node replaced by another while people work on it, and the way back. Remembers nothing: each step is
chosen by what both nodes and the zone are now, so that any run goes on from wherever the last one was killed."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from binder_node.errors import InputError, Problem, StepError
from binder_node.events import Event, Reporter, quiet
from binder_node.lifecycle import draining, generations
from binder_node.lifecycle.lock import locked
from binder_node.lifecycle.opened import Opened, open_spec, open_unseen, runtime_root
from binder_node.lifecycle.prices import price
from binder_node.lifecycle.replacing import STAGE, Steps, Wishes, ttl_of
from binder_node.lifecycle.standing import Both, Pair, View, look
from binder_node.providers import provider_for
from binder_node.rotation.pair import alone, mirrored
from binder_node.rotation.steps import Facts, Next, Step, backward, forward, hindrance, sentence
from binder_node.rotation.timeline import Timeline, timeline
from binder_node.spec.model import Spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from binder_node.federation.drain import Left

# A step that was done and is still what comes next does not do what it should.
TRIES = 3
# A K3s that restarts, a BinderHub whose pod is replaced.
HINDRANCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a rotation stands, for ``status``."""

    old: str
    new: str
    step: str
    on: str
    sentence: str


@dataclass
class Rotation:
    """One run of ``rotate``; ``now``: nobody waits for the sessions of the node that goes."""

    steps: Steps
    abort: bool = False
    now: bool = False
    done: set[Step] = field(default_factory=set)

    @property
    def pair(self) -> Pair:
        return self.steps.pair

    def run(self) -> list[Next]:
        """Step after step to the end; what was done.

        Raises:
            InputError: the two inventories are not two generations of one node; nothing was touched.
            StepError, DeadlineError: a step failed; the same call goes on from there.
        """
        self.pair.check()
        made: list[Next] = []
        while True:
            both, following = self._look()
            if following.step is Step.DONE:
                return made
            if made[-TRIES:] == [following] * TRIES:
                raise StepError(self.pair.old.stem, following.step, "it was done and has no effect", "see `status`")
            self._do(following, both)
            self.done.add(following.step)
            made.append(following)

    def _look(self) -> tuple[Both, Next]:
        """What comes next. What is in its way is looked at again for a while: busy nodes are slow to answer.

        Raises:
            StepError: it stays in the way.
        """
        deadline = time.monotonic() + HINDRANCE_SECONDS
        while True:
            both = look(self.pair, self.done, now=self.now)
            following = (backward if self.abort else forward)(both.facts)
            why = "" if following.step is Step.DONE else hindrance(both.facts, abort=self.abort)
            if not why:
                return both, following
            if time.monotonic() > deadline:
                remedy = "mend it and run the same again; --abort goes back; --now gives up sessions that nobody knows"
                raise StepError(self.pair.old.stem, "rotate", why, remedy)
            self.steps.report(Event("progress", STAGE, why))
            time.sleep(HINDRANCE_SECONDS / 10)

    def _do(self, following: Next, both: Both) -> None:
        old, new, steps = both.old, both.new, self.steps
        data = {"step": following.step.value, "on": following.on, "sentence": sentence(both.facts)}
        steps.report(Event("log", STAGE, f"next: {following.step.value} ({_name(following, self.pair)})", data))
        here, there = (new, old) if following.on == "new" else (old, new)
        ways: dict[Step, Callable[[], None]] = {
            Step.WRITE: lambda: steps.write(_there(old)),
            Step.OPEN: lambda: steps.undrain(_there(here)),
            Step.UP: lambda: steps.up(old, _there(new)),
            Step.MIRROR: lambda: steps.mirror(_there(old), _there(new)),
            Step.WARM: lambda: steps.warm(old, _there(new)),
            Step.SMOKE: lambda: steps.smoke(_there(new)),
            Step.MOVE: lambda: self._move(there, _there(here), both.facts),
            Step.SETTLE: lambda: steps.settle(_there(here), ttl_of(old, new)),
            Step.DRAIN: lambda: steps.drain(_there(here), old=following.on == "old"),
            Step.WAIT: lambda: steps.wait(_there(here)),
            Step.MIRROR_REST: lambda: self._mirror_rest(_there(old), _there(new)),
            Step.DESTROY: lambda: self._destroy(_there(here)),
            Step.RETIRE: partial(self._retire, following),
        }
        ways[following.step]()

    def _move(self, there: View | None, here: View, facts: Facts) -> None:
        if facts.mirrored and not self.abort and there is not None and there.access is not None:
            self.steps.mirror(there, here)  # what was built since the first time
        self.steps.move(there, here)

    def _mirror_rest(self, old: View, new: View) -> None:
        self.steps.archive(old)  # into the bucket that is copied now
        self.steps.mirror(old, new)

    def _destroy(self, goes: View) -> None:
        self.steps.archive(goes)
        self.steps.destroy(goes)

    def _retire(self, following: Next) -> None:
        if following.on == "new":
            self.steps.retire(self.pair.new, None)
        else:
            self.steps.retire(self.pair.old, self.pair.new)


def _there(view: View | None) -> View:
    assert view is not None  # the step was chosen because it is
    return view


def _name(following: Next, pair: Pair) -> str:
    return (pair.new if following.on == "new" else pair.old).stem


@contextmanager
def both_locked(pair: Pair, verb: str) -> Iterator[None]:
    """Nobody else works on either of the two. Raises LockedError."""
    with ExitStack() as stack:
        for path in (pair.old, pair.new):
            stack.enter_context(locked(runtime_root() / path.stem, path.stem, verb))
        yield


def planned(pair: Pair, wishes: Wishes, report: Reporter, *, deep: bool) -> Timeline:
    """What a rotation that begins now would take and cost; looks only, and writes nothing.

    Raises:
        InputError: it cannot be rotated, or a setting is wrong.
        StepError: a provider did not tell its prices.
    """
    old = pair.open_old()
    if old is None:
        raise InputError(Problem(str(pair.old), 0, "", "its node is gone already", "run it without --dry-run"))
    if problems := tuple(alone(old.spec, str(pair.old))):
        raise InputError(*problems)
    spec, opened = _new(pair, old, wishes)
    phases = timeline(
        old.spec,
        spec,
        left=_left(pair),
        max_age=draining.max_age(old.spec),
        images=wishes.images,
        mirrored=mirrored(old.spec, spec),
        deep=deep,
    )
    bills = [price(one.spec, provider_for(open_unseen(one)), quiet(report)) for one in (old, opened)]
    return Timeline(phases, *bills)


def _new(pair: Pair, old: Opened, wishes: Wishes) -> tuple[Spec, Opened]:
    """The new node as its inventory says, or would."""
    from dataclasses import replace

    there = pair.open_new()
    if there is not None:
        pair.check()
        return there.spec, there
    _, spec = generations.drafted(pair.old, old.spec, pair.new, wishes.settings)
    return spec, replace(old, inventory=pair.new, spec=spec, runtime=runtime_root() / spec.name)


def _left(pair: Pair) -> Left | None:
    """The old node's sessions; None where it does not tell them."""
    from binder_node.lifecycle.membership import reached

    try:
        opened = pair.open_old()
        if opened is None:
            return None
        with reached(opened) as member:
            return draining.sessions_left(member)
    except (StepError, InputError):  # also: a host key that nobody has confirmed
        return None


def standing(inventory: Path, overlay: Path | None) -> Standing | None:
    """Where the rotation stands that the node of ``inventory`` is part of; None where it is part of none.

    Raises:
        InputError, StepError, DeadlineError: as :func:`~binder_node.lifecycle.standing.look`.
    """
    opened = open_spec(str(inventory), overlay)
    successor = generations.successor_of(inventory)
    if successor:
        pair = Pair(inventory, inventory.with_name(f"{successor}{inventory.suffix}"), overlay)
    elif opened.spec.replaces:
        pair = Pair(inventory.with_name(f"{opened.spec.replaces}{inventory.suffix}"), inventory, overlay)
    else:
        return None
    facts = look(pair).facts
    following = forward(facts)
    return Standing(pair.old.stem, pair.new.stem, following.step.value, _name(following, pair), sentence(facts))
