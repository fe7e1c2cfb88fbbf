"""The HTTP server: one loopback port, every service below its own path, the request log, and the faults."""

from __future__ import annotations

import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.testbed.hetzner.faults import Fault
from tests.testbed.openstack import cinder, glance, keystone, neutron, nova
from tests.testbed.openstack.api import Answer, ApiError, Call
from tests.testbed.openstack.state import State

SERVICES = {
    "identity": keystone.ROUTES,
    "compute": nova.ROUTES,
    "network": neutron.ROUTES,
    "image": glance.ROUTES,
    "volume": cinder.ROUTES,
}
WRITES = ("POST", "PUT", "DELETE", "PATCH")
# Version documents, and logging in.
OPEN = ("", "v2", "v3", "v2.0", "v2.1", "v3/auth/tokens")
# How Nova and Cinder name their refusals (nova/api/openstack/wsgi.py, Fault).
FAULTS = {
    400: "badRequest", 401: "unauthorized", 403: "forbidden", 404: "itemNotFound", 409: "conflictingRequest",
    413: "overLimit", 429: "overLimit", 503: "serviceUnavailable",
}  # fmt: skip


class Server(ThreadingHTTPServer):
    """Serves a :class:`State` until :meth:`stop`."""

    daemon_threads = True

    def __init__(self, state: State, port: int = 0, host: str = "127.0.0.1") -> None:
        self.state = state
        super().__init__((host, port), Handler)
        state.url = f"http://{host}:{self.server_address[1]}"

    @property
    def auth_url(self) -> str:
        return f"{self.state.url}/identity/v3"

    def start(self) -> None:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        self.state.faults.remove()
        self.shutdown()
        self.server_close()
        self.state.quiet()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no error here."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        del format, args

    def do_GET(self) -> None:
        self.serve()

    do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_GET

    def serve(self) -> None:
        state = self.server.state
        url = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        data = self.rfile.read(length) if length else b""
        with state.lock:
            fault = state.faults.take_request(self.command, url.path)
        if fault is not None and not fault.after and self.suffer(fault, url.path):
            return
        answer = self.answer(url.path, dict(parse_qsl(url.query)), data)
        if fault is not None and fault.after and self.suffer(fault, url.path):
            return
        self.send(answer, url.path)

    def suffer(self, fault: Fault, path: str) -> bool:
        """Whether the request ends with the fault."""
        if fault.kind == "delay":
            time.sleep(fault.seconds)
            return False
        if fault.kind == "call":
            assert fault.hook is not None
            fault.hook()
            return False
        if fault.kind == "hold":
            fault.freed.wait(fault.seconds or None)
        if fault.kind == "answer":
            headers = {"Retry-After": str(int(fault.seconds))} if fault.status == 429 else {}
            self.send(refusal(path, ApiError(fault.status, fault.message, headers=headers)), path)
            return True
        self.server.state.log.append((self.command, path, 0))
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)
        return True

    def answer(self, path: str, query: dict[str, str], data: bytes) -> Answer:
        try:
            return self.dispatch(path, query, data)
        except ApiError as error:
            return refusal(path, error)

    def dispatch(self, path: str, query: dict[str, str], data: bytes) -> Answer:
        state = self.server.state
        service, _, rest = path.strip("/").partition("/")
        if service not in SERVICES:
            raise ApiError(404, "there is no such service")
        first = next(iter(state.regions.values()))
        region, inner = first, f"/{rest}" if rest else ""
        if service != "identity":
            name, _, rest = rest.partition("/")
            if name not in state.regions:
                raise ApiError(404, "there is no such region")
            region, inner = state.regions[name], f"/{rest}" if rest else ""
        handler, args = SERVICES[service].match(self.command, inner.rstrip("/"))
        self.check(service, inner)
        body = json.loads(data) if data else None
        base = f"{state.url}{path}"
        with state.lock:
            return handler(Call(state, service, region, args, query, body, base, self.version()))

    def check(self, service: str, inner: str) -> None:
        """A token, and the rights for what is asked. Version documents and logging in are for everybody."""
        state = self.server.state
        if inner.strip("/") in OPEN:
            return
        login = state.tokens.get(self.headers.get("X-Auth-Token", ""))
        if login is None:
            raise ApiError(401, keystone.WRONG)
        if self.command in WRITES and "member" not in login.roles:
            raise ApiError(403, f"Policy doesn't allow {service}:{self.command.lower()} to be performed.")

    def version(self) -> tuple[int, int]:
        text = self.headers.get("OpenStack-API-Version", "") or ""
        if text.startswith("compute ") and text != "compute latest":
            major, _, minor = text.removeprefix("compute ").partition(".")
            return int(major), int(minor)
        return nova.NEWEST if text else (2, 1)

    def send(self, answer: Answer, path: str) -> None:
        data = b"" if answer.body is None else json.dumps(answer.body).encode()
        self.server.state.log.append((self.command, path, answer.status))
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if path.startswith("/compute/"):
            self.send_header("OpenStack-API-Version", "compute {}.{}".format(*self.version()))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def refusal(path: str, error: ApiError) -> Answer:
    """An error in the form of its service."""
    service = path.strip("/").partition("/")[0]
    if service == "identity":
        body: dict[str, Any] = {"error": {"code": error.code, "message": error.message, "title": "Unauthorized"}}
    elif service == "network":
        body = {"NeutronError": {"type": error.kind, "message": error.message, "detail": ""}}
    elif service == "image":
        body = {"code": f"{error.code}", "title": error.kind, "message": error.message}
    else:
        body = {FAULTS.get(error.code, "computeFault"): {"code": error.code, "message": error.message}}
    return Answer(error.code, body, error.headers)
