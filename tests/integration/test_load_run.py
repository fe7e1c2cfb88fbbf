"""Simulated users in threads of this process, against a BinderHub that is played: what they do, and the bounds."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from binder_node.load import numbers
from binder_node.load.arrivals import Arrival
from binder_node.load.run import Limits, Moment, Played, run
from binder_node.load.user import Patience, Target
from binder_node.load.visit import Visit
from tests.integration.binder_server import Handler, events, played
from tests.integration.load_fixtures import NAME, PATH, SERVER, TOKEN, PlayedBinder, binderhub

QUICK = Limits(grace=5)


@pytest.fixture
def hub() -> Iterator[PlayedBinder]:
    with binderhub() as found:
        yield found


def one(hub: PlayedBinder, arrival: Arrival | None = None, **more: object) -> Visit:
    """The visit of one user."""
    (visit,) = run([arrival or Arrival(0, PATH, 0.0)], [hub.target], QUICK, **more).visits  # type: ignore[arg-type]
    return visit


def outcomes(played: Played) -> dict[str, int]:
    return dict(Counter(visit.outcome for visit in played.visits))


# --- what a user does ----------------------------------------------------------------------------------------------


def test_a_visit_from_the_page_to_the_end(hub: PlayedBinder) -> None:
    hub.before = [0.2]
    visit = one(hub, Arrival(0.1, PATH, 0.5, cells=(0.0, 0.2, 0.4)))
    assert (visit.outcome, visit.kind, visit.cells, visit.member) == ("done", "cached", 3, f"{NAME}:{hub.server.port}")
    assert visit.at >= 0.1
    assert visit.late == pytest.approx(visit.at - 0.1, abs=0.002)
    assert visit.ready is not None
    assert visit.answered is not None
    assert 0.2 <= visit.ready < visit.answered < visit.left
    assert visit.left > visit.ready + 0.49
    # As a browser asks: the page, then its token, from the page's origin.
    build = hub.server.seen[1]
    assert [f"{asked.method} {asked.path}" for asked in hub.server.seen] == [
        f"GET /v2/{PATH}",
        f"GET /build/{PATH}?build_token={TOKEN}",
        f"POST {SERVER}api/kernels",
        f"GET {SERVER}api/kernels/k/channels",
        f"DELETE {SERVER}api/kernels/k",
        f"POST {SERVER}api/shutdown",
    ]
    assert build.headers["origin"] == hub.url


def test_who_closes_the_tab_leaves_the_server(hub: PlayedBinder) -> None:
    assert one(hub, Arrival(0, PATH, 0.0, leaving="closes")).outcome == "done"
    assert hub.asked(f"POST {SERVER}api/shutdown") == []


def test_a_built_image_is_told_apart(hub: PlayedBinder) -> None:
    hub.server.routes[f"GET /build/{PATH}"] = lambda to: to.stream(
        [events({"phase": "waiting"}, {"phase": "building"}, {"phase": "failed", "message": "pip: no such package"})]
    )
    visit = one(hub)
    assert (visit.outcome, visit.kind, visit.stage, visit.cause) == ("failed", "built", "build", "build failed")
    assert visit.message == "pip: no such package"
    assert visit.ready is None


@pytest.mark.parametrize(
    ("end", "outcome", "cause"),
    [
        ({"phase": "failed", "message": "Too many users on this BinderHub! Try again soon.\n"}, "refused", "quota"),
        ({"phase": "failed", "message": "Rate limit exceeded.", "status_code": 429}, "refused", "HTTP 429"),
        ({"phase": "failed", "message": "Failed to launch image x", "status_code": 500}, "failed", "HTTP 500"),
    ],
)
def test_refused_and_failed(hub: PlayedBinder, end: dict[str, object], outcome: str, cause: str) -> None:
    hub.end = end
    visit = one(hub)
    assert (visit.outcome, visit.stage, visit.cause) == (outcome, "launch", cause)


def test_a_door_that_is_closed_is_a_refusal_nobody_there_a_failure(hub: PlayedBinder) -> None:
    hub.server.routes[f"GET /v2/{PATH}"] = lambda to: to.reply(503, "no server is available", "text/plain")
    assert (one(hub).outcome, one(hub).stage) == ("refused", "page")
    nobody = Target("bids", "http://bids.example.org:1", {NAME: "127.0.0.1"})
    (visit,) = run([Arrival(0, PATH, 0)], [nobody], QUICK).visits
    assert (visit.outcome, visit.stage) == ("failed", "page")
    assert "refused" in visit.cause


def test_code_that_fails_is_a_failure_and_its_server_is_stopped(hub: PlayedBinder) -> None:
    hub.cell = ("error", {"traceback": ["Traceback", "NameError: no"]})
    visit = one(hub)
    assert (visit.outcome, visit.stage, visit.cause, visit.message) == (
        "failed",
        "cell",
        "the code failed",
        "NameError: no",
    )
    assert hub.asked(f"POST {SERVER}api/shutdown")


def test_a_server_that_goes_away_between_two_cells_is_lost(hub: PlayedBinder) -> None:
    hub.drop = True
    visit = one(hub, Arrival(0, PATH, 1.0, cells=(0.0, 0.3)))
    assert (visit.outcome, visit.stage, visit.cells) == ("lost", "cell", 1)
    assert "closed the connection" in visit.cause


def test_a_kernel_that_says_nothing_has_a_deadline(hub: PlayedBinder) -> None:
    hub.cell = ("stream", {"text": "working"})
    visit = one(hub, patience=Patience(cell=0.3))
    assert (visit.outcome, visit.stage, visit.cause) == ("failed", "kernel", "no end within 0 s")


# --- a federation --------------------------------------------------------------------------------------------------


def test_the_redirector_says_who_serves_and_nobody_goes_to_foreigners(hub: PlayedBinder) -> None:
    with played() as redirector:
        redirector.routes[f"GET /v2/{PATH}"] = hub.server.routes[f"GET /v2/{PATH}"]

        def sends(to: object, base: str) -> None:
            to.send_response(307)  # type: ignore[attr-defined]
            to.send_header("Location", f"{base}/build/{PATH}")  # type: ignore[attr-defined]
            to.send_header("Content-Length", "0")  # type: ignore[attr-defined]
            to.end_headers()  # type: ignore[attr-defined]

        redirector.routes[f"GET /build/{PATH}"] = lambda to: sends(to, hub.url)
        front = f"http://127.0.0.1:{redirector.port}"
        target = Target("front", front, {NAME: "127.0.0.1"}, redirector=True, members=frozenset({hub.url}))
        (visit,) = run([Arrival(0, PATH, 0)], [target], QUICK).visits
        assert (visit.outcome, visit.member) == ("done", f"{NAME}:{hub.server.port}")
        build = next(asked for asked in hub.server.seen if asked.path.startswith("/build"))
        assert (build.path, build.headers["origin"]) == (f"/build/{PATH}?build_token={TOKEN}", front)

        redirector.routes[f"GET /build/{PATH}"] = lambda to: sends(to, "http://127.0.0.1:9")
        (visit,) = run([Arrival(0, PATH, 0)], [target], QUICK).visits
        assert (visit.outcome, visit.stage, visit.cause) == ("failed", "redirector", "a foreign member")

        redirector.routes[f"GET /build/{PATH}"] = lambda to: to.reply(503, "nobody is healthy", "text/plain")
        (visit,) = run([Arrival(0, PATH, 0)], [target], QUICK).visits
        assert (visit.outcome, visit.stage, visit.message) == (
            "refused",
            "redirector",
            "HTTP 503 Service Unavailable: nobody is healthy",
        )


# --- bounds --------------------------------------------------------------------------------------------------------


def many(count: int, stay: float = 0.0, every: float = 0.0) -> list[Arrival]:
    return [Arrival(number * every, PATH, stay) for number in range(count)]


def test_hundreds_at_once(hub: PlayedBinder) -> None:
    before = set(threading.enumerate())  # other tests' servers may have some
    found = run(many(300, stay=6.0, every=0.01), [hub.target], Limits())
    assert outcomes(found) == {"done": 300}, numbers.causes(found.visits)
    assert numbers.peak(found.visits) > 250
    assert [visit.number for visit in found.visits] == list(range(300))
    assert len(set(threading.enumerate()) - before) < 50


def test_no_more_users_than_allowed(hub: PlayedBinder) -> None:
    found = run(many(5, stay=0.5), [hub.target], Limits(at_once=3))
    assert outcomes(found) == {"done": 3, "held": 2}
    assert len(run(many(5), [hub.target], Limits(users=2)).visits) == 2
    assert len(hub.asked("GET /v2/")) == 5


def test_the_end_sends_users_home(hub: PlayedBinder) -> None:
    began = time.monotonic()
    found = run(many(8, stay=60, every=0.2), [hub.target], Limits(seconds=1.0))
    assert (found.stopped, outcomes(found)) == ("time", {"done": 5})
    assert time.monotonic() - began < 4
    assert len(hub.asked(f"POST {SERVER}api/shutdown")) == 5


def test_launches_that_hang_are_cut_after_the_grace(hub: PlayedBinder) -> None:
    hub.before = [60.0]
    began = time.monotonic()
    found = run(many(3), [hub.target], Limits(seconds=0.5, grace=0.5))
    assert outcomes(found) == {"cut": 3}
    assert {visit.cause for visit in found.visits} == {"the load's end"}
    assert time.monotonic() - began < 5


def test_who_has_not_asked_for_a_server_at_the_end_asks_for_none(hub: PlayedBinder) -> None:
    page = hub.server.routes[f"GET /v2/{PATH}"]

    def slowly(to: Handler) -> None:
        time.sleep(1.0)
        page(to)

    hub.server.routes[f"GET /v2/{PATH}"] = slowly
    found = run(many(2), [hub.target], Limits(seconds=0.3, grace=5))
    assert outcomes(found) == {"cut": 2}
    assert hub.asked("GET /build") == []


def test_another_thread_ends_it(hub: PlayedBinder) -> None:
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    found = run(many(2, stay=60, every=0.1), [hub.target], QUICK, stop=stop)
    assert (found.stopped, outcomes(found)) == ("interrupted", {"done": 2})


def test_ctrl_c_ends_it_with_what_was_found(hub: PlayedBinder) -> None:
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    found = run(many(2, stay=60, every=0.1), [hub.target], QUICK)
    assert (found.stopped, outcomes(found)) == ("interrupted", {"done": 2})


def test_targets_take_turns(hub: PlayedBinder) -> None:
    with binderhub() as other:
        run(many(4), [hub.target, other.target], QUICK)
        assert [len(one.asked("GET /build/")) for one in (hub, other)] == [2, 2]


def test_moments_in_their_order(hub: PlayedBinder) -> None:
    moments: list[Moment] = []
    run(many(1), [hub.target], QUICK, heard=moments.append)
    assert [moment.what for moment in moments] == ["came", "page", "built", "ready", "cell", "left"]
    assert [moment.at for moment in moments] == sorted(moment.at for moment in moments)
    assert moments[-1].visit is not None


def test_a_bug_in_a_thread_is_seen(hub: PlayedBinder) -> None:
    def heard(moment: Moment) -> None:
        if moment.what == "cell":
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(many(2), [hub.target], QUICK, heard=heard)
