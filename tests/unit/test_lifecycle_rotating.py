"""What a rotation reads off a machine that is not as it should be, and how long it waits for silence."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from binder_node import remote
from binder_node.artifacts.store import Sources
from binder_node.errors import StepError
from binder_node.events import Event, silent
from binder_node.federation.measured import Counters, Sample
from binder_node.lifecycle import opened as opened_module
from binder_node.lifecycle import replacing, rotating, standing
from binder_node.lifecycle.replacing import Steps, Wishes
from binder_node.lifecycle.standing import Both, Pair, View
from binder_node.node import Access
from binder_node.rotation.steps import Facts, Next, Side, Step
from tests.unit.host_samples import sample_spec

ACCESS = Access("bids-1", "127.0.0.7", 22, "root", Path("/k"), Path("/h"), Path("/c"))
PODS = json.dumps(
    {
        "items": [
            {"metadata": {"name": name, "creationTimestamp": "2026-11-21T19:00:00Z"}, "status": {"phase": phase}}
            for name, phase in (("jupyter-a", "Running"), ("jupyter-b", "Succeeded"))
        ]
    }
)


@dataclass
class Opened:
    name: str = "bids-1"


def seen(monkeypatch: pytest.MonkeyPatch, result: remote.Result, *, old: bool) -> View:
    monkeypatch.setattr(remote, "run", lambda *_, **__: result)
    monkeypatch.setattr(standing, "_running", lambda _: 60)
    monkeypatch.setattr(View, "name", property(lambda _: "bids-1"))
    return standing._asked(View(cast(Any, Opened()), cast(Any, None), ACCESS, "", True), ACCESS, old=old)


def test_sessions_and_the_release_are_read_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    found = seen(monkeypatch, remote.Result(0, f"binder 1\n{standing.MARK}\n{PODS}", ""), old=True)
    assert (found.release, found.sessions, found.running, found.silent) == ((True, True), 1, 60, False)
    down = seen(monkeypatch, remote.Result(0, f"binder \n{standing.MARK}\n{PODS}", ""), old=True)
    assert (down.release, down.sessions, down.running) == ((True, False), 1, None)


def test_a_machine_on_which_k3s_never_ran_has_no_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    found = seen(monkeypatch, remote.Result(0, "", ""), old=False)
    assert (found.release, found.sessions, found.silent) == ((False, False), 0, False)


@pytest.mark.parametrize(
    ("old", "said", "kept"),
    [
        (True, "connection refused", True),
        (False, "connection refused", False),
        (False, "connection refused\n/var/log/pods/binder_jupyter-x_1\n", True),
    ],
)
def test_a_k3s_that_does_not_answer_may_have_sessions(
    monkeypatch: pytest.MonkeyPatch, old: bool, said: str, kept: bool
) -> None:
    assert seen(monkeypatch, remote.Result(standing.SILENT, "", said), old=old).silent is kept


def test_a_machine_that_fails_otherwise_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StepError, match="bids-1: count the sessions: no such user"):
        seen(monkeypatch, remote.Result(1, "", "no such user"), old=True)


# --- launches that only the machine knows ---------------------------------------------------------------------------


def going(monkeypatch: pytest.MonkeyPatch, code: int, *, access: Access | None = ACCESS, release: bool = True) -> View:
    """A node that goes, whose archive ends with ``code``; what was asked of it is in ``ASKED``."""
    ASKED.clear()

    def run(_: Access, script: str, **__: Any) -> remote.Result:
        ASKED.append(script)
        return remote.Result(code if "start" in script else 0, "" if "start" in script else "no answer", "")

    monkeypatch.setattr(remote, "run", run)
    opened = opened_module.Opened(Path("bids.yaml"), sample_spec(), cast(Any, None), Path("/r"))
    return View(opened, cast(Any, None), access, "", True, (release, release))


ASKED: list[str] = []


def test_launches_are_archived_before_the_machine_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    for name in ("mirror", "destroy"):
        monkeypatch.setattr(Steps, name, lambda *_, name=name: done.append(f"{name} {len(ASKED)}"))
    goes = going(monkeypatch, 0)
    both = Both(goes, goes, Facts(Side("bids-1"), Side("bids-2"), "new"))
    rotation = rotating.Rotation(steps())
    rotation._do(Next(Step.MIRROR_REST), both)
    rotation._do(Next(Step.DESTROY), both)
    assert done == ["mirror 1", "destroy 2"]
    assert all("systemctl start binder-node-events.service" in script for script in ASKED)


def test_a_machine_whose_launches_are_not_archived_does_not_go(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StepError, match="bids-1: archive its launches: no answer"):
        steps().archive(going(monkeypatch, 1))


@pytest.mark.parametrize(
    ("code", "more", "said"),
    [
        (5, {}, []),  # made before there was a log
        (1, {"release": False}, ["no answer"]),  # a node that was never whole does not keep an abort from its end
        (0, {"access": None}, ["does not answer"]),
    ],
)
def test_a_machine_that_cannot_archive_is_told_and_goes(
    monkeypatch: pytest.MonkeyPatch, code: int, more: dict[str, Any], said: list[str]
) -> None:
    told: list[Event] = []
    steps(told.append).archive(going(monkeypatch, code, **more))
    warned = [event.message for event in told if event.kind == "warn"]
    assert len(warned) == len(said)
    assert all(word in message for word, message in zip(said, warned, strict=True))


# --- silence -------------------------------------------------------------------------------------------------------


@dataclass
class Goes:
    """A node that goes: ``looks`` are what it tells, one a second of its own clock."""

    looks: list[Sample]
    name: str = "bids-1"

    @contextmanager
    def member(self) -> Iterator[Goes]:
        yield self

    def look(self) -> Sample:
        return self.looks.pop(0)


def steps(report: Callable[[Event], None] = silent) -> Steps:
    return Steps(Pair(Path("a.yaml"), Path("b.yaml")), Wishes(), Sources(()), report)


def sample(at: float, launching: float = 0, ended: float = 3) -> Sample:
    return Sample(at, (Counters(1, {"success": ended}, launching=launching),))


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (replacing, rotating):
        monkeypatch.setattr(module.time, "sleep", lambda _: None)


def test_a_node_is_left_alone_when_nothing_was_launched_for_a_ttl() -> None:
    goes = Goes([sample(0, 2), sample(1, 1), sample(2, 0, 5), sample(3, 0, 5), sample(4, 0, 6), sample(5, 0, 6)])
    rest = [sample(6, 0, 6), sample(7, 0, 6), sample(8, 0, 6)]
    goes.looks += rest
    steps().settle(cast(View, goes), 3)
    assert goes.looks == rest[2:]  # silent from 4 to 7


def test_looks_that_fail_are_made_again_and_then_told() -> None:
    bad = Sample(1, error="refused")
    goes = Goes([sample(0), bad, bad, bad, bad, sample(5)])
    steps().settle(cast(View, goes), 4)
    with pytest.raises(StepError, match="bids-1: see its launches: refused"):
        steps().settle(cast(View, Goes([sample(0), *[bad] * 5])), 4)


def test_people_whose_resolvers_never_forget_are_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replacing, "STRAGGLERS_SECONDS", 0.0)
    told: list[Event] = []
    steps(told.append).settle(cast(View, Goes([sample(0, 0, 1), sample(1, 0, 2)])), 300)
    assert [event.message for event in told if event.kind == "warn"] == [
        "bids-1 is still launched on after 0 min; going on"
    ]


# --- what is in the way --------------------------------------------------------------------------------------------


def test_what_is_in_the_way_is_looked_at_again_and_then_told(monkeypatch: pytest.MonkeyPatch) -> None:
    up = Side("bids-1", machine=True, answers=True, serving=True, running=1)
    away = Facts(Side("bids-1", machine=True), Side("bids-2", inventory=False), "old")
    looks = [away, away, Facts(up, Side("bids-2", inventory=False), "old")]
    monkeypatch.setattr(rotating, "look", lambda *_, **__: Both(None, None, looks.pop(0)))
    rotation = rotating.Rotation(steps())
    assert rotation._look()[1].step is Step.WRITE
    monkeypatch.setattr(rotating, "HINDRANCE_SECONDS", -1.0)
    looks.append(away)
    with pytest.raises(StepError, match="bids-1 does not answer: nobody knows its sessions -> mend it"):
        rotation._look()
