"""What runs beside a push: begun once, waited for, and never left behind."""

from __future__ import annotations

import time
from pathlib import Path

from binder_node.cluster.engine.site.binder_node_engine.unpack import Unpacking


def unpacking(folder: Path, script: str) -> Unpacking:
    return Unpacking(["sh", "-c", script], {"PATH": "/usr/bin:/bin", "WHERE": str(folder)}, folder / "log")


def test_it_is_begun_once(tmp_path: Path) -> None:
    beside = unpacking(tmp_path, "echo begun >> $WHERE/times")
    beside.begin()
    beside.begin()
    assert beside.end(10) == ""
    assert (tmp_path / "times").read_text() == "begun\n"


def test_an_end_without_a_begin_does_it_then(tmp_path: Path) -> None:
    assert unpacking(tmp_path, "touch $WHERE/done").end(10) == ""
    assert (tmp_path / "done").exists()


def test_a_failure_is_its_last_line(tmp_path: Path) -> None:
    assert unpacking(tmp_path, "echo 1 of 2; echo 'error: no space left' >&2; exit 1").end(10) == "error: no space left"
    assert unpacking(tmp_path, "exit 3").end(10) == "exit code 3"


def test_it_has_a_deadline_and_leaves_no_process(tmp_path: Path) -> None:
    began = time.monotonic()
    assert unpacking(tmp_path, "exec sleep 60").end(0.2) == "it took longer than 0 s"
    assert time.monotonic() - began < 30


def test_it_is_ended_with_the_build(tmp_path: Path) -> None:
    beside = unpacking(tmp_path, "echo $$ > $WHERE/pid; exec sleep 60")
    beside.begin()
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.01)
    pid = int((tmp_path / "pid").read_text())
    beside.stop()
    assert not Path(f"/proc/{pid}").exists()
    beside.stop()
