"""What a rotation does next: from every place where a run can have been killed, in both directions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from binder_node.rotation.steps import Facts, Next, Side, Step, backward, forward, hindrance, sentence

OLD = Side("bids-1", machine=True, answers=True, serving=True, quota=60, running=60, sessions=3)
BARE = Side("bids-2", quota=60)
NEW = replace(OLD, name="bids-2", sessions=0)
NONE = Side("bids-2", inventory=False)
GONE = Side("bids-1", quota=0)


@dataclass
class World:
    """Two nodes and a zone that do what they are told: steps have the effects that the real ones have."""

    facts: Facts
    abort: bool = False
    made: list[str] = field(default_factory=list)

    def go(self, steps: int = 50) -> list[str]:
        """Run ``steps`` steps, or to the end; what was done."""
        for _ in range(steps):
            following = (backward if self.abort else forward)(self.facts)
            assert hindrance(self.facts, abort=self.abort) == ""
            if following.step is Step.DONE:
                break
            self.made.append(f"{following.step} {following.on}")
            self.do(following)
        return self.made

    def killed(self) -> None:
        """Another process goes on: it knows nothing of what this one did."""
        self.facts = replace(self.facts, done=frozenset())

    def do(self, following: Next) -> None:
        facts = self.facts
        side = facts.new if following.on == "new" else facts.old
        match following.step:
            case Step.WRITE:
                side = BARE
            case Step.OPEN:
                side = replace(side, quota=60, running=60 if side.serving else None)
            case Step.UP:
                side = NEW
            case Step.MOVE:
                facts = replace(facts, names=following.on)
            case Step.DRAIN:
                side = replace(side, quota=0, running=0)
            case Step.WAIT:
                side = replace(side, sessions=0)
            case Step.DESTROY:
                side = replace(GONE, name=side.name)
            case Step.RETIRE:
                side = replace(side, inventory=False)
                facts = replace(facts, replaces=False)
        changed = {"new": side} if following.on == "new" else {"old": side}
        self.facts = replace(facts, **changed, done={*facts.done, following.step})  # type: ignore[arg-type]


WHOLE = [
    "write new", "up new", "warm new", "smoke new", "move new", "settle old", "drain old", "wait old", "destroy old",
    "retire old",
]  # fmt: skip


def test_the_whole_way() -> None:
    world = World(Facts(OLD, NONE, "old"))
    assert world.go() == WHOLE
    assert forward(world.facts) == Next(Step.DONE)


@pytest.mark.parametrize("steps", range(len(WHOLE) + 1))
def test_killed_after_any_step_another_process_goes_on_to_the_same_end(steps: int) -> None:
    world = World(Facts(OLD, NONE, "old"))
    world.go(steps)
    world.killed()
    before = list(world.made)
    world.go()
    again = world.made[len(before) :]
    # What was decided by looking is not done again; what makes sure of something before the names move is.
    assert [one for one in again if one in before] == [one for one in WHOLE[:steps] if one in again]
    assert not {"write new", "move new", "drain old", "wait old", "destroy old"} & set(before) & set(again)
    assert forward(world.facts) == Next(Step.DONE)
    assert world.facts.names == "new"


def test_two_buckets_are_copied_before_and_once_more_when_the_old_node_is_empty() -> None:
    made = World(Facts(OLD, NONE, "old", mirrored=True)).go()
    assert made.index("up new") < made.index("mirror new") < made.index("move new")
    assert made[-3:] == ["mirror rest old", "destroy old", "retire old"]


def test_nothing_is_taken_away_while_sessions_run_or_launches_may_come() -> None:
    moved = Facts(OLD, NEW, "new")
    assert forward(moved) == Next(Step.SETTLE)
    assert forward(replace(moved, done={Step.SETTLE})) == Next(Step.DRAIN)
    drained = replace(OLD, quota=0, running=0)
    assert forward(replace(moved, old=drained)) == Next(Step.WAIT)
    assert forward(replace(moved, old=replace(drained, serving=False))) == Next(Step.WAIT)
    # The inventory says 0, and BinderHub does not yet, or does not answer.
    for running in (60, None):
        assert forward(replace(moved, old=replace(drained, running=running))) == Next(Step.SETTLE)
    assert forward(replace(moved, old=replace(drained, sessions=0))) == Next(Step.DESTROY)


def test_names_that_were_cut_on_their_way_are_moved_at_once() -> None:
    assert forward(Facts(OLD, NEW, "between")) == Next(Step.MOVE, "new")
    assert forward(Facts(OLD, BARE, "between")) == Next(Step.UP, "new")
    assert backward(Facts(OLD, NEW, "between")) == Next(Step.MOVE, "old")


@pytest.mark.parametrize("steps", range(1, 9))
def test_an_abort_from_anywhere_leaves_the_old_node_as_it_was(steps: int) -> None:
    world = World(Facts(OLD, NONE, "old"))
    world.go(steps)
    sessions = world.facts.old.sessions
    world.killed()
    world.abort = True
    world.facts = replace(world.facts, new=replace(world.facts.new, sessions=2 if world.facts.names == "new" else 0))
    world.made.clear()
    made = world.go()
    assert world.facts.old == replace(OLD, sessions=sessions)
    assert world.facts.names == "old"
    assert not world.facts.new.machine
    assert not world.facts.new.inventory
    if "move old" in made:
        # Launches go to a node that takes them, and sessions of the new one are waited for.
        assert made[-6:] == ["move old", "settle new", "drain new", "wait new", "destroy new", "retire new"]
        assert "open old" not in made[made.index("move old") :]


def test_a_rotation_taken_up_again_after_half_an_abort_opens_the_new_node_first() -> None:
    world = World(Facts(OLD, replace(NEW, quota=0, running=0), "old"))
    assert world.go()[:2] == ["open new", "up new"]


def test_a_lost_machine_is_not_waited_for_when_the_operator_says_so() -> None:
    lost = Facts(replace(OLD, answers=False, serving=False, running=None, sessions=0), NONE, "old")
    assert hindrance(lost, abort=False) == "bids-1 does not answer: nobody knows its sessions"
    world = World(replace(lost, now=True))
    assert world.go() == ["write new", "up new", "warm new", "smoke new", "move new", "destroy old", "retire old"]


def test_a_new_machine_that_was_cut_before_it_had_a_name_had_no_sessions() -> None:
    cut = Facts(OLD, replace(BARE, machine=True, named=False), "old")
    assert hindrance(cut, abort=True) == ""
    assert backward(cut) == Next(Step.DESTROY, "new")
    assert "does not answer" in hindrance(replace(cut, new=replace(cut.new, named=True)), abort=True)
    silent = replace(cut, new=replace(BARE, machine=True, answers=True, silent=True))
    assert hindrance(silent, abort=True) == "K3s on bids-2 does not answer: nobody knows its sessions"
    assert hindrance(silent, abort=False) == ""


def test_the_old_node_stays_while_the_new_one_does_not_serve() -> None:
    broken = Facts(OLD, replace(NEW, serving=False), "new")
    for facts in (broken, replace(broken, now=True)):
        assert hindrance(facts, abort=False) == "bids-2 has the names and does not serve: bids-1 stays as it is"
        assert hindrance(facts, abort=True) == ""
    assert hindrance(replace(broken, old=GONE), abort=False) == ""


def test_there_is_no_way_back_to_a_node_that_is_gone() -> None:
    assert hindrance(Facts(GONE, NEW, "new"), abort=True).startswith("bids-1 has no machine any more")
    assert hindrance(Facts(replace(OLD, answers=False), NEW, "new"), abort=True).startswith("bids-1 does not answer")


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (Facts(OLD, BARE, "old"), "bids-2 is made ready; launches go to bids-1"),
        (Facts(OLD, NEW, "between"), "the names are on their way to bids-2"),
        (Facts(OLD, NEW, "new"), "launches go to bids-2; bids-1 is not drained yet"),
        (Facts(replace(OLD, quota=0, running=0), NEW, "new"), "launches go to bids-2; 3 sessions left on bids-1"),
        (Facts(GONE, NEW, "new"), "bids-1 is gone; its inventory is left"),
    ],
)
def test_where_it_stands_in_words(facts: Facts, said: str) -> None:
    assert sentence(facts) == said
