"""A played BinderHub and Jupyter server: real HTTP and websockets, exact streams, every way of failing."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

Message = dict[str, Any]
Route = Callable[["Handler"], None]


@dataclass
class Asked:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: str


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: PlayedServer

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append(Asked(self.command, self.path, headers, body))
        self.close_connection = True
        route = self.server.routes.get(f"{self.command} {self.path.partition('?')[0]}")
        if route is None:
            self.reply(404, "404 page not found\n", "text/plain")
        else:
            route(self)

    do_GET = do_POST = do_DELETE = _answer

    def reply(self, status: int, body: Any, kind: str = "application/json") -> None:
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Connection", "close")  # as it is: a client that keeps it would sometimes write too late
        self.end_headers()
        self.wfile.write(data)

    def stream(self, parts: list[str | float], end: bool = True) -> None:
        """An event stream: texts as they are, numbers are pauses in seconds; not ``end``: the connection just drops."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        for part in parts:
            if isinstance(part, int | float):
                self.server.stopped.wait(part)
                continue
            data = part.encode()
            try:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                self.wfile.flush()
            except OSError:
                self.server.hung_up.set()
                return
        if end:
            self.wfile.write(b"0\r\n\r\n")

    def websocket(self, answers: Callable[[Message], list[Message]], drop: bool = False) -> None:
        """Speak websocket on this connection; each message that comes is answered with ``answers``."""
        protocol = ServerProtocol()
        lines = [f"{name}: {value}" for name, value in self.headers.items()]
        protocol.receive_data("\r\n".join([f"GET {self.path} HTTP/1.1", *lines, "", ""]).encode())
        (request,) = protocol.events_received()
        assert isinstance(request, Request)
        protocol.send_response(protocol.accept(request))
        self._flush(protocol)
        while protocol.state is State.OPEN:
            data = self.connection.recv(65536)
            if not data:
                return
            protocol.receive_data(data)
            for event in protocol.events_received():
                if not isinstance(event, Frame) or event.opcode is not Opcode.TEXT:
                    continue
                for answer in answers(json.loads(bytes(event.data))):
                    protocol.send_text(json.dumps(answer).encode())
                self._flush(protocol)
                if drop:
                    return
            self._flush(protocol)

    def _flush(self, protocol: ServerProtocol) -> None:
        for data in protocol.data_to_send():
            if data:
                self.wfile.write(data)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


@dataclass
class Played:
    """The server's ``routes`` (``GET /path`` to what answers) and what came, in order."""

    routes: dict[str, Route]
    seen: list[Asked]
    port: int
    hung_up: threading.Event


class PlayedServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024  # of hundreds at once none is turned away by this computer's own kernel

    def __init__(self, context: ssl.SSLContext | None, address: tuple[str, int]) -> None:
        super().__init__(address, Handler)
        self.routes: dict[str, Route] = {}
        self.seen: list[Asked] = []
        self.stopped, self.hung_up = threading.Event(), threading.Event()
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that refuses the certificate or hangs up is what some tests are about."""


@contextmanager
def played(context: ssl.SSLContext | None = None, address: tuple[str, int] = ("127.0.0.1", 0)) -> Iterator[Played]:
    """A server on a free port of loopback, gone after the block."""
    server = PlayedServer(context, address)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield Played(server.routes, server.seen, server.server_address[1], server.hung_up)
    finally:
        server.stopped.set()
        server.shutdown()
        thread.join(5)
        server.server_close()


def events(*found: Message) -> str:
    """Events as BinderHub writes them."""
    return "".join(f"data: {json.dumps(item)}\n\n" for item in found)
