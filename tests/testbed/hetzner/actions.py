"""Actions: what the API does in its own time. They begin, progress, and end in success or error."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.testbed.hetzner.catalogue import stamp
from tests.testbed.hetzner.errors import ApiError

# Seconds that a command takes before its machine's own time is counted; Hetzner's are some ten times longer.
SECONDS = {"create_server": 0.5, "start_server": 0.3, "delete_server": 0.3, "rebuild_server": 0.5}
OTHER_SECONDS = 0.1
AT_ONCE = frozenset({"change_protection", "set_firewall_rules", "change_dns_ptr", "remove_from_placement_group"})
# What runs beside others.
SHARED = frozenset({"apply_firewall", "remove_firewall"})


def nothing() -> None:
    """No work, or no effect."""


@dataclass
class Action:
    """One action.

    ``work`` runs in a thread of its own; ``effect`` (``undo``) with the project's lock held, at its success
    (its error)."""

    id: int
    command: str
    resources: tuple[tuple[str, int], ...]
    started: datetime
    seconds: float
    after: Action | None = None
    work: Callable[[], None] | None = None
    effect: Callable[[], None] = nothing
    undo: Callable[[], None] = nothing
    status: str = "running"
    finished: datetime | None = None
    progress: int = 0
    error: tuple[str, str] | None = None
    stuck: bool = False
    failure: tuple[str, str] | None = None  # what a fault says it ends with
    began: float | None = None  # on the monotonic clock
    future: Future[None] | None = None

    def json(self) -> dict[str, Any]:
        code, message = self.error or ("", "")
        return {
            "id": self.id,
            "command": self.command,
            "status": self.status,
            "progress": self.progress,
            "started": stamp(self.started),
            "finished": stamp(self.finished) if self.finished else None,
            "resources": [{"id": number, "type": kind} for kind, number in self.resources],
            "error": {"code": code, "message": message} if self.error else None,
        }

    @property
    def running(self) -> bool:
        return self.status == "running"

    @property
    def held(self) -> bool:
        """Stuck, or after one that is."""
        return self.stuck or (self.after is not None and self.after.running and self.after.held)


@dataclass
class Actions:
    """All actions of a project. Not thread-safe: whoever calls holds the project's lock."""

    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    pace: float = 1.0  # 0: nothing takes time but machines
    all: dict[int, Action] = field(default_factory=dict)
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(8, "hetzner-work"))

    def start(self, action: Action) -> Action:
        self.all[action.id] = action
        self.settle()
        return action

    def seconds(self, command: str) -> float:
        return 0 if command in AT_ONCE else SECONDS.get(command, OTHER_SECONDS) * self.pace

    def settle(self) -> bool:
        """Begin, advance and end what is due, in order; True while something runs."""
        busy = False
        for action in sorted((row for row in self.all.values() if row.running), key=lambda row: row.id):
            self._advance(action)
            busy = busy or action.running
        return busy

    def _advance(self, action: Action) -> None:
        if action.after is not None and action.after.status != "success":
            if action.after.status == "error":
                self._end(action, ("action_failed", f"{action.after.command} failed"))
            return
        if action.began is None:
            action.began = self.monotonic()
            if action.work is not None and not action.stuck:
                action.future = self.pool.submit(action.work)
        passed = self.monotonic() - action.began
        working = action.future is not None and not action.future.done()
        if action.stuck or working or passed < action.seconds:
            share = 0.5 if action.stuck else passed / max(action.seconds, 0.1)
            action.progress = max(action.progress, min(95, int(100 * share)))
            return
        raised = action.future.exception() if action.future is not None else None
        if raised is not None:
            self._end(action, ("server_error", str(raised)))
        else:
            self._end(action, action.failure)

    def _end(self, action: Action, error: tuple[str, str] | None) -> None:
        action.error, action.finished = error, self.now()
        action.status, action.progress = ("error" if error else "success"), 100
        (action.undo if error else action.effect)()

    def release(self, action: Action) -> None:
        """Let a stuck action go on."""
        action.stuck, action.began = False, None

    def of(self, kind: str, number: int) -> list[Action]:
        return [row for row in self.all.values() if (kind, number) in row.resources]

    def locked(self, kind: str, number: int) -> bool:
        """Whether an action runs that keeps others away from the resource."""
        return any(row.running and row.command not in SHARED for row in self.of(kind, number))

    def check_free(self, kind: str, number: int) -> None:
        """Raises ApiError ``locked`` while the resource is."""
        if self.locked(kind, number):
            raise ApiError("locked", f"{kind} is locked: an action is already running")
