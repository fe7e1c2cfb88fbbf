"""The stand-in as one object: started and stopped by a test or by ``python -m tests.testbed.hetzner``."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from ipaddress import IPv4Network
from types import TracebackType
from typing import Any, Self

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from tests.testbed.hetzner import admin
from tests.testbed.hetzner.app import App
from tests.testbed.hetzner.catalogue import Catalogue
from tests.testbed.hetzner.contract import Contract
from tests.testbed.hetzner.faults import Fault, Faults
from tests.testbed.hetzner.machines import Machines, NoMachines
from tests.testbed.hetzner.project import Project

WRITE_TOKEN = "w" * 64  # as long as Hetzner's are
READ_TOKEN = "r" * 64
NETWORK = IPv4Network("203.0.113.0/24")  # for documentation (RFC 5737): servers without machines
TICK_SECONDS = 0.05


class Handler(WSGIRequestHandler):
    """Quiet, not in the name of any product, and with the API's own time in its ``Date``."""

    server: BaseWSGIServer

    def date_time_string(self, timestamp: float | None = None) -> str:
        del timestamp
        app = self.server.app
        assert isinstance(app, App)
        return format_datetime(app.project.now(), usegmt=True)

    def log(self, type: str, message: str, *args: Any) -> None:
        del type, message, args

    def version_string(self) -> str:
        return "binder-node-testbed"


class HetznerApi:
    """A project of its own behind a port on loopback. ``with HetznerApi() as cloud: cloud.endpoint, cloud.token``.

    ``pace`` 0: actions take no time. ``contract``: judge every answer by it, and answer 500 where it is broken.
    """

    def __init__(
        self,
        *,
        network: IPv4Network = NETWORK,
        machines: Machines | None = None,
        pace: float = 1.0,
        contract: Contract | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.token, self.read_token = WRITE_TOKEN, READ_TOKEN
        catalogue = Catalogue.load(datetime.now(UTC))
        self.project = Project(catalogue, network, machines or NoMachines(), pace)
        tokens = {self.token: "write", self.read_token: "read"}
        self.app = App(self.project, tokens, lambda request: admin.handle(self.app, request), contract)
        self._address = (host, port)
        self._server: BaseWSGIServer | None = None
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    @property
    def port(self) -> int:
        assert self._server is not None, "not started"
        return self._server.server_port

    @property
    def endpoint(self) -> str:
        return f"http://{self._address[0]}:{self.port}/v1"

    @property
    def admin(self) -> str:
        return f"http://{self._address[0]}:{self.port}/admin"

    @property
    def faults(self) -> Faults:
        return self.project.faults

    @property
    def catalogue(self) -> Catalogue:
        return self.project.catalogue

    def start(self) -> Self:
        self._server = make_server(*self._address, self.app, threaded=True, request_handler=Handler)
        for target in (lambda server=self._server: server.serve_forever(TICK_SECONDS), self._tick):
            thread = threading.Thread(target=target, name="hetzner-api", daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def stop(self) -> None:
        """Close the port, let go whoever is held, and take all machines away."""
        if self._server is None:
            return
        self._stopping.set()
        self.faults.remove()
        self._server.shutdown()
        self._server.server_close()
        for thread in self._threads:
            thread.join(10)
        self.project.actions.pool.shutdown(wait=True, cancel_futures=True)
        self.project.machines.close(tuple(self.project.volumes))
        self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def fault(self, kind: Any, **how: Any) -> Fault:
        """Switch a fault on; see :class:`tests.testbed.hetzner.faults.Fault`."""
        with self.project.lock:
            return self.faults.add(Fault(kind, **how))

    def die_at(self, number: int, hook: Callable[[], None] | None = None, *, after: bool = False) -> Fault:
        """The ``number``-th request from now (1 is the next) gets no answer; ``hook`` is called then.

        ``after``: it has had its effect.
        """
        return self.fault("call", hook=hook, skip=number - 1, after=after)

    def calls(self, method: str = "", path: str = "") -> list[tuple[str, str, int]]:
        """The journal as (method, path, status), of one method or path where named."""
        with self.project.lock:
            rows = [(row.method, row.path, row.status) for row in self.app.journal]
        return [row for row in rows if method in ("", row[0]) and path in ("", row[1])]

    def settle(self, seconds: float = 30) -> None:
        """Wait until no action runs that can end. Raises TimeoutError."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with self.project.lock:
                self.project.actions.settle()
                if not any(row.running and not row.held for row in self.project.actions.all.values()):
                    return
            time.sleep(TICK_SECONDS)
        raise TimeoutError(f"actions still run after {seconds:.0f} s")

    def _tick(self) -> None:
        """Things happen though nobody asks."""
        while not self._stopping.wait(TICK_SECONDS):
            with self.project.lock:
                self.project.actions.settle()
