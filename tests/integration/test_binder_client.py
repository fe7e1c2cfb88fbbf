"""The client of a BinderHub against a server that plays its exact answers, good and bad."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from binder_node.binder.client import Binder, BuildEvent
from binder_node.errors import DeadlineError, StepError
from tests.integration.binder_server import Played, events, played
from tests.integration.certificates import certificate

NAME = "bids.example.org"
PATH = "gh/org/name/HEAD"
BUILD = f"GET /build/{PATH}"
READY = {"phase": "ready", "message": "server running", "url": "http://hub.example.org/user/x/", "token": "t0"}


@pytest.fixture
def server() -> Iterator[Played]:
    with played() as found:
        yield found


@pytest.fixture
def binder(server: Played) -> Iterator[Binder]:
    with Binder(f"http://{NAME}:{server.port}", connect_to="127.0.0.1") as found:
        yield found


def test_the_address_is_asked_under_the_public_name(server: Played, binder: Binder) -> None:
    versions = {"binderhub": "1", "builder_info": {"build_image": "r2d:1"}}
    server.routes["GET /versions"] = lambda to: to.reply(200, versions)
    assert binder.versions() == versions
    assert server.seen[0].headers["host"] == f"{NAME}:{server.port}"


def test_unhealthy_is_an_answer(server: Played, binder: Binder) -> None:
    health = {"ok": False, "checks": [{"service": "Docker registry", "ok": False}]}
    server.routes["GET /health"] = lambda to: to.reply(503, health)
    assert binder.health() == health


def test_an_answer_of_something_else_is_told(binder: Binder) -> None:
    with pytest.raises(StepError, match=r"/versions: HTTP 404 Not Found: 404 page not found"):
        binder.versions()


def test_html_in_place_of_json_is_told(server: Played, binder: Binder) -> None:
    server.routes["GET /health"] = lambda to: to.reply(200, "<html>hello</html>", "text/html")
    with pytest.raises(StepError, match="<html>hello</html>"):
        binder.health()


def test_nobody_there() -> None:
    with Binder(f"http://{NAME}:1", connect_to="127.0.0.1") as binder, pytest.raises(StepError, match=r"127\.0\.0\.1"):
        binder.health()


def test_a_build_as_binderhub_streams_it(server: Played, binder: Binder) -> None:
    server.routes[BUILD] = lambda to: to.stream(
        [
            events({"phase": "waiting", "message": "Waiting for build to start...\n"}),
            ":keepalive\n\n",
            'data: {"phase": "buil',
            0.05,
            'ding", "message": "Step 1\\n"}\n\n',
            events({"phase": "built", "message": "Built image, launching...\n", "imageName": "r:5000/x:1"}),
            events(READY),
            30.0,
        ]
    )
    began = time.monotonic()
    assert list(binder.build(PATH)) == [
        BuildEvent("waiting", "Waiting for build to start...\n"),
        BuildEvent("building", "Step 1\n"),
        BuildEvent("built", "Built image, launching...\n", image="r:5000/x:1"),
        BuildEvent("ready", "server running", url="http://hub.example.org/user/x/", token="t0"),
    ]
    # BinderHub keeps the stream open after `ready`: the client is the one to close it.
    assert time.monotonic() - began < 5
    # BinderHub splits this header at `;` and refuses everything else.
    assert server.seen[0].headers["accept"] == "text/event-stream"


def test_a_failure_comes_as_an_event_with_http_200(server: Played, binder: Binder) -> None:
    message = "Could not resolve ref for gh:org/name/HEAD. Double check your URL."
    server.routes[BUILD] = lambda to: to.stream([events({"phase": "failed", "message": message})])
    assert list(binder.build(PATH)) == [BuildEvent("failed", message)]


@pytest.mark.parametrize("end", [True, False])
def test_a_stream_that_breaks_off(server: Played, binder: Binder, end: bool) -> None:
    server.routes[BUILD] = lambda to: to.stream([events({"phase": "building", "message": "x"})], end=end)
    found = binder.build(PATH)
    assert next(found).phase == "building"
    with pytest.raises(StepError, match=r"launch gh/org/name/HEAD"):
        next(found)


def test_silence_has_a_deadline(server: Played, binder: Binder) -> None:
    server.routes[BUILD] = lambda to: to.stream([events({"phase": "waiting"}), 30.0])
    began = time.monotonic()
    with pytest.raises(DeadlineError, match="launch gh/org/name/HEAD"):
        list(binder.build(PATH, silence=0.3))
    assert time.monotonic() - began < 3


def test_keepalives_alone_do_not_go_on_for_ever(server: Played, binder: Binder) -> None:
    server.routes[BUILD] = lambda to: to.stream([":keepalive\n\n", 0.05] * 200)
    began = time.monotonic()
    with pytest.raises(DeadlineError, match="the end of it"):
        list(binder.build(PATH, silence=5, seconds=0.5))
    assert time.monotonic() - began < 3


def test_no_event_stream(server: Played, binder: Binder) -> None:
    server.routes[BUILD] = lambda to: to.reply(502, "Bad Gateway", "text/plain")
    with pytest.raises(StepError, match=r"HTTP 502 Bad Gateway"):
        list(binder.build(PATH))


def test_an_event_that_is_no_json(server: Played, binder: Binder) -> None:
    server.routes[BUILD] = lambda to: to.stream(["data: <html>\n\n"])
    with pytest.raises(StepError, match="no event: <html>"):
        list(binder.build(PATH))


def test_a_caller_that_stops_listening_hangs_up(server: Played, binder: Binder) -> None:
    many: list[str | float] = [events({"phase": "building"}), 0.02]
    server.routes[BUILD] = lambda to: to.stream(many * 500)
    found = binder.build(PATH)
    next(found)
    found.close()  # type: ignore[attr-defined]
    assert server.hung_up.wait(5)


# --- TLS ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "good"), [(NAME, True), ("other.example.org", False)])
def test_the_certificate_is_checked_against_the_name_not_the_address(tmp_path: Path, name: str, good: bool) -> None:
    file = certificate(tmp_path, name)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(file)
    with (
        played(serving) as server,
        Binder(
            f"https://{NAME}:{server.port}", connect_to="127.0.0.1", trust=ssl.create_default_context(cafile=str(file))
        ) as binder,
    ):
        server.routes["GET /health"] = lambda to: to.reply(200, {"ok": True, "checks": []})
        if good:
            assert binder.health()["ok"] is True
        else:
            with pytest.raises(StepError, match="certificate"):
                binder.health()
