"""Rendering: events as lines for people and as JSON lines for machines, tables, diffs, documents."""

from __future__ import annotations

import io
import json
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console
from ruamel.yaml import YAML

from binder_node.changes import Change
from binder_node.cli import output
from binder_node.cli.options import Output
from binder_node.events import Event, Reporter, step
from binder_node.secrets.masked import Masked


def human(*events: Event) -> list[str]:
    """The lines that a person reads, without a terminal."""
    text = io.StringIO()
    shown = output.Human(Console(file=text, width=60, highlight=False, soft_wrap=True, no_color=True))
    for event in events:
        shown(event)
    shown.close()
    return text.getvalue().splitlines()


def test_a_line_an_event_with_its_stage_and_its_time() -> None:
    assert human(
        Event("start", "host", "install K3s"),
        Event("change", "host", "create k3s: /etc/rancher/k3s/config.yaml"),
        Event("done", "host", "install K3s", {"seconds": 12.34}),
        Event("failed", "release", "wait for the pods", {"seconds": 1}),
    ) == [
        "… host      install K3s",
        "+ host      create k3s: /etc/rancher/k3s/config.yaml",
        "✓ host      install K3s 12.3 s",
        "✗ release   wait for the pods 1.0 s",
    ]


def test_brackets_in_a_log_are_text_and_long_lines_stay_whole() -> None:
    line = "#5 [2/2] RUN pip install numpy[extra] " + "x" * 80
    assert human(Event("log", "launch", line)) == [f"| launch    {line}"]


def test_progress_is_not_repeated_while_other_lines_tell_enough() -> None:
    said = human(Event("start", "host", "wait"), *(Event("progress", "host", f"still {n}") for n in range(50)))
    assert said == ["… host      wait"]


def test_progress_is_told_after_a_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("binder_node.cli.output.time.monotonic", lambda: now[0])
    text = io.StringIO()
    shown = output.Human(Console(file=text, width=60, no_color=True))
    for seconds in range(5):
        now[0] = 100.0 + seconds
        shown(Event("progress", "host", f"still {seconds}"))
    assert text.getvalue().splitlines() == ["· host      still 2", "· host      still 4"]


def test_json_lines_from_many_threads_are_whole_lines() -> None:
    text = io.StringIO()
    write = output.JsonLines(text)

    def talk(name: int) -> None:
        for count in range(50):
            write(Event("log", "host", f"{name} {count}\nsecond line", {"path": Path("/etc"), "n": count}, at=1.5))

    threads = [threading.Thread(target=talk, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = [json.loads(line) for line in text.getvalue().splitlines()]
    assert len(lines) == 200
    assert {
        "kind": "log",
        "stage": "host",
        "message": "3 49\nsecond line",
        "data": {"path": "/etc", "n": 49},
        "at": 1.5,
    } in lines


@dataclass(frozen=True)
class Seen:
    path: Path
    secret: Masked
    changes: tuple[Change, ...]


SEEN = Seen(Path("/etc/hosts"), Masked("hunter2"), (Change("host", "update", "hosts", "+x"),))


@pytest.mark.parametrize("kind", [Output.json, Output.yaml])
def test_a_document_is_plain_data_with_secrets_masked(kind: Output) -> None:
    text = io.StringIO()
    output.document({"seen": SEEN, "ratio": 0.5, "none": None, 3: True}, kind, text)
    read = json.loads(text.getvalue()) if kind is Output.json else YAML(typ="safe").load(text.getvalue())
    assert read == {
        "seen": {
            "path": "/etc/hosts",
            "secret": "***",
            "changes": [{"stage": "host", "action": "update", "what": "hosts", "diff": "+x"}],
        },
        "ratio": 0.5,
        "none": None,
        "3": True,
    }
    assert "hunter2" not in text.getvalue()


def test_people_are_told_on_stderr_and_machines_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    for kind in Output:
        with output.reporting(kind) as report:
            report(Event("done", "up", "all of it"))
    told = capsys.readouterr()
    assert told.err.splitlines() == ["✓ up        all of it"]
    assert [json.loads(line)["message"] for line in told.out.splitlines()] == ["all of it", "all of it"]


def test_a_step_that_fails_is_told_and_its_error_goes_on() -> None:
    def fails(report: Reporter) -> None:
        with step(report, "host", "install"):
            raise OSError("no room")

    seen: list[Event] = []
    with pytest.raises(OSError, match="no room"):
        fails(seen.append)
    assert [(event.kind, "seconds" in event.data) for event in seen] == [("start", False), ("failed", True)]


def test_a_table_aligns_numbers_and_shows_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    output.table("", ["stage", "seconds"], [["host", "9.5"], ["[release]", "10.0"]])
    assert [line.rstrip() for line in capsys.readouterr().err.splitlines()] == [
        "stage      seconds",
        "host           9.5",
        "[release]     10.0",
    ]


def test_a_diff_stays_a_diff(capsys: pytest.CaptureFixture[str]) -> None:
    output.diff("--- a\n+++ b\n@@ -1 +1 @@\n-[old]\n+[new]")
    assert capsys.readouterr().err == "    --- a\n    +++ b\n    @@ -1 +1 @@\n    -[old]\n    +[new]\n"
