"""The API over HTTP: who may ask, how often, what goes wrong, and a journal of all that was asked."""

from __future__ import annotations

import json
import secrets
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from werkzeug import Request, Response
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, Rule

from tests.testbed.hetzner import (
    api,
    routes_firewalls,
    routes_ips,
    routes_market,
    routes_power,
    routes_servers,
    routes_small,
    routes_volumes,
    routes_zones,
)
from tests.testbed.hetzner.api import Answer, Call, Route
from tests.testbed.hetzner.errors import ApiError
from tests.testbed.hetzner.faults import Fault
from tests.testbed.hetzner.project import Project

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from tests.testbed.hetzner.contract import Contract

ROUTES: tuple[Route, ...] = tuple(
    route
    for module in (
        api,
        routes_firewalls,
        routes_ips,
        routes_market,
        routes_power,
        routes_servers,
        routes_small,
        routes_volumes,
        routes_zones,
    )
    for route in module.ROUTES
)
HOLD_SECONDS = 60


@dataclass
class Entry:
    """One request of the journal; ``status`` 0: it got no answer. ``fault``: the kind of the switch that hit it.

    ``route`` is the path as the OpenAPI document writes it, empty where no handler was reached.
    """

    number: int
    method: str
    path: str
    query: str
    at: float
    token: str = ""
    status: int = 0
    fault: str = ""
    route: str = ""


@dataclass
class Rate:
    """Hetzner's limit: a bucket of ``limit`` requests that fills by ``a_second`` each second."""

    limit: int = 3600
    a_second: float = 1.0
    left: float = 3600.0
    at: float = field(default_factory=time.monotonic)

    def take(self) -> bool:
        """Take one request from the bucket; False when there is none."""
        now = time.monotonic()
        self.left = min(self.limit, self.left + (now - self.at) * self.a_second)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True

    def headers(self, now: float) -> dict[str, str]:
        full = now + (self.limit - self.left) / max(self.a_second, 1e-9)
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(int(self.left)),
            "RateLimit-Reset": str(int(full)),
        }


@dataclass
class App:
    """A WSGI application. ``tokens``: what they may do, ``write`` or ``read``."""

    project: Project
    tokens: dict[str, str]
    admin: Callable[[Request], Response]
    contract: Contract | None = None
    rate: Rate = field(default_factory=Rate)
    journal: list[Entry] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        rules = []
        for number, route in enumerate(ROUTES):
            path = route.path.replace("{id}", "<int:id>").replace("{action_id}", "<int:action_id>")
            path = path.replace("{", "<").replace("}", ">")
            rules.append(Rule(f"/v1{path}", methods=[route.method], endpoint=number))
        self.map = Map(rules, strict_slashes=True, merge_slashes=False)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ)
        if request.path == "/admin" or request.path.startswith("/admin/"):
            with self.project.lock:
                response = self.admin(request)
            return response(environ, start_response)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        with self.project.lock:
            kind = self.tokens.get(token, "")
            path = request.path.removeprefix("/v1")
            query = request.query_string.decode()
            entry = Entry(len(self.journal) + 1, request.method, path, query, time.time(), kind)
            self.journal.append(entry)
            fault = self.project.faults.take_request(request.method, path)
        entry.fault = fault.kind if fault else ""
        response = self._respond(request, entry, fault)
        response.headers["X-Correlation-Id"] = secrets.token_hex(8)
        response.headers["X-Stand-In"] = "binder-node testbed: this is not Hetzner's API"
        entry.status = response.status_code
        return response(environ, start_response)

    def _respond(self, request: Request, entry: Entry, fault: Fault | None) -> Response:
        if fault is None:
            return self._true(request, entry)
        if fault.kind == "delay":
            time.sleep(fault.seconds)
            return self._true(request, entry)
        if fault.after:
            self._true(request, entry)
        if fault.kind == "answer":
            return self._false(fault)
        if fault.kind == "hold":
            fault.freed.wait(fault.seconds or HOLD_SECONDS)
        if fault.kind == "call" and fault.hook is not None:
            fault.hook()
        raise cut(request)

    def _false(self, fault: Fault) -> Response:
        """A fault's own answer; ``seconds`` of a 429 is how long its limit holds."""
        error = ApiError(fault.code, fault.message, status=fault.status)
        now = self.project.now().timestamp()
        headers = self.rate.headers(now)
        if error.status == 429:
            headers |= {"RateLimit-Remaining": "0", "RateLimit-Reset": str(int(now + fault.seconds + 0.999))}
        return as_json(error.status, error.body(), headers)

    def _true(self, request: Request, entry: Entry) -> Response:
        with self.project.lock:
            self.project.actions.settle()
            route: Route | None = None
            try:
                if not entry.token:
                    raise ApiError("unauthorized", "the token you provided is invalid")
                if not self.rate.take():
                    raise ApiError("rate_limit_exceeded", "limit of requests per hour reached")
                if entry.token == "read" and request.method != "GET":
                    raise ApiError("token_readonly", "the token is only allowed to perform GET requests")
                route, args = self._match(request)
                entry.route = route.path
                query = {key: tuple(values) for key, values in request.args.lists()}
                answer = route.handler(Call(self.project, args, query, body_of(request)))
            except ApiError as error:
                answer = Answer(error.status, error.body())
            if route is not None and self.contract is not None:
                found = self.contract.problems(route.method, route.path, answer.status, answer.body)
                self.violations += found
                if found:
                    broken = ApiError("server_error", "the stand-in broke the contract: " + "; ".join(found[:5]))
                    answer = Answer(broken.status, broken.body())
            limits = self.rate.headers(self.project.now().timestamp()) if entry.token else {}
            return as_json(answer.status, answer.body, limits)

    def _match(self, request: Request) -> tuple[Route, dict[str, Any]]:
        try:
            number, args = self.map.bind_to_environ(request.environ).match()
        except MethodNotAllowed:
            raise ApiError("method_not_allowed", "the method is not supported here") from None
        except NotFound:
            missing = f"this stand-in has no {request.method} {request.path}"
            raise ApiError("unsupported_error", missing, status=501) from None
        return ROUTES[number], dict(args)

    def log(self) -> list[dict[str, Any]]:
        return [asdict(entry) for entry in self.journal]


def body_of(request: Request) -> Any:
    """The request's JSON; None where it has no body. Raises ApiError ``json_error``."""
    if not (data := request.get_data()):
        return None
    try:
        return json.loads(data)
    except ValueError:
        raise ApiError("json_error", "invalid JSON") from None


def as_json(status: int, body: dict[str, Any] | None, headers: dict[str, str]) -> Response:
    text = "" if body is None else json.dumps(body)
    return Response(text, status, headers, mimetype=None if body is None else "application/json")


def cut(request: Request) -> ConnectionAbortedError:
    """End the connection without a byte of an answer; raise what this returns, and the server lets it be."""
    connection: socket.socket = request.environ["werkzeug.socket"]
    connection.shutdown(socket.SHUT_RDWR)
    return ConnectionAbortedError("a test asked for it")
