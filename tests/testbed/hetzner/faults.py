"""Fault switches: which requests and actions go wrong, and how. Set by a test, taken by the server as they come."""

from __future__ import annotations

import fnmatch
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

REQUEST_KINDS = ("answer", "cut", "delay", "hold", "call")
ACTION_KINDS = ("stick", "fail")


@dataclass
class Fault:
    """One switch.

    Of requests (``method`` and ``path``, a glob below ``/v1``):
      ``answer``  answer ``status`` with ``code`` in place of the true answer
      ``cut``     close the connection without an answer
      ``delay``   answer ``seconds`` later
      ``hold``    keep the client waiting until :meth:`let_go` (or ``seconds``), then cut the connection
      ``call``    call ``hook`` (Python only), which may kill the client
    ``after``: the request has had its effect before; else it never has one. ``delay`` lets the true answer through.

    Of actions (``command``, a glob): ``stick`` (runs for ever) and ``fail`` (ends with ``code`` and ``message``).

    The first ``skip`` that match are let through, the next ``times`` are hit (0: all that come).
    """

    kind: Literal["answer", "cut", "delay", "hold", "call", "stick", "fail"]
    method: str = "*"
    path: str = "*"
    command: str = "*"
    after: bool = False
    skip: int = 0
    times: int = 1
    status: int = 0
    code: str = "server_error"
    message: str = "an error that a test asked for"
    seconds: float = 0
    hook: Callable[[], None] | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    seen: int = 0  # matched so far
    hits: int = 0
    reached: threading.Event = field(default_factory=threading.Event)  # hit at least once
    freed: threading.Event = field(default_factory=threading.Event)

    @property
    def failure(self) -> tuple[str, str] | None:
        return (self.code, self.message) if self.kind == "fail" else None

    @property
    def spent(self) -> bool:
        return bool(self.times) and self.hits >= self.times

    def let_go(self) -> None:
        self.freed.set()

    def wait_reached(self, seconds: float = 30) -> bool:
        """Wait until a request or action was hit; False when none was in time."""
        return self.reached.wait(seconds)

    def json(self) -> dict[str, Any]:
        names = ("id", "kind", "method", "path", "command", "after", "skip", "times", "status", "code", "seconds")
        return {name: getattr(self, name) for name in names} | {"seen": self.seen, "hits": self.hits}

    def take(self) -> bool:
        """Whether this match is one to be hit; counts it."""
        if self.spent:
            return False
        self.seen += 1
        if self.seen <= self.skip:
            return False
        self.hits += 1
        self.reached.set()
        return True


@dataclass
class Faults:
    """The switches that are on, the oldest first. The caller holds the project's lock."""

    on: list[Fault] = field(default_factory=list)

    def add(self, fault: Fault) -> Fault:
        self.on.append(fault)
        return fault

    def remove(self, number: str = "") -> None:
        """Switch one off, or all; lets go whoever they hold."""
        for fault in [row for row in self.on if number in ("", row.id)]:
            self.on.remove(fault)
            fault.let_go()

    def take_request(self, method: str, path: str) -> Fault | None:
        """The fault of this request, if any; the oldest that hits."""
        for fault in self.on:
            matches = fnmatch.fnmatchcase(method, fault.method) and fnmatch.fnmatchcase(path, fault.path)
            if fault.kind in REQUEST_KINDS and matches and fault.take():
                return fault
        return None

    def take_action(self, command: str) -> Fault | None:
        for fault in self.on:
            if fault.kind in ACTION_KINDS and fnmatch.fnmatchcase(command, fault.command) and fault.take():
                return fault
        return None
