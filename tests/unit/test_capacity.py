"""The search for a node's saturation, and what measured load says of a node: exact, on made-up numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from binder_node.capacity import measured
from binder_node.capacity.fit import Fit, Limit, Machine, Proposal, Seen, Use, fit, limits, line, propose, rules
from binder_node.capacity.parts import Looked, spent
from binder_node.capacity.steps import UP, Bounds, Goal, Step, bounds, good, next_rate, why_not
from binder_node.errors import InputError
from binder_node.load.result import Machine as Watched
from binder_node.load.result import Result, Sample
from binder_node.load.visit import Visit
from tests.unit.host_samples import sample_spec

GB = 10**9
GOAL = Goal(p95=10.0, failures=0.05)


def step(rate: float, p95: float = 3.0, *, count: int = 40, failed: int = 0, refused: int = 0) -> Step:
    return Step(rate, 60.0, (p95,) * count, refused=refused, failed=failed)


# --- the search ----------------------------------------------------------------------------------------------------


def test_what_is_good_and_why_another_step_is_not() -> None:
    assert good(step(1), GOAL)
    assert why_not(step(1), GOAL) == ""
    assert why_not(step(1, 12.34), GOAL) == "p95 12.3 s"
    assert why_not(step(1, failed=3), GOAL) == "3 of 43 failed"
    assert why_not(step(1, refused=40), GOAL) == "40 of 80 refused: its quota is full"
    assert why_not(step(1, count=0), GOAL) == "nothing was launched"
    assert not good(step(1, count=0), GOAL)
    # Few enough that it is within what is wanted.
    assert good(step(1, failed=2), GOAL)


def play(node: Callable[[float], bool], start: float = 0.3, least: float = 0.05) -> list[Step]:
    """The whole search on a node that is good or not by the rate."""
    tried: list[Step] = []
    while (rate := next_rate(tried, GOAL, start, least)) is not None:
        tried.append(step(rate, 3.0 if node(rate) else 30.0))
        assert len(tried) < 30
    return tried


@pytest.mark.parametrize("true", [0.11, 0.31, 0.7, 1.0, 2.6, 9.0])
def test_the_search_closes_in_on_the_saturation(true: float) -> None:
    tried = play(lambda rate: rate <= true)
    found = bounds(tried, GOAL)
    assert found.good <= true < found.bad <= found.good * 1.15
    # Up by its factor, then half the gap each time.
    assert len(tried) <= abs(math.log(true / 0.3, UP)) + 7


def test_a_node_that_is_slow_at_the_least_rate_ends_the_search() -> None:
    assert bounds(play(lambda _: False), GOAL).good == 0


def test_a_good_step_above_a_bad_one_was_luck() -> None:
    assert bounds([step(0.5), step(1.0, 30), step(1.2)], GOAL) == Bounds(0.5, 1.0)
    assert bounds([step(0.5)], GOAL) == Bounds(0.5, math.inf)


# --- the fit -------------------------------------------------------------------------------------------------------


def test_lines() -> None:
    found = line([(0, 1.5 * GB), (10, 2.5 * GB), (20, 3.5 * GB)])
    assert found is not None
    assert (round(found.base), round(found.each), found.points) == (1_500_000_000, 100_000_000, 3)
    assert line([(3, 1.0), (3, 2.0)]) is None
    assert line([]) is None


NODE = Machine(cpus=2, memory=12 * GB)
FIT = Fit(NODE, rate=0.8, open=False, idle=1_500_000_000, session=100_000_000, launch=1.6, idle_cpu=0.2)
USE = Use(stay=600.0, builds=2, build=1 * GB)


def test_a_fit_from_steps_and_moments() -> None:
    steps = [Step(0.5, 60, (3.0,), cpu=0.5), Step(1.0, 60, (20.0,), cpu=0.9)]
    seen = [Seen(number, 1_500_000_000 + number * 100_000_000, 0.0) for number in range(0, 30, 5)]
    seen.append(Seen(10, 9 * GB, 2.0, builds=2))  # a build's memory is no session's
    found = fit(NODE, steps, seen, GOAL)
    assert (found.rate, found.open, found.idle, found.session) == (0.5, False, 1_500_000_000, 100_000_000)
    assert found.launch == pytest.approx(1.6)
    assert found.idle_cpu == pytest.approx(0.2)


def test_what_a_load_did_not_show_is_not_made_up() -> None:
    found = fit(NODE, [Step(0.5, 60, (30.0,))], [Seen(3, GB, 0.1)], GOAL)
    assert found == Fit(NODE, 0.0, False, None, None, None, None)
    assert propose(found, USE) is None


def test_what_limits_a_node() -> None:
    # (12 - 1.5 - 2) GB x 0.8 / 100 MB, and 0.8 a second for ten minutes.
    assert limits(FIT, USE) == [Limit("memory", 68), Limit("launches", 480)]
    assert limits(FIT, USE, pods=50)[0] == Limit("pods", 30)
    short = Use(stay=30.0, builds=2, build=GB)
    assert limits(FIT, short)[0] == Limit("launches", 24)
    # Twice the cores and four times the memory.
    assert limits(FIT, short, machine=Machine(4, 48 * GB)) == [Limit("launches", 48), Limit("memory", 356)]


def test_a_proposal_holds_what_was_measured() -> None:
    assert propose(FIT, USE) == Proposal(quota=64, max_pods=86, build_limit=2, guarantee=132_000_000, limit="memory")
    big = propose(FIT, USE, machine=Machine(48, 192 * GB))
    assert big is not None
    assert big.max_pods <= 1000
    assert big.quota + big.build_limit + 20 == big.max_pods


def test_the_specs_rules_are_held_against_it() -> None:
    spec = sample_spec(binderhub={"quota": 200}, kubernetes={"max_pods": 210})
    found = {rule.key: rule.holds for rule in rules(FIT, spec, USE)}
    assert found == {
        "idle memory": False,
        "binderhub.session.memory_guarantee": True,
        "binderhub.quota": True,  # by launches; by memory it does not hold
        "kubernetes.max_pods": False,
    }
    by_memory = [rule for rule in rules(FIT, spec, USE) if rule.key == "binderhub.quota"]
    assert [(rule.measured, rule.holds) for rule in by_memory] == [("64 by memory", False), ("456 by launches", True)]


# --- from a load's document ----------------------------------------------------------------------------------------


def visit(number: int, **more: object) -> Visit:
    return Visit.model_validate({"number": number, "at": float(number), "path": "git/x/HEAD", "left": 9.0, **more})


def document(*visits: Visit, machines: tuple[Watched, ...] = ()) -> Result:
    return Result(
        tool="t", target="n", url="u", started="s", seconds=70, arriving=60, stopped="plan",
        visits=visits, machines=machines,
    )  # fmt: skip


def test_a_load_as_a_step() -> None:
    samples = (
        Sample(at=2, cpu=0.9, memory=1 * GB, disk=1, users=0),
        Sample(at=4, cpu=0.4, memory=2 * GB, disk=1, users=3),
        Sample(at=6, cpu=0.6, memory=3 * GB, disk=1, users=5, builds=1),
        Sample(at=65, cpu=0.0, memory=9 * GB, disk=1, users=9),
    )
    result = document(
        visit(0, ready=3.0, kind="cached"),
        visit(1, ready=30.0, kind="built"),
        visit(2, outcome="refused"),
        visit(3, outcome="failed"),
        visit(4, ready=4.0, kind="cached", outcome="lost"),
        visit(5, outcome="held"),
        machines=(Watched(name="n", cpus=2, memory=12 * GB, samples=samples),),
    )
    found = measured.step(result)
    assert (found.ready, found.refused, found.failed) == ((3.0, 4.0), 1, 2)
    assert (found.cpu, found.memory, found.rate) == (0.5, 3 * GB, round(5 / 60, 4))
    assert measured.moments(result)[2] == Seen(5, 3 * GB, 1.2, 1)
    assert measured.machine([("a.json", result)]) == Machine(2, 12 * GB)


def test_loads_of_two_sizes_are_of_no_one_machine() -> None:
    first = document(machines=(Watched(name="n", cpus=2, memory=12 * GB),))
    second = document(machines=(Watched(name="n", cpus=4, memory=12 * GB),))
    with pytest.raises(InputError, match=r"b\.json: machines: is of a machine of another size"):
        measured.machine([("a.json", first), ("b.json", second)])
    with pytest.raises(InputError, match="nobody looked"):
        measured.machine([("a.json", document())])


def test_what_went_into_it_by_part() -> None:
    before = Looked(10.0, 2, 100.0, GB, 12 * GB, {"hub": 5.0, "kubelet": 1.0, "gone": 9.0})
    after = Looked(70.0, 2, 190.0, GB, 12 * GB, {"hub": 35.0, "kubelet": 11.0, "sessions": 50.0, "sshd": 0.1})
    found = spent(before, after)
    assert (found.seconds, found.cpu) == (60.0, 0.75)
    assert found.parts == {"sessions": 50.0, "hub": 30.0, "kubelet": 10.0, "others": 0.1}
