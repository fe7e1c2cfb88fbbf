"""A launch followed from its request to a server that is ready: phases, times, log."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from binder_node.binder.client import BUILD_SECONDS, Binder
from binder_node.binder.stream import BuildEvent
from binder_node.events import Event, Reporter, silent

STAGE = "launch"


@dataclass(slots=True)
class Launched:
    """``phases`` are the build stream's in order, each once; ``seconds`` when each began, counted from the request.

    ``url``, ``token`` and ``image`` (its full name) are the ready server's; ``log`` is all that the stream said;
    ``message`` what a failed launch said last. ``output`` is what code printed, with its traceback when it failed;
    None when none was run.
    """

    repo: str
    phases: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    url: str = ""
    token: str = field(default="", repr=False)
    image: str = ""
    message: str = ""
    log: str = ""
    output: str | None = None
    failed: bool = False
    began: float = field(default_factory=time.monotonic)

    def take(self, event: BuildEvent, report: Reporter = silent) -> None:
        """One event of the stream."""
        phase = event.phase
        if phase and (not self.phases or self.phases[-1] != phase):
            self.phases.append(phase)
            self.seconds[phase] = self.since()
            report(Event("progress", STAGE, phase, {"phase": phase}))
        for line in event.message.splitlines():
            report(Event("log", STAGE, line, {"phase": phase, "log": line}))
        self.log += event.message
        self.image = event.image or self.image
        if phase == "ready":
            self.url, self.token = event.url, event.token
        if phase == "failed":
            self.failed, self.message = True, event.message or self.message

    def since(self) -> float:
        """Seconds since the request."""
        return round(time.monotonic() - self.began, 2)


def follow(
    binder: Binder, path: str, result: Launched, report: Reporter = silent, *, seconds: float = BUILD_SECONDS
) -> None:
    """Launch ``path`` (:func:`~binder_node.binder.repo.parse_repo`) and wait for its end; ``result`` is filled on the
    way, and tells what there is to take away when the wait is broken off.

    Raises:
        StepError, DeadlineError: BinderHub did not answer as it should, or not within ``seconds``.
    """
    for event in binder.build(path, seconds=seconds):
        result.take(event, report)
