"""Members with BinderHub's contract for the redirector, and the real redirector where there is a checkout of it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from hashlib import sha256
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
from filelock import FileLock

from tests.testbed.images import recipes

Json = dict[str, Any]
VERSIONS: Json = {
    "builder_info": {"build_image": "quay.io/jupyterhub/repo2docker:2026.4.0"},
    "binderhub": "1.0.0-0.dev.git.3983.h383374de",
    "builder": "KubernetesBuildExecutor",
}
# Names a checkout of jupyterhub/mybinder.org-deploy, or the folder of its redirector.
CHECKOUT = "BINDER_NODE_REDIRECTOR"
# The redirector's main(), with the file and the address that its image has fixed.
LAUNCHER = """
import functools, sys, tornado.web
sys.path.insert(0, sys.argv.pop(1))
import app
app.CONFIG = app.get_config(sys.argv.pop(1))
tornado.web.Application.listen = functools.partialmethod(tornado.web.Application.listen, address="127.0.0.1")
app.main()
"""


class _Handler(BaseHTTPRequestHandler):
    # HTTP/1.0: a connection for each request, so that a stopped member is gone for those who know it, too.

    def do_GET(self) -> None:
        member: PlayedMember = self.server.member  # type: ignore[attr-defined]
        path = self.path.partition("?")[0]
        member.asked.append(path)
        time.sleep(member.delay)
        if path == "/health" and member.series:
            self.reply(200, member.series.pop(0).encode())
        elif path in member.instead:
            status, text = member.instead[path]
            self.reply(status, text.encode())
        elif path == "/versions":
            self.reply(200, json.dumps(member.versions).encode())
        elif path == "/health":
            document = member.health()
            self.reply(200 if document["ok"] else 503, json.dumps(document).encode())
        else:
            self.reply(404, b"404 page not found\n")

    def reply(self, status: int, data: bytes) -> None:
        with suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    member: PlayedMember


class PlayedMember:
    """A member at an address of its own. What its tests change: ``versions``, ``quota``, ``users``, ``builds``,
    ``hub``, ``registry`` (do they answer), ``delay`` of each answer, ``instead``: path to (status, text), ``series``:
    what /health says one request after the other.

    Like BinderHub, it answers 503 where hub or registry do not answer, and not where the quota is passed; pods are
    counted once in ``cache`` seconds.
    """

    def __init__(self, name: str, address: str, *, quota: int | None = 100, weight: float = 50) -> None:
        self.name, self.address, self.weight, self.quota = name, address, weight, quota
        self.versions = dict(VERSIONS)
        self.users = self.builds = 0
        self.hub = self.registry = True
        self.delay = self.cache = 0.0
        self.instead: dict[str, tuple[int, str]] = {}
        self.series: list[str] = []
        self.asked: list[str] = []
        self._counted: tuple[float, int, int] | None = None
        self._server: _Server | None = None
        with socket.socket() as free:
            free.bind((address, 0))
            self.port = free.getsockname()[1]
        self.url = f"http://{address}:{self.port}"

    @property
    def running(self) -> bool:
        """Whether it answers at all."""
        return self._server is not None

    def start(self) -> None:
        """Answer from now on."""
        self._server = _Server((self.address, self.port), _Handler)
        self._server.member = self
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Refuse connections from now on."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def health(self) -> Json:
        """BinderHub's document."""
        now = time.monotonic()
        if self._counted is None or now > self._counted[0] + self.cache:
            self._counted = now, self.users, self.builds
        _, users, builds = self._counted
        total, quota = users + builds, self.quota
        pods = {"total_pods": total, "build_pods": builds, "user_pods": users, "quota": quota}
        return {
            "ok": self.hub and self.registry,
            "checks": [
                {"service": "Docker registry", "ok": self.registry},
                {"service": "JupyterHub API", "ok": self.hub},
                {"service": "Pod quota", **pods, "ok": quota is None or total <= quota, "_ignore_failure": True},
            ],
        }

    def entry(self, prime: bool) -> Json:
        """Its entry in the redirector's configuration."""
        parts = {"health": f"{self.url}/health", "versions": f"{self.url}/versions"}
        return {"prime": prime, "url": self.url, "weight": self.weight, **parts}


@contextmanager
def members(*names: str) -> Iterator[dict[str, PlayedMember]]:
    """Members that run, the first one at 127.0.1.1, the next at 127.0.1.2, and so on; gone afterwards."""
    found = {name: PlayedMember(name, f"127.0.1.{number}") for number, name in enumerate(names, 1)}
    try:
        for member in found.values():
            member.start()
        yield found
    finally:
        for member in found.values():
            member.stop()


