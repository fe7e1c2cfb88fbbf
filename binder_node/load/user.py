"""One simulated user: asks for the launch page, launches, runs cells in the server, leaves."""

from __future__ import annotations

import contextlib
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from binder_node.binder.client import AnswerError, Binder
from binder_node.binder.kernel import open_kernel, shutdown
from binder_node.binder.launch import Launched
from binder_node.errors import StepError
from binder_node.federation.tokens import of_page
from binder_node.load.arrivals import Arrival
from binder_node.load.visit import CUT, Ended, Outcome, Stage, Visit, kind_of, of_error, of_event

# A cell as people run them first: imports, a little memory, some tenths of a second of computing.
CELL = "import json, math, random\nvalues = [math.sqrt(n) for n in range(200_000)]\nprint(round(sum(values)))"


@dataclass(frozen=True, slots=True)
class Target:
    """Where users go: a BinderHub, or a federation's ``redirector``. ``url`` is its public one.

    ``addresses`` says by host name where to connect in place of what DNS says; ``trust`` whose certificates are taken,
    the public authorities' without it. ``page``: whether users ask for the launch page first, as browsers do; its
    token keeps BinderHub's limit of launches an hour and address from counting them. ``members``: the URLs that a
    redirector may send users to; empty: any. Nobody goes elsewhere.
    """

    name: str
    url: str
    addresses: Mapping[str, str] = field(default_factory=dict)
    trust: ssl.SSLContext | None = None
    redirector: bool = False
    page: bool = True
    members: frozenset[str] = frozenset()

    def binder(self, url: str) -> Binder:
        """A client for the BinderHub at ``url``."""
        return Binder(url, self.addresses.get(urlsplit(url).hostname or ""), trust=self.trust)


def public_trust() -> ssl.SSLContext:
    """The public authorities, as httpx has them. Imports what users need: else the first of them would be slow."""
    import httpx
    import websockets.sync.client  # noqa: F401 - imported by the first cell otherwise

    return httpx.create_ssl_context()


@dataclass(frozen=True, slots=True)
class Patience:
    """How long users wait (seconds), and what they run, one after the other, from the start again.

    A launch may take ten minutes (singleuser.startTimeout), after a build of up to an hour.
    """

    launch: float = 3600.0 + 600.0
    cell: float = 60.0
    cells: tuple[str, ...] = (CELL,)


class _EndError(Exception):
    """Ends a visit."""

    def __init__(self, end: Ended) -> None:
        self.end = end
        super().__init__(end.cause)


