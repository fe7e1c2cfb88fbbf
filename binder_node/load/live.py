"""A load as it is just now: counts and times so far, as texts. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from binder_node.load.numbers import percentile
from binder_node.load.result import Sample
from binder_node.load.run import Moment
from binder_node.load.visit import BUILDING

CAUSES = 5


@dataclass
class Live:
    """``planned``: how many users are to come; ``length``: within how many seconds."""

    target: str
    planned: int
    length: float | None
    where: dict[int, str] = field(default_factory=dict)  # who is here, by number: what they last saw
    built: set[int] = field(default_factory=set)
    ready: dict[str, list[float]] = field(default_factory=lambda: {"cached": [], "built": []})
    came: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    why: Counter[str] = field(default_factory=Counter)
    looks: dict[str, Sample] = field(default_factory=dict)
    clicks: dict[int, float] = field(default_factory=dict)

    def take(self, moment: Moment) -> None:
        """Something happened."""
        number = moment.number
        if moment.visit is not None:
            self.where.pop(number, None)
            self.built.discard(number)
            self.clicks.pop(number, None)
            self.outcomes[moment.visit.outcome] += 1
            if moment.visit.outcome != "done":
                stage = f" ({moment.visit.stage})" if moment.visit.stage else ""
                self.why[f"{moment.visit.outcome}{stage}: {moment.visit.cause}"] += 1
            return
        if moment.what == "came":
            self.came += 1
            self.clicks[number] = moment.at
        if moment.what in BUILDING:
            self.built.add(number)
        if moment.what == "ready":
            self.ready[self._kind(number)].append(moment.at - self.clicks.get(number, moment.at))
        self.where[number] = moment.what

    def sampled(self, name: str, sample: Sample) -> None:
        """A node was looked at."""
        self.looks[name] = sample

    def _kind(self, number: int) -> str:
        return "built" if number in self.built else "cached"

    def line(self, now: float) -> str:
        """Where it stands, in a line."""
        inside = sum(what in ("ready", "cell") for what in self.where.values())
        of = f" of {seconds(self.length)}" if self.length else ""
        bad = self.outcomes["failed"] + self.outcomes["lost"]
        there = f"{len(self.where) - inside} launching, {inside} in their servers"
        ended = f"{self.outcomes['done']} done, {self.outcomes['refused']} refused, {bad} failed"
        return f"{self.target}  {seconds(now)}{of}  {self.came} of {self.planned} came, {there}, {ended}"

    def rows(self) -> list[list[str]]:
        """``[cached or built, under way, ready, p50, p95, longest]``; whoever has no phase yet counts as cached."""
        rows = []
        for kind, times in self.ready.items():
            busy = sum(what not in ("ready", "cell") and self._kind(one) == kind for one, what in self.where.items())
            cells = [f"{percentile(times, share):.1f}" for share in (50, 95, 100)] if times else ["", "", ""]
            rows.append([kind, str(busy or ""), str(len(times)), *cells])
        return rows

    def causes(self) -> list[str]:
        """Why visits ended early, the most frequent."""
        return [f"{count} {why}" for why, count in self.why.most_common(CAUSES)]

    def machines(self) -> list[str]:
        """Each node's last look."""
        found = []
        for name, one in self.looks.items():
            pods = "" if one.users is None else f", pods: {one.users} users, {one.builds} builds, {one.others} others"
            found.append(f"{name}: CPU {one.cpu:.0%}, memory {gigabytes(one.memory)}, disk {gigabytes(one.disk)}{pods}")
        return found


def seconds(value: float) -> str:
    """A time for people.

    >>> seconds(4), seconds(90), seconds(5400)
    ('4 s', '1:30 min', '1:30 h')
    """
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02} h"


def gigabytes(value: int) -> str:
    """Bytes for people.

    >>> gigabytes(12_300_000_000)
    '12.3 GB'
    """
    return f"{value / 1e9:.1f} GB"
