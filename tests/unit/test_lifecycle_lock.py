"""One run a node: a second is told who holds the lock, a killed one holds nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from binder_node.errors import LockedError
from binder_node.lifecycle.lock import Holder, break_lock, holder, locked

HOLD = """
import sys, time
from pathlib import Path
from binder_node.lifecycle.lock import locked
with locked(Path(sys.argv[1]), "bids", "up"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_a_second_run_is_told_who_and_how_to_break_it(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    try:
        with pytest.raises(LockedError) as caught, locked(tmp_path, "bids", "destroy"):
            pass
    finally:
        end(other)
    text = str(caught.value)
    assert text.startswith("bids: locked: up by ")
    assert f"process {other.pid}" in text
    assert "binder-node unlock bids" in text


def test_a_killed_run_holds_nothing(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    os.kill(other.pid, signal.SIGKILL)
    other.communicate()
    assert holder(tmp_path) is None
    with locked(tmp_path, "bids", "up"):
        held = holder(tmp_path)
        assert held is not None
        assert held.pid == os.getpid()
    assert holder(tmp_path) is None


def test_breaking_lets_the_next_run_in(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    try:
        held = break_lock(tmp_path)
        assert held is not None
        assert held.pid == other.pid
        with locked(tmp_path, "bids", "up"):
            assert other.poll() is None
    finally:
        end(other)


def test_a_lock_that_was_never_taken_is_free(tmp_path: Path) -> None:
    assert holder(tmp_path / "nothing") is None
    assert break_lock(tmp_path / "nothing") is None


@pytest.mark.parametrize(("age", "said"), [(5, "5 s"), (300, "5 min"), (9000, "2.5 h")])
def test_age_as_people_say_it(age: float, said: str) -> None:
    now = time.time()
    shown = Holder(7, "ada", "laptop", "up", now - age).describe(now)
    assert shown == f"up by ada@laptop, process 7, for {said}"
