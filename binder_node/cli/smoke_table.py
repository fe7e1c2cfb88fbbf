"""The checks of a node as they run: a table of layers that fills, failures above it. People read it on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from binder_node.cli.output import console
from binder_node.smoke.checks import Check, Result

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

    from binder_node.smoke.run import Watcher

COLUMNS = ("ok", "failed", "blocked", "skipped")


class Layers:
    """Counts by layer. ``now`` is the check under way."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.total: dict[str, int] = {}
        self.counts: dict[tuple[str, str], int] = {}
        self.seconds: dict[str, float] = {}
        self.now: Check | None = None
        self.deep_left_out = 0

    def plan(self, checks: Sequence[Check], deep_left_out: int) -> None:
        self.deep_left_out = deep_left_out
        for item in checks:
            self.total[item.layer] = self.total.get(item.layer, 0) + 1
        self.order = list(self.total)

    def add(self, result: Result) -> None:
        layer = result.check.layer
        self.counts[layer, result.outcome] = self.counts.get((layer, result.outcome), 0) + 1
        self.seconds[layer] = self.seconds.get(layer, 0.0) + result.seconds
        self.now = None

    def rows(self) -> list[list[str]]:
        """``[layer, done/all, failed, blocked, skipped, seconds, state]`` for each layer."""
        found = []
        for layer in self.order:
            count = {outcome: self.counts.get((layer, outcome), 0) for outcome in COLUMNS}
            busy = self.now.about if self.now and self.now.layer == layer else ""
            done = sum(count.values())
            state = busy or ("" if done < self.total[layer] else _state(count))
            cells = [str(count[outcome] or "") for outcome in COLUMNS[1:]]
            seconds = f"{self.seconds[layer]:.1f}" if layer in self.seconds else ""
            found.append([layer, f"{count['ok']}/{self.total[layer]}", *cells, seconds, state])
        return found


def _state(count: dict[str, int]) -> str:
    """In a word; a layer of which nothing applies to the node is not said to be well."""
    return next((outcome for outcome in ("failed", "blocked", "ok") if count[outcome]), "skipped")


class Shown:
    """On a terminal a table, drawn anew at each step; elsewhere failures as they come, and the table at the end."""

    def __init__(self) -> None:
        self.layers, self._screen, self._began = Layers(), console(), time.monotonic()
        self._live: Live | None = None

    def planned(self, checks: Sequence[Check], deep_left_out: int) -> None:
        self.layers.plan(checks, deep_left_out)
        if self._screen.is_terminal:
            from rich.live import Live

            self._live = Live(self._table(), console=self._screen, transient=True, refresh_per_second=8)
            self._live.start()

    def started(self, check: Check) -> None:
        self.layers.now = check
        self._draw()

    def finished(self, result: Result) -> None:
        self.layers.add(result)
        if result.outcome == "failed":
            self._tell(result)
        self._draw()

    def _tell(self, result: Result) -> None:
        from rich.markup import escape

        self._screen.print(f"[red]✗[/] [bold]{escape(result.check.id)}[/] {escape(result.reason)}")
        if result.remedy:
            self._screen.print(f"  → {escape(result.remedy)}")
        if result.traceback:
            self._screen.print(result.traceback, markup=False)

    def _draw(self) -> None:
        if self._live is not None:
            self._live.update(self._table())

    def _table(self) -> Table:
        from rich.markup import escape
        from rich.table import Table

        shown = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("layer", "ok", "failed", "blocked", "skipped", "seconds", ""):
            shown.add_column(name, justify="left" if name in ("layer", "") else "right", no_wrap=True)
        colours = {"ok": "green", "failed": "red", "blocked": "yellow"}
        for row in self.layers.rows():
            state = escape(row[-1])
            colour = colours.get(state, "dim")
            shown.add_row(*(escape(cell) for cell in row[:-1]), f"[{colour}]{state}[/]")
        return shown

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        if self.layers.order:
            self._screen.print(self._table())
            left = self.layers.deep_left_out
            more = f"; {left} more with --deep" if left else ""
            self._screen.print(f"{time.monotonic() - self._began:.1f} s{more}", markup=False)


class Silent:
    """Tells nobody."""

    def planned(self, checks: Sequence[Check], deep_left_out: int) -> None:
        del checks, deep_left_out

    def started(self, check: Check) -> None:
        del check

    def finished(self, result: Result) -> None:
        del result


@contextmanager
def showing(to_people: bool) -> Iterator[Watcher]:
    """Who is told: people on stderr, or nobody."""
    if not to_people:
        yield Silent()
        return
    shown = Shown()
    try:
        yield shown
    finally:
        shown.close()
        sys.stderr.flush()
