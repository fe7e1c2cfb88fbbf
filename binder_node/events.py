"""What a run tells while it runs: one typed event a step, rendered by the command line as text or as JSON lines.

Rooms below the command line never print; they are handed a :class:`Reporter`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Kind = Literal["start", "progress", "change", "log", "warn", "done", "failed"]


@dataclass(frozen=True, slots=True)
class Event:
    """``stage`` is the room's name (``machine``, ``names``, ``host``, ``storage``, ``release``, ``artifacts``,
    ``launch``); ``message`` one line for a person; ``data`` what a machine wants to know besides (JSON-serialisable,
    no secrets). ``at`` is seconds since the epoch.
    """

    kind: Kind
    stage: str
    message: str
    data: dict[str, Any] = field(default_factory=dict)
    at: float = field(default_factory=time.time)


class Reporter(Protocol):
    """Takes events as they happen; must be safe to call from several threads."""

    def __call__(self, event: Event, /) -> None: ...


def silent(event: Event, /) -> None:
    """A reporter that drops everything, for callers that only want the result."""
    del event


@contextmanager
def step(report: Reporter, stage: str, message: str, **data: Any) -> Iterator[dict[str, Any]]:
    """Report ``start`` before and ``done`` (with ``seconds``) or ``failed`` after the block.

    Yields a dict: what the block puts there goes out with the ``done`` event.
    """
    began = time.monotonic()
    report(Event("start", stage, message, dict(data)))
    extra: dict[str, Any] = {}
    try:
        yield extra
    except BaseException:
        report(Event("failed", stage, message, {**data, "seconds": round(time.monotonic() - began, 3)}))
        raise
    report(Event("done", stage, message, {**data, **extra, "seconds": round(time.monotonic() - began, 3)}))


def quiet(report: Reporter) -> Reporter:
    """Only what a person should see of something that is done on the way."""

    def filtered(event: Event, /) -> None:
        if event.kind in ("warn", "failed"):
            report(event)

    return filtered
