"""Two loads side by side: what changed, and whether they can be compared at all. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from binder_node.load.numbers import Spread, summary
from binder_node.load.result import Result

# What may differ between two loads that are to be compared: it is no part of who comes and what they do.
FREE = ("at_once", "grace", "patience")


@dataclass(frozen=True, slots=True)
class Row:
    """One number of both; None where one of them has none. ``unit``: ``s``, ``%`` (of shares from 0 to 1), or none."""

    name: str
    before: float | None
    after: float | None
    unit: str = ""

    @property
    def texts(self) -> tuple[str, str, str, str]:
        """Name, before, after, change."""
        return self.name, self._text(self.before), self._text(self.after), self._change()

    def _text(self, value: float | None) -> str:
        if value is None:
            return "–"
        if self.unit == "%":
            return f"{value:.1%}"
        return f"{value:.1f} {self.unit}" if self.unit else f"{value:g}"

    def _change(self) -> str:
        if self.before is None or self.after is None or self.before == self.after:
            return ""
        if self.unit == "%":
            return f"{(self.after - self.before) * 100:+.1f} points"
        return f"{self.after / self.before - 1:+.0%}" if self.before else f"{self.after - self.before:+g}"


def rows(before: Result, after: Result) -> list[Row]:
    """The numbers of both loads that one looks at first."""
    first, second = (summary(one.visits, one.arriving) for one in (before, after))
    return [
        Row("users", first.sent, second.sent),
        Row("users a minute", round(first.rate * 60, 2), round(second.rate * 60, 2)),
        Row("servers at once", first.peak, second.peak),
        Row("failed or lost", first.failing, second.failing, "%"),
        *(
            Row(name, first.outcomes.get(name, 0), second.outcomes.get(name, 0))
            for name in ("refused", "failed", "lost")
        ),
        *_spreads("cached", first.cached, second.cached),
        *_spreads("built", first.built, second.built),
        *_spreads("first cell", first.answered, second.answered),
        *_machines(before, after),
    ]


def _spreads(name: str, before: Spread | None, after: Spread | None) -> Iterator[Row]:
    if before is None and after is None:
        return
    yield Row(f"{name}: launches", before.count if before else 0, after.count if after else 0)
    for share in (50.0, 95.0, 99.0):
        first, second = (one.percentiles[share] if one else None for one in (before, after))
        yield Row(f"{name}: p{share:g}" + ("" if name == "first cell" else " to ready"), first, second, "s")


def _machines(before: Result, after: Result) -> Iterator[Row]:
    """Of two nodes or federations: the busiest moment of any of them."""
    for name, unit, scale in (("cpu", "%", 1.0), ("memory", "GB", 1e9), ("disk", "GB", 1e9)):
        first, second = _most(before, name, scale), _most(after, name, scale)
        if first is not None or second is not None:
            yield Row(f"{'CPU' if name == 'cpu' else name} at most", first, second, unit)


def _most(result: Result, name: str, scale: float) -> float | None:
    values = [float(getattr(sample, name)) / scale for machine in result.machines for sample in machine.samples]
    return max(values, default=None)


def unlike(before: Result, after: Result) -> tuple[str, ...]:
    """Why the two cannot simply be compared: sentences, none where they can."""
    found = [
        f"--{name.replace('_', '-')} was {_said(before, name)}, then {_said(after, name)}"
        for name in {**before.settings, **after.settings}
        if name not in FREE and before.settings.get(name) != after.settings.get(name)
    ]
    for word, one in (("first", before), ("second", after)):
        if one.stopped == "interrupted":
            found.append(f"the {word} was interrupted")
    return tuple(found)


def _said(result: Result, name: str) -> str:
    value = result.settings.get(name)
    if value in (None, [], ()):
        return "not said"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
