"""Launches replayed on a member before it gets traffic, so that its first weight starts no build storm (#3173)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from threading import Lock

from binder_node.binder.client import Binder
from binder_node.binder.kernel import shutdown
from binder_node.errors import DeadlineError, StepError
from binder_node.events import Event, Reporter
from binder_node.federation.archive import Popular

STAGE = "warm"
TOO_MANY = 429  # BinderHub's rate limit, in its stream
# A comparison may take so long even when the time is up: it launches what another member has built already.
LEAST_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Replayed:
    """One launch: whether it was ``ready``, whether its image had to be ``built``, and ``why`` it was not ready.

    ``there`` is what another member made of it, where that was asked: None, or why it failed there, empty when it did
    not. ``skipped``: there was no time left for it. ``limited``: it was refused for being one request too many.
    """

    path: str
    launches: int
    ready: bool = False
    built: bool = False
    seconds: float = 0.0
    why: str = ""
    there: str | None = None
    skipped: bool = False
    limited: bool = False

    @property
    def ours(self) -> bool:
        """It fails here alone."""
        return not self.ready and not self.skipped and self.there == ""


@dataclass(frozen=True, slots=True)
class Warmed:
    """All of them, and the share of the archive's launches (of those asked for) that now are in the registry."""

    replayed: tuple[Replayed, ...]

    @property
    def covered(self) -> float:
        """From 0 to 1, by number of launches."""
        whole = sum(one.launches for one in self.replayed)
        return sum(one.launches for one in self.replayed if one.ready) / whole if whole else 0.0


@dataclass(slots=True)
class Warmer:
    """Replays on ``member``, ``parallel`` at a time, and starts none after ``seconds``; ``other`` is asked for those
    that fail here, whether they fail there too."""

    member: Binder
    other: Binder | None
    parallel: int
    seconds: float
    report: Reporter
    launch: Callable[[Binder, str, float], Replayed] | None = None

    def run(self, wanted: Sequence[Popular]) -> Warmed:
        """Each of ``wanted``, in its order."""
        deadline, done, lock = time.monotonic() + self.seconds, list[int](), Lock()

        def one(popular: Popular) -> Replayed:
            found = self._one(popular, deadline)
            with lock:
                done.append(1)
                message = f"{len(done)} of {len(wanted)}: {sentence(found)}"
            self.report(Event("progress" if found.ready else "log", STAGE, message, asdict(found)))
            return found

        with ThreadPoolExecutor(max_workers=self.parallel) as pool:
            return Warmed(tuple(pool.map(one, wanted)))

    def _one(self, popular: Popular, deadline: float) -> Replayed:
        left = deadline - time.monotonic()
        if left <= 0:
            return Replayed(popular.path, popular.launches, skipped=True)
        launch = self.launch or replay
        found = launch(self.member, popular.path, left)
        there = None
        if not found.ready and self.other is not None:
            compared = launch(self.other, popular.path, max(LEAST_SECONDS, deadline - time.monotonic()))
            there = None if compared.limited else compared.why
        return replace(found, launches=popular.launches, there=there)


def replay(binder: Binder, path: str, seconds: float) -> Replayed:
    """One launch, its server stopped at once. A build that outlasts ``seconds`` goes on without us."""
    began, built, limited, why, last = time.monotonic(), False, False, "the stream ended early", ""
    try:
        for event in binder.build(path, seconds=seconds):
            built = built or event.phase in ("building", "fetching", "waiting")
            last = event.message.strip() or last
            if event.phase == "ready":
                why = ""
                _stop(binder, event.url, event.token)
            elif event.phase == "failed":
                limited = event.status == TOO_MANY
                why = last.splitlines()[-1] if last else "it failed and said nothing"
    except DeadlineError as error:
        why = error.step  # which wait, and how long it was
    except StepError as error:
        why = error.reason
    return Replayed(path, 0, not why, built, round(time.monotonic() - began, 1), why, limited=limited)


def _stop(binder: Binder, url: str, token: str) -> None:
    try:
        shutdown(binder, url, token)
    except StepError:
        return  # its server is culled when idle; what was to be warmed is warm


def sentence(found: Replayed) -> str:
    """``gh/a/b/HEAD (120 launches): built in 40 s``"""
    what = f"{found.path} ({found.launches} launches)"
    if found.skipped:
        return f"{what}: no time left"
    if found.ready:
        return f"{what}: {'built' if found.built else 'there already'}, {found.seconds:.0f} s"
    there = {None: "", "": "; it works on the other member"}.get(found.there, "; it fails on the other member too")
    return f"{what}: {found.why}{there}"


def summary(warmed: Warmed) -> dict[str, float | int]:
    """Counts for a table and for machines."""

    def count(found: Iterable[bool]) -> int:
        return sum(found)

    return {
        "asked": len(warmed.replayed),
        "ready": count(one.ready for one in warmed.replayed),
        "built": count(one.ready and one.built for one in warmed.replayed),
        "failed": count(not one.ready and not one.skipped for one in warmed.replayed),
        "failed_here_alone": count(one.ours for one in warmed.replayed),
        "skipped": count(one.skipped for one in warmed.replayed),
        "covered": round(warmed.covered, 4),
    }
