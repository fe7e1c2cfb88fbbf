"""``status --all``: several nodes side by side, again and again, and as a page. Imported when it is asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from binder_node.cli.options import Output

if TYPE_CHECKING:
    from rich.console import Group

    from binder_node.fleet.look import Look
    from binder_node.lifecycle.looking import Asked

STAGE = "status"


def show(asked: Asked, output: Output, *, every: float | None, seconds: float | None, html: Path | None) -> None:
    """One look, or with ``every`` one in so many seconds until ``seconds`` are over; exits with 1 if not all are well.

    Raises InputError: ``html`` is a file of somebody else's, or cannot be written.
    """
    from binder_node.events import silent
    from binder_node.lifecycle import looking

    history = looking.remembered(html) if html is not None else []
    looks: list[Look] = []
    began = time.monotonic()
    with _screen(output, watch=every is not None) as told, suppress(KeyboardInterrupt):  # the usual end of watching
        while True:
            looks = looking.look_at_all(asked, silent)
            if html is not None:
                history = looking.write_page(html, [*history, *looks], refresh=every or 0)
            told(looks)
            if every is None:
                break
            following = max(0.0, looks[0].at + every - time.time())
            if seconds is not None and time.monotonic() + following - began > seconds:
                break
            time.sleep(following)
    if not looks or not all(look.well for look in looks):
        raise typer.Exit(1)


@contextmanager
def _screen(output: Output, *, watch: bool) -> Iterator[Callable[[Sequence[Look]], None]]:
    """What takes the looks: a document, an event a node and look, a table, or one that is drawn anew."""
    from binder_node.cli.output import console

    if output is not Output.text:
        yield _events if watch else lambda looks: _document(looks, output)
        return
    screen = console()
    if not watch or not screen.is_terminal:
        yield _table
        return
    from rich.live import Live

    with Live(console=screen, auto_refresh=False) as live:
        yield lambda looks: live.update(_drawn(looks), refresh=True)


def _document(looks: Sequence[Look], output: Output) -> None:
    from binder_node.cli.output import document

    document({"ok": all(look.well for look in looks), "nodes": [_fields(look) for look in looks]}, output)


def _events(looks: Sequence[Look]) -> None:
    from binder_node.cli.output import JsonLines
    from binder_node.events import Event

    report = JsonLines()
    for look in looks:
        words = f"{look.node}: {look.state}{': ' + '; '.join(look.why) if look.why else ''}"
        report(Event("done" if look.well else "warn", STAGE, words, _fields(look)))


def _fields(look: Look) -> dict[str, object]:
    return {**look.model_dump(mode="json"), "well": look.well, "state": look.state}


def _table(looks: Sequence[Look]) -> None:
    from binder_node.cli.output import say, table
    from binder_node.fleet.look import COLUMNS, rows

    table("", list(COLUMNS), rows(looks))
    for line in _lines(looks):
        say(line)


def _lines(looks: Sequence[Look]) -> Iterator[str]:
    from binder_node.fleet.look import sentence

    for look in looks:
        yield from (f"{look.node}: {reason}" for reason in look.why)
        if look.rotation:
            yield f"{look.node}: {look.rotation}"
    yield f"{time.strftime('%H:%M:%S')}  {sentence(looks)}"


def _drawn(looks: Sequence[Look]) -> Group:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from binder_node.fleet.look import COLUMNS, rows

    shown = Table(box=None, pad_edge=False, header_style="bold")
    for name in COLUMNS:
        shown.add_column(name, no_wrap=name != "state")
    for look, row in zip(looks, rows(looks), strict=True):
        shown.add_row(*row, style="" if look.well else "red" if look.inside is False else "yellow")
    return Group(shown, *(Text(line) for line in _lines(looks)))
