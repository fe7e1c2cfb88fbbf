"""BinderHub's event stream, decoded as it arrives."""

from __future__ import annotations

import json

import pytest

from binder_node.binder.stream import LONGEST_LINE, BuildEvent, StreamError, events

READY = {
    "phase": "ready",
    "message": "server running at http://hub.example.org/user/x/\n",
    "url": "http://hub.example.org/user/x/",
    "token": "hunter2",
    "image": "registry.example.org:5000/binder/x:1",
    "repo_url": "https://github.com/org/name",
}


def sse(*found: object) -> bytes:
    return "".join(f"data: {json.dumps(item)}\n\n" for item in found).encode()


def test_events_in_order_without_keepalives() -> None:
    stream = b":keepalive\n\n" + sse({"phase": "waiting", "message": "Waiting\n"}) + b":keepalive\n\n" + sse(READY)
    assert list(events([stream])) == [
        BuildEvent("waiting", "Waiting\n"),
        BuildEvent(
            "ready",
            "server running at http://hub.example.org/user/x/\n",
            url="http://hub.example.org/user/x/",
            token="hunter2",
            image="registry.example.org:5000/binder/x:1",
        ),
    ]


def test_a_token_is_not_shown() -> None:
    (event,) = events([sse(READY)])
    assert "hunter2" not in repr(event)


def test_bytes_may_be_cut_anywhere() -> None:
    stream = 'data: {"phase": "building", "message": "für \u2028 alle"}\r\n\r\n'.encode()
    assert list(events([stream[index : index + 1] for index in range(len(stream))])) == [
        BuildEvent("building", "für \u2028 alle")
    ]


def test_data_over_several_lines_is_one_event() -> None:
    assert list(events([b'event: x\nid: 7\ndata: {"phase":\ndata: "built"}\n\n'])) == [BuildEvent("built")]


def test_what_is_cut_off_at_the_end_is_no_event() -> None:
    assert list(events([sse({"phase": "built"}) + b'data: {"phase": "rea'])) == [BuildEvent("built")]


def test_a_status_code_of_an_early_error() -> None:
    (event,) = events([sse({"phase": "failed", "status_code": 429, "message": "Too many"})])
    assert (event.phase, event.status, event.last) == ("failed", 429, True)


def test_fields_of_other_types_are_as_if_absent() -> None:
    assert list(events([sse({"phase": 7, "message": None, "url": []})])) == [BuildEvent("")]


@pytest.mark.parametrize("data", [b"data: <html>\n\n", b"data: [1]\n\n"])
def test_what_is_no_event_is_refused(data: bytes) -> None:
    with pytest.raises(StreamError, match="no event"):
        list(events([data]))


def test_a_line_without_end_is_refused() -> None:
    with pytest.raises(StreamError, match="a line of more than"):
        list(events([b"x" * (LONGEST_LINE // 2)] * 3))
