"""A BinderHub that is played for many users: pages, streams, servers with kernels that answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from binder_node.load.user import Target
from tests.integration.binder_server import Handler, Message, Played, events, played

PATH = "gh/org/name/HEAD"
NAME = "bids.example.org"
SERVER = "/user/x/"
TOKEN = "build.token.x"


@dataclass
class PlayedBinder:
    """``before``: what the stream says before the end; ``end``: its last events; ``gone``: servers answer 404."""

    server: Played
    before: list[str | float] = field(default_factory=list)
    end: Message | None = None
    gone: threading.Event = field(default_factory=threading.Event)
    cell: tuple[str, Message] | None = None
    drop: bool = False

    def __post_init__(self) -> None:
        routes = self.server.routes
        config = f'<script>\nwindow.pageConfig = {{"buildToken": "{TOKEN}"}};\n</script>'
        routes[f"GET /v2/{PATH}"] = lambda to: to.reply(200, config, "text/html")
        routes[f"GET /build/{PATH}"] = self._build
        routes[f"POST {SERVER}api/kernels"] = lambda to: self._serve(to, 201, {"id": "k"})
        routes[f"DELETE {SERVER}api/kernels/k"] = lambda to: self._serve(to, 204, "")
        routes[f"POST {SERVER}api/shutdown"] = lambda to: self._serve(to, 200, {})
        routes[f"GET {SERVER}api/kernels/k/channels"] = lambda to: to.websocket(self._answers, drop=self.drop)

    @property
    def url(self) -> str:
        return f"http://{NAME}:{self.server.port}"

    @property
    def target(self) -> Target:
        return Target("bids", self.url, {NAME: "127.0.0.1"})

    def asked(self, start: str) -> list[str]:
        """Requests that begin so, like ``POST /user``."""
        return [line for one in self.server.seen if (line := f"{one.method} {one.path}").startswith(start)]

    def _build(self, to: Handler) -> None:
        ready = {"phase": "ready", "url": f"http://hub.example.org:{self.server.port}{SERVER}", "token": "t"}
        to.stream([events({"phase": "built", "message": "Found"}), *self.before, events(self.end or ready)])

    def _serve(self, to: Handler, status: int, body: Any) -> None:
        to.reply(404, {}) if self.gone.is_set() else to.reply(status, body)

    def _answers(self, request: Message) -> list[Message]:
        kind, content = self.cell or ("execute_reply", {"status": "ok"})
        replies = [(kind, content), ("status", {"execution_state": "idle"})]
        if kind == "error":
            replies.insert(1, ("execute_reply", {"status": "error"}))
        own = request["header"]["msg_id"]
        return [
            {"header": {"msg_type": name}, "parent_header": {"msg_id": own}, "content": more} for name, more in replies
        ]


@contextmanager
def binderhub() -> Iterator[PlayedBinder]:
    """A played BinderHub at 127.0.0.1, known as bids.example.org."""
    with played() as server:
        yield PlayedBinder(server)