class _Through(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        name, address = self.server.leads_to  # type: ignore[attr-defined]
        connection = HTTPConnection(address, 80, timeout=30)
        with closing(connection), suppress(OSError):
            connection.request("GET", self.path, headers={"Host": name})
            answer = connection.getresponse()
            data = answer.read()
            self.send_response(answer.status)
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


@contextmanager
def through(name: str, address: str) -> Iterator[str]:
    """A URL on loopback that leads to the host ``name`` at ``address``: what DNS would do for the redirector."""
    server = ThreadingHTTPServer(("127.0.2.1", 0), _Through)
    server.leads_to = name, address  # type: ignore[attr-defined]
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.2.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def config(found: Mapping[str, PlayedMember], **more: Any) -> Json:
    """The redirector's config.json, with times short enough for a test; the first member is the prime."""
    check = {"period": 0.6, "jitter": 0.1, "retries": 5, "timeout": 1, "failed_period": 1.2}
    hosts = {name: member.entry(number == 0) for number, (name, member) in enumerate(found.items())}
    return {"check": check, "load_balancer": "random", "hosts": hosts, **more}


def redirector_folder() -> Path | None:
    """The folder of the redirector that the environment names, or none."""
    named = os.environ.get(CHECKOUT)
    if not named:
        return None
    for folder in (Path(named), Path(named) / "images/federation-redirect"):
        if (folder / "app.py").is_file():
            return folder
    raise FileNotFoundError(f"{CHECKOUT}={named} has no images/federation-redirect/app.py")


def _python(requirements: Path) -> Path:
    """An environment of the redirector's own pins, made once into the cache; its interpreter."""
    home = recipes.cache() / f"venv-redirector-{sha256(requirements.read_bytes()).hexdigest()[:12]}"
    home.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{home}.lock"):
        if not (home / "whole").exists():
            subprocess.run(["uv", "venv", "--quiet", "--clear", "--python", "3.11", home], check=True)
            python = home / "bin/python"
            subprocess.run(["uv", "pip", "install", "--quiet", "--python", python, "-r", requirements], check=True)
            (home / "whole").touch()
    return home / "bin/python"


class Redirector:
    """The real one, as a process of its own."""

    def __init__(self, port: int) -> None:
        self.port, self.url = port, f"http://127.0.0.1:{port}"
        self._connection = HTTPConnection("127.0.0.1", port, timeout=30)

    def close(self) -> None:
        self._connection.close()

    def route(self, path: str, cookie: str = "") -> str:
        """The URL of the member that a request is sent to; not followed."""
        headers = {"Cookie": f"host={cookie}"} if cookie else {}
        self._connection.request("GET", path, headers=headers)
        answer = self._connection.getresponse()
        answer.read()
        assert answer.status == 307, f"{path}: {answer.status}"
        location = answer.headers["Location"]
        assert location.endswith(path)
        return location.removesuffix(path)

    def active(self) -> set[str]:
        """Names in rotation."""
        return set(httpx.get(f"{self.url}/active_hosts", timeout=10).json()["active_hosts"])

    def until(self, wanted: set[str], seconds: float) -> float:
        """Wait until exactly ``wanted`` are in rotation; the seconds that it took."""
        began = time.monotonic()
        while (active := self.active()) != wanted:
            assert time.monotonic() < began + seconds, f"after {seconds} s: {active}, not {wanted}"
            time.sleep(0.02)
        return time.monotonic() - began


@contextmanager
def redirector(folder: Path, settings: Json, scratch: Path) -> Iterator[Redirector]:
    """The redirector of ``folder`` with ``settings`` as its config.json; gone afterwards."""
    python = _python(folder / "requirements.txt")
    (scratch / "config.json").write_text(json.dumps(settings))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(python), "-c", LAUNCHER, str(folder), str(scratch / "config.json"), f"--port={port}"]
    with (scratch / "redirector.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=scratch)
    try:
        until = time.monotonic() + 20
        while True:
            with suppress(httpx.HTTPError):
                httpx.get(f"http://127.0.0.1:{port}/active_hosts", timeout=2)
                break
            assert process.poll() is None, (scratch / "redirector.log").read_text()
            assert time.monotonic() < until, "the redirector does not answer within 20 s"
            time.sleep(0.05)
        with closing(Redirector(port)) as running:
            yield running
    finally:
        process.terminate()
        process.wait(10)
