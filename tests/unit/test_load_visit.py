"""What ended a visit: refused with a clear word, failed, or lost."""

from __future__ import annotations

import httpx
import pytest

from binder_node.binder.client import AnswerError
from binder_node.binder.stream import BuildEvent
from binder_node.errors import DeadlineError, StepError
from binder_node.load.visit import Stage, kind_of, of_error, of_event


@pytest.mark.parametrize(
    ("event", "outcome", "cause"),
    [
        (BuildEvent("failed", "Rate limit exceeded. Try again in 3600 seconds.\n", status=429), "refused", "HTTP 429"),
        (BuildEvent("failed", "Too many users on this BinderHub! Try again soon.\n"), "refused", "quota"),
        (BuildEvent("failed", "Too many users running https://github.com/o/n! Try again soon."), "refused", "quota"),
        (BuildEvent("failed", "Could not resolve ref for gh:o/n/HEAD."), "failed", "build failed"),
        (BuildEvent("failed", "Invalid build token", status=403), "failed", "HTTP 403"),
        (BuildEvent("failed", "Internal Server Error", status=500), "failed", "HTTP 500"),
    ],
)
def test_a_failed_event(event: BuildEvent, outcome: str, cause: str) -> None:
    found = of_event(event, "build", "")
    assert (found.outcome, found.cause, found.message) == (outcome, cause, event.message.strip())


def test_a_failed_event_without_a_word_is_told_by_the_logs_last_line() -> None:
    found = of_event(BuildEvent("failed"), "build", "Step 1\nERROR: no such package\n")
    assert found.message == "ERROR: no such package"


def answer(status: int) -> AnswerError:
    return AnswerError("bids", "start a kernel", httpx.Response(status, text="no"))


GONE = StepError("bids", "run the code", "the server closed the connection")


@pytest.mark.parametrize(
    ("error", "stage", "worked", "outcome", "cause"),
    [
        (answer(503), "page", False, "refused", "HTTP 503"),
        (answer(429), "build", False, "refused", "HTTP 429"),
        (answer(503), "kernel", False, "failed", "HTTP 503"),  # it was said to be ready
        (answer(503), "cell", True, "lost", "HTTP 503"),
        (answer(500), "page", False, "failed", "HTTP 500"),
        (DeadlineError("bids", "the end of it", 60.0), "build", False, "failed", "no end within 60 s"),
        (GONE, "kernel", False, "failed", "the server closed the connection"),
        (GONE, "cell", True, "lost", "the server closed the connection"),
        (answer(500), "stop", True, "failed", "HTTP 500"),  # nobody lost anything
    ],
)
def test_an_error(error: StepError, stage: Stage, worked: bool, outcome: str, cause: str) -> None:
    found = of_error(error, stage, worked=worked)
    assert (found.outcome, found.stage, found.cause) == (outcome, stage, cause)


def test_cached_or_built() -> None:
    assert kind_of(["built", "launching", "ready"]) == "cached"
    assert kind_of(["waiting", "fetching", "building", "built", "ready"]) == "built"
    assert kind_of(["failed"]) == kind_of([]) == ""
