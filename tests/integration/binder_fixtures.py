"""The stand-in BinderHub as a process, between a real registry and git server and a cluster and hub that are played."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from filelock import FileLock

from tests.testbed.images import oci, recipes

Json = dict[str, Any]
SINCE = "2026-11-21T10:00:00Z"  # when a pod that is simply there was made
REQUIREMENTS = recipes.HERE / "requirements/binder.txt"


class Played(BaseHTTPRequestHandler):
    """Answers from the server's ``play``; one request a connection."""

    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"null") if length else None
        url = urlsplit(self.path)
        play: Any = self.server
        self.close_connection = True
        play.play(self, self.command, url.path, {key: value[0] for key, value in parse_qs(url.query).items()}, body)

    do_GET = do_POST = do_DELETE = _answer

    def reply(self, status: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def stream(self, lines: Iterable[str]) -> None:
        """A chunked answer, each line as it comes."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in lines:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line.encode()), line.encode()))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


class Server(ThreadingHTTPServer):
    """A played server on a free port of the loopback interface."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Played)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Cluster(Server):
    """As much of the Kubernetes API as BinderHub uses. A pod that is created runs at once, logs ``script``, and ends.

    ``outcome`` is the phase it ends in; ``created`` every pod ever created; ``pods`` those that are there.
    """

    def __init__(self) -> None:
        self.pods: dict[str, Json] = {}
        self.created: list[Json] = []
        self.script: list[str] = []
        self.outcome = "Succeeded"
        self.changed = threading.Condition()
        self.events: list[Json] = []
        super().__init__()

    def put(self, name: str, labels: dict[str, str], phase: str, image: str = "x:1") -> None:
        """A pod that is simply there."""
        state = {"running": {"startedAt": SINCE}} if phase == "Running" else {}
        self.pods[name] = {
            "metadata": {"name": name, "labels": labels, "creationTimestamp": SINCE},
            "spec": {"containers": [{"name": "c", "image": image}]},
            "status": {"phase": phase, "containerStatuses": [{"name": "c", "state": state}]},
        }

    def play(self, to: Played, method: str, path: str, query: dict[str, str], body: Any) -> None:
        rest = path.removeprefix("/api/v1/namespaces/binder/pods").strip("/").split("/")
        if method == "POST":
            self._create(to, body)
        elif method == "DELETE":
            self._phase("DELETED", rest[0])
            to.reply(200, {"kind": "Status"})
        elif rest[-1] == "log":
            to.stream(f"{line}\n" for line in self.script)
            self._phase("MODIFIED", rest[0], self.outcome)
        elif query.get("watch"):
            to.stream(self._watch(query))
        else:
            to.reply(200, {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": self._select(query)})

    def _create(self, to: Played, pod: Json) -> None:
        name = pod["metadata"]["name"]
        if name in self.pods:
            to.reply(409, {"kind": "Status", "reason": "AlreadyExists"})
            return
        self.created.append(pod)
        self.pods[name] = {**pod, "status": {"phase": "Pending"}}
        to.reply(201, self.pods[name])
        self._phase("ADDED", name, "Running")

    def _phase(self, event: str, name: str, phase: str = "") -> None:
        with self.changed:
            if name not in self.pods:
                return
            pod = self.pods[name]
            pod = self.pods[name] = {**pod, "status": {"phase": phase or pod["status"]["phase"]}}
            if event == "DELETED":
                del self.pods[name]
            self.events.append({"type": event, "object": pod})
            self.changed.notify_all()

    def _select(self, query: dict[str, str]) -> list[Json]:
        wanted = dict(pair.split("=") for pair in query.get("labelSelector", "").split(",") if pair)
        return [pod for pod in self.pods.values() if wanted.items() <= pod["metadata"]["labels"].items()]

    def _watch(self, query: dict[str, str]) -> Iterator[str]:
        until = time.monotonic() + 3
        with self.changed:
            seen = len(self.events)
            pending = [{"type": "ADDED", "object": pod} for pod in self._select(query)]
        name = query["labelSelector"].partition("=")[2]
        while time.monotonic() < until:
            for event in pending:
                shown: Any = event["object"]
                if shown["metadata"]["name"] == name:
                    yield json.dumps(event) + "\n"
            with self.changed:
                self.changed.wait(0.1)
                pending, seen = self.events[seen:], len(self.events)


class Hub(Server):
    """JupyterHub's API, as far as a launch goes. ``spawns`` are the options of the servers asked for."""

    def __init__(self) -> None:
        self.spawns: list[Json] = []
        super().__init__()

    def play(self, to: Played, method: str, path: str, query: dict[str, str], body: Any) -> None:
        del query
        if to.headers.get("Authorization") != "token secret" and not path.endswith("/health"):
            to.reply(403, {})
        elif path.endswith("/servers/"):
            self.spawns.append(body)
            to.reply(202, {})
        elif path.endswith("/server/progress"):
            spawning = {"progress": 50, "message": "Scheduled"}, {"progress": 100, "ready": True, "message": "Ready"}
            to.stream(f"data: {json.dumps(event)}\n\n" for event in spawning)
        else:
            to.reply(201 if method == "POST" else 200, {})


@dataclass
class Registry:
    """Distribution on a free port."""

    url: str
    process: subprocess.Popen[bytes]

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    def push(self, name: str, tag: str) -> None:
        """An image of no layers."""
        config = b"{}"
        at = httpx.post(f"{self.url}/v2/{name}/blobs/uploads/").headers["Location"]
        digest = "sha256:" + hashlib.sha256(config).hexdigest()
        httpx.put(at, params={**httpx.URL(at).params, "digest": digest}, content=config).raise_for_status()
        entry = {"mediaType": oci.CONFIG_TYPE, "digest": digest, "size": len(config)}
        image = {"schemaVersion": 2, "mediaType": oci.MANIFEST_TYPE, "config": entry, "layers": []}
        raw = json.dumps(image).encode()
        headers = {"Content-Type": oci.MANIFEST_TYPE}
        httpx.put(f"{self.url}/v2/{name}/manifests/{tag}", content=raw, headers=headers).raise_for_status()


@contextmanager
def registry(binary: Path, port: int, folder: Path) -> Iterator[Registry]:
    """A registry that is gone afterwards."""
    config = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "blobs")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    (folder / "registry.json").write_text(json.dumps(config))
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen([binary, "serve", folder / "registry.json"], stdout=log, stderr=log)
    try:
        answers(f"http://127.0.0.1:{port}/v2/")
        yield Registry(f"http://127.0.0.1:{port}", process)
    finally:
        process.terminate()
        process.wait(10)


def answers(url: str, seconds: float = 20) -> None:
    """Wait until something answers at ``url``."""
    until = time.monotonic() + seconds
    while True:
        try:
            httpx.get(url, timeout=2)
            return
        except httpx.HTTPError as error:
            if time.monotonic() > until:
                raise TimeoutError(f"waited {seconds} s for {url}") from error
            time.sleep(0.1)


def environment() -> Path:
    """The image's Python environment, made once into the cache; its interpreter."""
    key = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
    home = recipes.cache() / f"venv-binder-{key}"
    home.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{home}.lock"):
        if not (home / "whole").exists():
            subprocess.run(["uv", "venv", "--quiet", "--clear", "--python", "3.11", home], check=True)
            python = home / "bin/python"
            subprocess.run(
                ["uv", "pip", "install", "--quiet", "--compile-bytecode", "--python", python, "-r", REQUIREMENTS],
                check=True,
            )
            (home / "whole").touch()
    return home / "bin/python"


@dataclass
class BinderHub:
    """The service as a process."""

    url: str
    events: list[Json] = field(default_factory=list)

    def launch(self, provider: str, spec: str, accept: str = "text/event-stream") -> list[Json]:
        """The events of a build request, up to ``ready`` or ``failed``."""
        found: list[Json] = []
        request = httpx.stream("GET", f"{self.url}/build/{provider}/{spec}", headers={"Accept": accept}, timeout=60)
        with request as answer:
            assert answer.status_code == 200
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    found.append(json.loads(line.removeprefix("data: ")))
                    if found[-1].get("phase") in ("ready", "failed"):
                        break
        return found


def pod_like(folder: Path, config: str, cluster: Cluster) -> dict[str, str]:
    """Make a folder as BinderHub's pod has it, with ``config`` (Python) as ``config.py``; the environment of a process
    in it, that finds the stand-in's package and ``cluster``."""
    (folder / "package").mkdir()
    (folder / "package/binderhub").symlink_to(recipes.HERE.parent / "binder")
    (folder / "config.py").write_text(config)
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "played",
        "clusters": [{"name": "played", "cluster": {"server": cluster.url}}],
        "users": [{"name": "played", "user": {"token": "played"}}],
        "contexts": [{"name": "played", "context": {"cluster": "played", "user": "played"}}],
    }
    (folder / "kubeconfig.json").write_text(json.dumps(kubeconfig))
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(folder / "package"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "KUBECONFIG": str(folder / "kubeconfig.json"),
        "BUILD_NAMESPACE": "binder",
    }


@contextmanager
def binderhub(folder: Path, port: int, config: str, cluster: Cluster) -> Iterator[BinderHub]:
    """The stand-in with ``config`` (Python), on ``port``."""
    own = {**pod_like(folder, config, cluster), "JUPYTERHUB_API_TOKEN": "secret", "HOME": str(folder)}
    config = str(folder / "config.py")
    command = [str(environment()), "-m", "binderhub", "--config", config, f"--BinderHub.port={port}"]
    with (folder / "binderhub.log").open("wb") as log:
        process = subprocess.Popen(command, env=own, stdout=log, stderr=log)
    try:
        answers(f"http://127.0.0.1:{port}/versions")
        yield BinderHub(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(10)
