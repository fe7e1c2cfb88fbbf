"""What became of a simulated user, and how failures are told from refusals. Pure."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from binder_node.binder.client import AnswerError
from binder_node.binder.stream import BuildEvent
from binder_node.errors import DeadlineError, StepError

# done: launched, all cells run, left. refused: turned away with a clear word (429, 503, the quota). failed: anything
# else that ended it before its first cell was run, or a cell whose code failed. lost: a server that had worked and
# did no more. cut: the load's own end came first. held: never sent, since as many users as allowed were there.
Outcome = Literal["done", "refused", "failed", "lost", "cut", "held"]
Stage = Literal["", "page", "redirector", "build", "launch", "kernel", "cell", "stop"]
# The cause of a visit that was cut.
CUT = "the load's end"
# HTTP's words for "not now" (RFC 6585, RFC 9110): at the doors below. In a server that is said to be ready they are a
# failure like any other.
NOT_NOW = (429, 503)
DOORS = ("page", "redirector", "build", "launch")
# BinderHub's words for its quotas (binderhub/quota.py); such an event has no status.
FULL = "Too many users"
# What a build's stream says before there is an image (binderhub/builder.py).
BUILDING = ("waiting", "fetching", "building", "pushing", "unknown")


class Visit(BaseModel):
    """One user's visit. Seconds; those without another word count from the click, that is when the user came.

    ``at``: of the click, from the load's beginning. ``late``: how much later than planned that was: this computer's
    own slowness. ``member``: the host that served it, empty where none did. ``kind``: whether its image was
    there (``cached``) or had to be ``built``; empty where it never came that far. ``phases``: when each phase of the
    stream began. ``ready``: the server answers, by BinderHub's word; ``answered``: the first cell was run.
    ``cells``: how many were; ``slowest``: the slowest of them, itself. ``left``: the end of all, cleaning up included.
    ``stage`` and ``cause`` say where and why it ended before it was done, ``message`` what was said then.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    at: float
    path: str
    late: float = 0.0
    target: str = ""
    member: str = ""
    kind: Literal["", "cached", "built"] = ""
    phases: dict[str, float] = {}
    ready: float | None = None
    answered: float | None = None
    cells: int = 0
    slowest: float | None = None
    left: float = 0.0
    outcome: Outcome = "done"
    stage: Stage = ""
    cause: str = ""
    message: str = ""

    @property
    def launched(self) -> bool:
        """Whether its server was ready."""
        return self.ready is not None


class Ended(BaseModel):
    """Why a visit ended early."""

    model_config = ConfigDict(frozen=True)

    outcome: Outcome
    stage: Stage
    cause: str
    message: str = ""


def of_event(event: BuildEvent, stage: Stage, said: str) -> Ended:
    """The end by a ``failed`` event; ``said`` is what the stream said before, for one without a message."""
    message = event.message.strip() or said.strip().rpartition("\n")[2]
    if event.status in NOT_NOW:
        return Ended(outcome="refused", stage=stage, cause=f"HTTP {event.status}", message=message)
    if message.startswith(FULL):
        return Ended(outcome="refused", stage=stage, cause="quota", message=message)
    cause = f"HTTP {event.status}" if event.status else f"{stage} failed"
    return Ended(outcome="failed", stage=stage, cause=cause, message=message)


def of_error(error: StepError, stage: Stage, *, worked: bool) -> Ended:
    """The end by an error; ``worked``: a cell had been run in the server before."""
    if isinstance(error, AnswerError):
        cause = f"HTTP {error.status}"
        if error.status in NOT_NOW and stage in DOORS:
            return Ended(outcome="refused", stage=stage, cause=cause, message=error.reason)
    elif isinstance(error, DeadlineError):
        cause = f"no end within {error.seconds:.0f} s"
    else:
        cause = error.reason.partition("\n")[0][:100]
    lost = worked and stage != "stop"  # a server that does not stop was there to the end
    return Ended(outcome="lost" if lost else "failed", stage=stage, cause=cause, message=str(error))


def kind_of(phases: list[str]) -> Literal["", "cached", "built"]:
    """Whether a stream with these phases found its image or built it.

    >>> kind_of(["built", "launching"]), kind_of(["waiting", "building"]), kind_of(["failed"])
    ('cached', 'built', '')
    """
    if any(phase in BUILDING for phase in phases):
        return "built"
    return "cached" if "built" in phases else ""