class User:
    """One visit, in a thread of its own. ``began`` is the load's beginning (monotonic seconds).

    ``leaving`` tells all users to go home: who has a server leaves it, who is launching waits for it and leaves then.
    ``seen`` is called with what the user sees: ``page``, the phases of the stream, ``cell``.
    """

    def __init__(
        self,
        number: int,
        arrival: Arrival,
        target: Target,
        patience: Patience,
        *,
        began: float,
        leaving: threading.Event,
        seen: Callable[[int, str], None],
    ) -> None:
        self.number, self.arrival, self.target, self.patience = number, arrival, target, patience
        self._began, self._leaving, self._seen = began, leaving, seen
        self._binder: Binder | None = None
        self._cut = False
        self._stage: Stage = ""
        self._member = ""
        self._launched = Launched(arrival.path)
        self._answered: float | None = None
        self._cells, self._slowest = 0, 0.0

    def __call__(self) -> Visit:
        """The visit, to its end; nothing is raised for what happens to a user."""
        clicked = time.monotonic()
        self._launched = Launched(self.arrival.path, began=clicked)
        end = None
        try:
            self._visit()
        except _EndError as error:
            end = error.end
        except StepError as error:
            end = of_error(error, self._stage, worked=self._cells > 0)
        finally:
            if self._binder is not None:
                self._binder.close()
        return self._told(clicked, end)

    def cut(self) -> None:
        """End it now, from another thread."""
        self._cut = True
        if self._binder is not None:
            self._binder.hang_up()

    # --- the way ----------------------------------------------------------------------------------------------------

    def _visit(self) -> None:
        token = self._page() if self.target.page else ""
        base = self._sent() if self.target.redirector else self.target.url
        self._member = urlsplit(base).netloc
        binder = self._binder = self.target.binder(base)
        if self._leaving.is_set():  # nobody asks for a server any more
            raise _EndError(Ended(outcome="cut", stage=self._stage, cause=CUT))
        self._launch(binder, token)
        try:
            self._stay(binder)
        except BaseException:
            with contextlib.suppress(StepError):
                shutdown(binder, self._launched.url, self._launched.token)
            raise
        if self.arrival.leaving == "stops":
            self._stage = "stop"
            shutdown(binder, self._launched.url, self._launched.token)

    def _page(self) -> str:
        """The launch page's token; empty where it has none."""
        self._stage = "page"
        self._seen(self.number, "page")
        what = "ask for the launch page"
        with self.target.binder(self.target.url) as binder:
            answer = binder.request("GET", f"{binder.base_url}/v2/{self.arrival.path}", what, follow_redirects=True)
            if answer.status_code != 200:
                raise AnswerError(binder.name, what, answer)
        return of_page(answer.text)

    def _sent(self) -> str:
        self._stage = "redirector"
        with self.target.binder(self.target.url) as binder:
            base = binder.member(self.arrival.path)
        if self.target.members and base not in self.target.members:
            cause, message = "a foreign member", f"the redirector sent this user to {base}: not followed"
            raise _EndError(Ended(outcome="failed", stage="redirector", cause=cause, message=message))
        return base

    def _launch(self, binder: Binder, token: str) -> None:
        self._stage = "build"
        more: dict[str, Any] = {"token": token, "origin": self.target.url.rstrip("/")} if token else {}
        for event in binder.build(self.arrival.path, seconds=self.patience.launch, **more):
            before = len(self._launched.phases)
            self._launched.take(event)
            if event.phase == "failed":
                raise _EndError(of_event(event, self._stage, self._launched.log))
            if event.phase in ("built", "launching"):
                self._stage = "launch"
            if len(self._launched.phases) > before:
                self._seen(self.number, event.phase)

    def _stay(self, binder: Binder) -> None:
        ready = time.monotonic()
        self._stage = "kernel"
        with open_kernel(binder, self._launched.url, self._launched.token) as kernel:
            for number, at in enumerate(self.arrival.cells):
                if self._cells and self._leaving.wait(max(0.0, ready + at - time.monotonic())):
                    return
                code = self.patience.cells[number % len(self.patience.cells)]
                begun = time.monotonic()
                ran = kernel.run(code, seconds=self.patience.cell)
                if not ran.ok:
                    last = ran.output.strip().rpartition("\n")[2]
                    raise _EndError(Ended(outcome="failed", stage="cell", cause="the code failed", message=last))
                self._cell(time.monotonic() - begun)
            self._leaving.wait(max(0.0, ready + self.arrival.stay - time.monotonic()))

    def _cell(self, took: float) -> None:
        self._stage = "cell"
        self._cells += 1
        self._slowest = max(self._slowest, took)
        if self._answered is None:
            self._answered = self._launched.since()
            self._seen(self.number, "cell")

    # --- what became of it ------------------------------------------------------------------------------------------

    def _told(self, clicked: float, end: Ended | None) -> Visit:
        launched = self._launched
        outcome: Outcome = "done" if end is None else ("cut" if self._cut else end.outcome)
        at = clicked - self._began
        return Visit(
            number=self.number,
            at=round(at, 3),
            late=round(max(0.0, at - self.arrival.at), 3),
            path=self.arrival.path,
            target=self.target.name,
            member=self._member,
            kind=kind_of(launched.phases),
            phases=launched.seconds,
            ready=launched.seconds.get("ready"),
            answered=self._answered,
            cells=self._cells,
            slowest=round(self._slowest, 3) if self._cells else None,
            left=launched.since(),
            outcome=outcome,
            stage=end.stage if end else "",
            cause=CUT if outcome == "cut" else (end.cause if end else ""),
            message=end.message if end else "",
        )
