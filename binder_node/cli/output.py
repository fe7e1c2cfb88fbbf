"""Rendering: events as lines for people (stderr) or JSON lines (stdout), results as documents.

``rich`` is imported when a command really renders; commands must start as fast as a bare Typer app.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any, TextIO

from binder_node.cli.options import Output
from binder_node.events import Event, Reporter

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

# A person is told that something goes on when nothing was said for this long (seconds).
QUIET = 2.0


def console() -> Console:
    """Where people read: stderr, without colour when NO_COLOR is set or it is no terminal."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True, no_color="NO_COLOR" in os.environ or None)


def plain(value: Any) -> Any:
    """``value`` with dataclasses as dicts and everything else that JSON does not know as text."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return str(value) if isinstance(value, str) else value
    return str(value)


def document(value: Any, output: Output, stream: TextIO | None = None) -> None:
    """Write one JSON or YAML document to stdout."""
    out = stream or sys.stdout
    if output is Output.yaml:
        from ruamel.yaml import YAML

        writer = YAML()
        writer.default_flow_style = False
        writer.dump(plain(value), out)
    else:
        out.write(json.dumps(plain(value), indent=2) + "\n")
    out.flush()


class JsonLines:
    """One event a line on stdout: ``{"at": 1.5, "kind": "done", "stage": "host", "message": "...", "data": {}}``."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._lock = threading.Lock()

    def __call__(self, event: Event, /) -> None:
        line = json.dumps(plain(event), separators=(",", ":"))
        with self._lock:
            self._stream.write(line + "\n")
            self._stream.flush()


class Human:
    """Lines on stderr; on a terminal the step under way is shown with its time at the bottom."""

    MARKS = {  # noqa: RUF012 - a table, never changed
        "start": "[dim]…[/]",
        "done": "[green]✓[/]",
        "failed": "[red]✗[/]",
        "warn": "[yellow]![/]",
        "change": "[cyan]+[/]",
        "progress": "[dim]·[/]",
        "log": "[dim]|[/]",
    }

    def __init__(self, screen: Console | None = None) -> None:
        self._screen = screen or console()
        self._lock = threading.Lock()
        self._spoke = time.monotonic()
        self._status: Status | None = None

    def __call__(self, event: Event, /) -> None:
        with self._lock:
            if event.kind == "progress" and self._screen.is_terminal:
                self._show(f"{event.stage}: {event.message}")
            elif event.kind == "progress" and time.monotonic() - self._spoke < QUIET:
                return
            elif event.kind == "start" and self._screen.is_terminal:
                self._show(f"{event.stage}: {event.message}")
            else:
                self._line(event)

    def _show(self, text: str) -> None:
        from rich.markup import escape

        if self._status is None:
            self._status = self._screen.status(escape(text))
            self._status.start()
        else:
            self._status.update(escape(text))

    def _line(self, event: Event) -> None:
        from rich.markup import escape

        seconds = event.data.get("seconds")
        took = f" [dim]{seconds:.1f} s[/]" if isinstance(seconds, int | float) else ""
        stage = f"[bold]{escape(event.stage):<9}[/] "
        self._screen.print(f"{self.MARKS[event.kind]} {stage}{escape(event.message)}{took}")
        self._spoke = time.monotonic()

    def close(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None


@contextmanager
def reporting(output: Output) -> Iterator[Reporter]:
    """The reporter that fits ``output``: JSON lines on stdout, or lines for people on stderr."""
    if output is not Output.text:
        yield JsonLines()
        return
    human = Human()
    try:
        yield human
    finally:
        human.close()


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """A table for people, on stderr."""
    from rich.markup import escape
    from rich.table import Table

    shown = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(row[index].replace(".", "", 1).isdigit() for row in rows)
        shown.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(escape(cell) for cell in row))
    console().print(shown)


def say(text: str) -> None:
    """A line for people, on stderr."""
    console().print(text, markup=False)


def diff(text: str) -> None:
    """A unified diff for people, on stderr, coloured where there is colour."""
    styles: dict[str, str] = {"+": "green", "-": "red", "@": "cyan"}
    screen = console()
    for line in text.splitlines():
        screen.print(f"    {line}", markup=False, style=styles.get(line[:1], ""))
