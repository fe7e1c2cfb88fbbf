"""A load played in this process: a thread for each user, bounded in time, in users at once, and at its end."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from binder_node.load.arrivals import Arrival
from binder_node.load.user import Patience, Target, User, public_trust
from binder_node.load.visit import CUT, Visit

Stopped = Literal["plan", "time", "interrupted"]
# Between hanging up on a user and giving up on its thread: one request may be under way (ANSWER_SECONDS).
CUT_SECONDS = 35.0


@dataclass(frozen=True, slots=True)
class Limits:
    """``seconds``: no user comes later, and those who are there go home then (None: when the last one has left).
    ``users``: how many come at most. ``at_once``: a user who would be one more is not sent. ``grace``: seconds that
    launches under way are given after the end before they are cut.
    """

    seconds: float | None = None
    users: int | None = None
    at_once: int = 1000
    grace: float = 120.0


@dataclass(frozen=True, slots=True)
class Moment:
    """Something happened to user ``number``, ``at`` seconds from the beginning. ``what``: ``came``, ``page``, a phase
    of the stream (``building``, ``launching``, ``ready``, ...), ``cell`` (the first), ``left`` (with its ``visit``).
    """

    at: float
    number: int
    what: str
    visit: Visit | None = None


@dataclass(frozen=True, slots=True)
class Played:
    """Visits in the order of their arrival. ``stopped`` is why no more came; ``arriving``: for how long users came,
    ``seconds``: how long all of it took.
    """

    visits: tuple[Visit, ...]
    stopped: Stopped
    arriving: float
    seconds: float


def ignored(moment: Moment, /) -> None:
    """Hears nothing."""
    del moment


def run(
    arrivals: Sequence[Arrival],
    targets: Sequence[Target],
    limits: Limits,
    *,
    patience: Patience | None = None,
    heard: Callable[[Moment], None] = ignored,
    stop: threading.Event | None = None,
    began: float | None = None,
) -> Played:
    """Play ``arrivals`` against ``targets``, one after the other in turn, and wait until everybody has gone.

    ``heard`` is told of every moment, from many threads, one at a time. ``stop``, set from another thread, ends it as
    the time limit does, and so does Ctrl-C; a second one cuts who is still there. Nothing is raised for either.
    ``began``: the beginning (monotonic seconds), now without it.
    """
    # One context for all: making one takes longer than all else that a user computes.
    public = public_trust()
    ready = [replace(target, trust=target.trust or public) for target in targets]
    start = time.monotonic() if began is None else began
    return _Run(arrivals, ready, limits, patience or Patience(), heard, stop or threading.Event(), start).play()


@dataclass
class _Run:
    arrivals: Sequence[Arrival]
    targets: Sequence[Target]
    limits: Limits
    patience: Patience
    heard: Callable[[Moment], None]
    stop: threading.Event
    began: float
    leaving: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _left: threading.Condition = field(default_factory=threading.Condition)
    _arrived: float = 0.0
    _bug: Exception | None = None
    _there: dict[int, User] = field(default_factory=dict)
    _visits: dict[int, Visit] = field(default_factory=dict)
    _threads: list[threading.Thread] = field(default_factory=list)

    def play(self) -> Played:
        try:
            stopped = self._arrive()
            self._arrived = self._now()
            stopped = self._wait(stopped)
        except KeyboardInterrupt:
            stopped, self._arrived = "interrupted", self._arrived or self._now()
        with contextlib.suppress(KeyboardInterrupt):
            self._send_home()
        self._cut()
        if self._bug is not None:
            raise self._bug
        visits = tuple(self._visits[number] for number in sorted(self._visits))
        return Played(visits, stopped, round(self._arrived, 3), round(self._now(), 3))

    def _now(self) -> float:
        return time.monotonic() - self.began

    def _arrive(self) -> Stopped:
        """Send each user at its time; why no more are sent."""
        end = self.limits.seconds
        for number, arrival in enumerate(self.arrivals[: self.limits.users]):
            if end is not None and arrival.at >= end:
                return "time"
            if self.stop.wait(max(0.0, arrival.at - self._now())):
                return "interrupted"
            if len(self._there) >= self.limits.at_once:
                self._hold(number, arrival)
            else:
                self._send(number, arrival)
        return "plan"

    def _wait(self, stopped: Stopped) -> Stopped:
        """Until all have gone, or the time is over."""
        while self._there:
            if self.stop.is_set():
                return "interrupted"
            if self.limits.seconds is not None and self._now() >= self.limits.seconds:
                return "time"
            with self._left:
                self._left.wait(0.1)
        return stopped

    def _send(self, number: int, arrival: Arrival) -> None:
        target = self.targets[number % len(self.targets)]
        user = User(number, arrival, target, self.patience, began=self.began, leaving=self.leaving, seen=self._seen)
        self._there[number] = user
        self._tell(number, "came")
        thread = threading.Thread(target=self._live, args=(number, user), name=f"user-{number}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _live(self, number: int, user: User) -> None:
        try:
            visit = user()
            self._visits.setdefault(number, visit)
            self._tell(number, "left", visit)
        except Exception as error:  # noqa: BLE001 - a bug, which would be seen by nobody in here: play() raises it
            self._bug = self._bug or error
            self.stop.set()
        finally:
            with self._left:
                self._there.pop(number, None)
                self._left.notify_all()

    def _hold(self, number: int, arrival: Arrival) -> None:
        visit = Visit(
            number=number, at=arrival.at, path=arrival.path, outcome="held", cause="as many as allowed are there"
        )
        self._visits[number] = visit
        self._tell(number, "left", visit)

    def _send_home(self) -> None:
        """Everybody leaves, within the grace."""
        self.leaving.set()
        deadline = time.monotonic() + self.limits.grace
        while self._there and time.monotonic() < deadline:
            with self._left:
                self._left.wait(0.1)

    def _cut(self) -> None:
        """Whoever is still there is cut; of who does not even notice that, the visit is told without them."""
        self.leaving.set()
        for user in list(self._there.values()):
            user.cut()
        deadline = time.monotonic() + CUT_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        for number in list(self._there):
            arrival = self.arrivals[number]
            gone = Visit(number=number, at=arrival.at, path=arrival.path, outcome="cut", cause=CUT)
            self._visits.setdefault(number, gone)

    def _seen(self, number: int, what: str) -> None:
        self._tell(number, what)

    def _tell(self, number: int, what: str, visit: Visit | None = None) -> None:
        with self._lock:
            self.heard(Moment(round(self._now(), 3), number, what, visit))
