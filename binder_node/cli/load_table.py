"""A load while it runs: a table that is drawn anew, or a line now and then; and its numbers at the end. On stderr."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from binder_node.cli.output import console, say, table
from binder_node.load.live import Live, gigabytes, seconds
from binder_node.load.numbers import Spread, Summary
from binder_node.load.result import Result, Sample
from binder_node.load.run import Moment

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live as Screen

# Without a terminal: a line as often.
LINE_SECONDS = 10.0
# A user that comes so much later than planned was kept by this computer, and its times are not the node's.
LATE_SECONDS = 0.5


class Shown:
    """What people see. Called from the users' threads."""

    def __init__(self, target: str, planned: int, length: float | None) -> None:
        self.live, self._began, self._console = Live(target, planned, length), time.monotonic(), console()
        self._lock, self._screen, self._line = threading.Lock(), None, 0.0
        if self._console.is_terminal:
            self._start()

    _screen: Screen | None

    def _start(self) -> None:
        from rich.live import Live as Screen

        self._screen = Screen(console=self._console, transient=True, refresh_per_second=4, get_renderable=self._drawn)
        self._screen.start()

    def heard(self, moment: Moment) -> None:
        with self._lock:
            self.live.take(moment)
        self._say()

    def sampled(self, name: str, sample: Sample) -> None:
        with self._lock:
            self.live.sampled(name, sample)
        self._say()

    def _say(self) -> None:
        if self._screen is None and time.monotonic() - self._began - self._line >= LINE_SECONDS:
            self._line = time.monotonic() - self._began
            say(self.live.line(self._line))

    def _drawn(self) -> Group:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        with self._lock:
            now = time.monotonic() - self._began
            head, rows = self.live.line(now), self.live.rows()
            foot = [*self.live.causes(), *self.live.machines()]
        shown = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("launches", "under way", "ready", "p50", "p95", "longest"):
            shown.add_column(name, justify="left" if name == "launches" else "right", no_wrap=True)
        for row in rows:
            shown.add_row(*row)
        return Group(Text(head, style="bold"), shown, *(Text(line) for line in foot))

    def close(self) -> None:
        if self._screen is not None:
            self._screen.stop()
            self._screen = None


class Silent:
    """Tells nobody."""

    def heard(self, moment: Moment) -> None:
        del moment

    def sampled(self, name: str, sample: Sample) -> None:
        del name, sample


@contextmanager
def showing(to_people: bool, target: str, planned: int, length: float | None) -> Iterator[Shown | Silent]:
    """Who is told: people on stderr, or nobody until the document at the end."""
    if not to_people:
        yield Silent()
        return
    shown = Shown(target, planned, length)
    try:
        yield shown
    finally:
        shown.close()


def tell(result: Result, found: Summary) -> None:
    """The numbers of a load that is over."""
    times = {"all": found.ready, "cached": found.cached, "built": found.built, "first cell": found.answered}
    rows = [[name, *_cells(spread)] for name, spread in times.items() if spread is not None]
    if rows:
        table(
            "seconds from the click to a ready server",
            ["launches", "count", "p50", "p90", "p95", "p99", "longest"],
            rows,
        )
    outcomes = ", ".join(f"{count} {name}" for name, count in sorted(found.outcomes.items(), key=lambda item: -item[1]))
    users = f"{found.sent} users in {seconds(result.arriving)} ({found.rate * 60:.1f} a minute)"
    say(f"{users}, {found.peak} servers at once: {outcomes}")
    for cause in found.causes:
        where = f" ({cause.stage})" if cause.stage else ""
        say(f"{cause.count} {cause.outcome}{where}: {cause.cause}" + (f": {cause.example}" if cause.example else ""))
    if len(found.members) > 1 or result.federation:
        say("served by " + ", ".join(f"{name} {count}" for name, count in found.members.items()))
    for machine in result.machines:
        if machine.samples:
            busy = max(sample.cpu for sample in machine.samples)
            memory, disk = (max(getattr(one, name) for one in machine.samples) for name in ("memory", "disk"))
            say(
                f"{machine.name}: CPU up to {busy:.0%} of {machine.cpus}, memory up to {gigabytes(memory)} of "
                f"{gigabytes(machine.memory)}, disk up to {gigabytes(disk)} of {gigabytes(machine.disk)}"
            )
        if machine.error:
            say(f"{machine.name}: not watched to the end: {machine.error}")
    if found.late > LATE_SECONDS:
        say(f"this computer was too slow for that many users: {found.late:.1f} s late (p95); the times are too long")


def _cells(spread: Spread) -> list[str]:
    return [str(spread.count), *(f"{value:.1f}" for value in spread.percentiles.values()), f"{spread.most:.1f}"]
