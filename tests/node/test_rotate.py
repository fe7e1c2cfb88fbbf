"""A node replaced by another while people work on it: nobody notices, wherever the operator's process is killed."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator

import pytest

from tests.node.harness import Home
from tests.node.rotation_lab import RECORD, ZONE, Lab, Users, bad, kept, lab, numbers, saturation

pytestmark = pytest.mark.node

RUNS = int(os.environ.get("BINDER_NODE_SOAK_ROTATIONS", "20"))
# None is begun after so many seconds.
SECONDS = float(os.environ.get("BINDER_NODE_SOAK_SECONDS", "inf"))


class TestOnTheSharedNode:
    """What is refused or shown before anything is touched."""

    def test_a_node_whose_names_nobody_writes_is_refused(self, home: Home) -> None:
        before = sorted(home.inventory.parent.iterdir())
        refused = home.run("rotate", "--yes", home.name)
        assert refused.code == 2
        assert "dns.kind: none: what moves launches to the new node is the record of names.binder" in refused.err
        assert sorted(home.inventory.parent.iterdir()) == before


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with lab(tmp_path_factory.mktemp("rotation")) as found:
        yield found


def gone(made: Lab, number: int) -> None:
    """Nothing of a generation is left but its retired inventory."""
    home = made.home(number)
    assert not home.inventory.exists()
    assert (home.inventory.parent / "retired" / home.inventory.name).exists()
    assert (home.folder / "secrets/retired" / f"{home.name}.age").exists()
    assert not (home.folder / "machines" / home.name).exists()
    assert made.ask(f"hub-{number}.{ZONE}") in ([], [made.address(number + 1)])  # the wildcard's, if any


@pytest.mark.soak
class TestOneRotation:
    """In order, on one lab: the timeline, a rotation under load, and an abort from everywhere."""

    def test_the_timeline_is_shown_and_nothing_is_done(self, made: Lab) -> None:
        arguments = made.rotate("--dry-run", "-o", "json")
        shown = json.loads(made.run(*arguments).ok().out)
        assert [phase["step"] for phase in shown["phases"]][:2] == ["up", "warm"]
        assert not made.home(2).inventory.exists()

    def test_nobody_notices_a_rotation(self, made: Lab) -> None:
        users = Users()
        users.begin(made, rate=0.2)
        time.sleep(15)
        began = time.monotonic()
        done = made.run(*made.rotate("-o", "json"), timeout=590)
        took = time.monotonic() - began
        time.sleep(15)
        visits = users.end()
        kept(RECORD, {"test": "one", "seconds": round(took, 1), "bad": bad(visits), **numbers(visits)})
        assert bad(visits) == []
        done.ok()
        assert {visit.outcome for visit in visits} == {"done"}
        [pulled] = [event["data"]["pulled"] for event in done.events if "pulled" in event["data"]]
        assert pulled == len(made.paths)
        made.number = 2
        gone(made, 1)
        assert made.ask(ZONE) == [made.address()]
        assert "replaces" not in [line.partition(":")[0] for line in made.home().inventory.read_text().splitlines()]
        assert made.run("up", "-o", "json").ok().last["data"]["changes"] == 0
        # The same command, once more: it is over.
        assert "has been replaced" in made.home(1).run("rotate", "--yes", "rot-1").ok().err


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("step", "later"),
    [("write", 0.0), ("up", 4.0), ("up", 14.0), ("warm", 0.5), ("smoke", 5.0), ("move", 0.1), ("settle", 1.0),
     ("drain", 1.0), ("wait", 1.0)],
)  # fmt: skip
def test_an_abort_at_every_stage_leaves_the_old_node_as_it_was(made: Lab, step: str, later: float) -> None:
    home, users = made.home(), Users()
    before = home.inventory.read_text()
    users.begin(made, rate=0.15, stay=(40, 60))  # some are there still when the old node is drained
    try:
        time.sleep(10)
        made.killed_at(step, later, *made.rotate(*([] if step == "smoke" else ["--no-deep"])))
        status = json.loads(made.run("status", "-o", "json").out)
        assert step == "write" or status["rotation"]["new"] == f"rot-{made.number + 1}"
        began = time.monotonic()
        made.run("rotate", "--abort", "--yes", home.name, "--every", "1", "-o", "json", timeout=500).ok()
        took = time.monotonic() - began
        time.sleep(10)
    finally:
        visits = users.end()
    kept(RECORD, {"test": "abort", "step": step, "seconds": round(took, 1), **numbers(visits)})
    assert bad(visits) == []
    assert home.inventory.read_text() == before
    assert not made.home(made.number + 1).inventory.exists()
    assert not (home.folder / "machines" / f"rot-{made.number + 1}").exists()
    assert made.ask(ZONE) == made.ask(f"any.{ZONE}") == [made.address()]
    assert made.run("up", "-o", "json").ok().last["data"]["changes"] == 0
    assert made.run("launch", f"{home.git}/often.git", "--run", "print(1)", "-o", "json").ok().last["data"]["output"]


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_rotations_in_a_row_under_load_and_killed_at_random(made: Lab) -> None:
    """``BINDER_NODE_SOAK_ROTATIONS`` of them, 20 by itself; the load is 60 % of what the node was measured to give."""
    draw = random.Random(time.time())
    most = saturation(made)
    users = Users()
    users.begin(made, rate=0.6 * most)
    try:
        first = time.monotonic()
        for number in range(RUNS):
            if time.monotonic() - first > SECONDS:
                break
            began, kills = time.monotonic(), list[float]()
            # Deep checks build, push and launch: once in four runs.
            arguments = made.rotate("-o", "json", *([] if number % 4 == 3 else ["--no-deep"]))
            for _ in range(draw.randint(1, 4)):
                seconds = draw.uniform(1, 60)
                if not made.killed(seconds, *arguments):
                    break
                kills.append(round(seconds, 1))
                if draw.random() < 0.3:
                    made.another_computer()
            made.run(*arguments, timeout=590).ok()
            made.number += 1
            gone(made, made.number - 1)
            wrong = bad(users.visits)
            told = {"run": number + 1, "seconds": round(time.monotonic() - began, 1), "kills": kills, "bad": wrong}
            kept(RECORD, {"saturation": round(most, 3), "rate": round(0.6 * most, 3), **told, **numbers(users.visits)})
            assert wrong == []
    finally:
        visits = users.end()
    assert bad(visits) == []
