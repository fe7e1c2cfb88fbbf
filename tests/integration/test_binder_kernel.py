"""Code run in a kernel, against a server that plays Jupyter's protocol message by message."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from binder_node.binder.client import Binder
from binder_node.binder.kernel import run_code, shutdown
from binder_node.errors import DeadlineError, StepError
from tests.integration.binder_server import Message, Played, played

TOKEN = "t0ken"
BASE = "/user/x/"
CHANNELS = f"GET {BASE}api/kernels/k1/channels"


@pytest.fixture
def server() -> Iterator[Played]:
    with played() as found:
        found.routes[f"POST {BASE}api/kernels"] = lambda to: to.reply(201, {"id": "k1", "name": "python3"})
        found.routes[f"DELETE {BASE}api/kernels/k1"] = lambda to: to.reply(204, "")
        yield found


@pytest.fixture
def binder(server: Played) -> Iterator[Binder]:
    with Binder(f"http://bids.example.org:{server.port}", connect_to="127.0.0.1") as found:
        yield found


def url(server: Played) -> str:
    return f"http://hub.example.org:{server.port}{BASE}"


def message(kind: str, content: Message, parent: str) -> Message:
    return {"header": {"msg_type": kind}, "msg_type": kind, "parent_header": {"msg_id": parent}, "content": content}


def plays(server: Played, *answers: tuple[str, Message], drop: bool = False) -> list[Message]:
    """Answer an execute request with ``answers``; returns the list that the requests are put into."""
    asked: list[Message] = []

    def answered(request: Message) -> list[Message]:
        asked.append(request)
        return [message(kind, content, request["header"]["msg_id"]) for kind, content in answers]

    server.routes[CHANNELS] = lambda to: to.websocket(answered, drop=drop)
    return asked


IDLE = ("status", {"execution_state": "idle"})
OK = ("execute_reply", {"status": "ok"})


def test_output_in_order_and_the_kernel_gone(server: Played, binder: Binder) -> None:
    asked = plays(
        server,
        ("status", {"execution_state": "busy"}),
        ("stream", {"name": "stdout", "text": "4"}),
        ("stream", {"name": "stderr", "text": "2\n"}),
        ("execute_result", {"data": {"text/plain": "'done'"}}),
        OK,
        IDLE,
    )
    ran = run_code(binder, url(server), TOKEN, "print(42); 'done'")
    assert (ran.output, ran.ok) == ("42\n'done'\n", True)
    assert asked[0]["content"]["code"] == "print(42); 'done'"
    assert asked[0]["channel"] == "shell"
    assert [f"{one.method} {one.path}" for one in server.seen] == [
        f"POST {BASE}api/kernels",
        CHANNELS,
        f"DELETE {BASE}api/kernels/k1",
    ]
    # In a header each time, and in no path: those stand in logs.
    assert {one.headers["authorization"] for one in server.seen} == {f"token {TOKEN}"}
    assert {one.headers["host"] for one in server.seen} == {f"hub.example.org:{server.port}"}


def test_output_that_comes_after_the_reply_is_not_lost(server: Played, binder: Binder) -> None:
    plays(server, OK, ("stream", {"name": "stdout", "text": "late"}), IDLE)
    assert run_code(binder, url(server), TOKEN, "x").output == "late"


def test_a_traceback_without_colours(server: Played, binder: Binder) -> None:
    error = {"ename": "ValueError", "evalue": "no", "traceback": ["\x1b[0;31mTraceback\x1b[0m", "ValueError: no"]}
    plays(server, ("error", error), ("execute_reply", {"status": "error"}), IDLE)
    ran = run_code(binder, url(server), TOKEN, "x")
    assert (ran.output, ran.ok) == ("Traceback\nValueError: no\n", False)


def test_messages_of_others_are_passed_over(server: Played, binder: Binder) -> None:
    def answered(request: Message) -> list[Message]:
        own = request["header"]["msg_id"]
        return [
            message("stream", {"text": "theirs"}, "another"),
            message(*IDLE, "another"),
            message("stream", {"text": "mine"}, own),
            message(*IDLE, own),
            message(*OK, own),
        ]

    server.routes[CHANNELS] = lambda to: to.websocket(answered)
    assert run_code(binder, url(server), TOKEN, "x").output == "mine"


def test_code_that_does_not_end(server: Played, binder: Binder) -> None:
    plays(server, ("stream", {"text": "working"}))
    began = time.monotonic()
    with pytest.raises(DeadlineError, match="the code's end"):
        run_code(binder, url(server), TOKEN, "x", seconds=0.5)
    assert time.monotonic() - began < 10
    assert server.seen[-1].method == "DELETE"


def test_a_connection_that_is_lost(server: Played, binder: Binder) -> None:
    plays(server, ("stream", {"text": "working"}), drop=True)
    with pytest.raises(StepError, match="closed the connection"):
        run_code(binder, url(server), TOKEN, "x")


def test_a_kernel_that_died(server: Played, binder: Binder) -> None:
    plays(server, ("status", {"execution_state": "dead"}))
    with pytest.raises(StepError, match="the kernel died"):
        run_code(binder, url(server), TOKEN, "x")


def test_a_wrong_token_is_told(server: Played, binder: Binder) -> None:
    server.routes[f"POST {BASE}api/kernels"] = lambda to: to.reply(403, {"message": "Forbidden"})
    with pytest.raises(StepError, match="start a kernel: HTTP 403") as caught:
        run_code(binder, url(server), TOKEN, "x")
    assert TOKEN not in str(caught.value)


def test_channels_that_are_refused(server: Played, binder: Binder) -> None:
    server.routes[CHANNELS] = lambda to: to.reply(404, {"message": "gone"})
    with pytest.raises(StepError, match="reach the kernel"):
        run_code(binder, url(server), TOKEN, "x")


def shuts(server: Played, status: int) -> None:
    server.routes[f"POST {BASE}api/shutdown"] = lambda to: to.reply(status, {})


@pytest.mark.parametrize("status", [200, 404, 503])
def test_a_server_that_is_gone_is_what_is_wanted(server: Played, binder: Binder, status: int) -> None:
    shuts(server, status)
    shutdown(binder, url(server), TOKEN)
    assert server.seen[-1].path == f"{BASE}api/shutdown"


def test_a_server_that_will_not_stop(server: Played, binder: Binder) -> None:
    shuts(server, 500)
    with pytest.raises(StepError, match="stop the server: HTTP 500"):
        shutdown(binder, url(server), TOKEN)
