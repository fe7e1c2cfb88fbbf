"""A vendor's download server that fails in the ways that real ones do, and stores that fetch from it."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from binder_node.artifacts.cache import Cache
from binder_node.artifacts.download import Patience
from binder_node.artifacts.pins import Pin, Pins
from binder_node.artifacts.store import Sources, Store
from binder_node.events import Event

# Nothing in these tests should wait for a machine that is far away.
HASTY = Patience(connect=2.0, silence=1.0, attempts=2, pause=0.05)
CHUNK = 64 << 10


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that do not compress and are the same in every run."""
    block = hashlib.shake_256(str(seed).encode()).digest(1 << 16)
    return (block * (size // len(block) + 1))[:size]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def tarball(**members: bytes) -> bytes:
    """A .tar.gz; ``__`` in a name is a ``/``."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo("./" + name.replace("__", "/"))
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


@dataclass
class File:
    """What a path answers. ``cuts`` and ``stalls``: after how many body bytes the next answers break off or fall
    silent (one entry an answer, then none); ``delay``: seconds between two chunks."""

    data: bytes
    ranges: bool = True
    etag: str | None = '"one"'
    length: bool = True
    delay: float = 0.0
    cuts: list[int] = field(default_factory=list)
    stalls: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)


@dataclass
class Vendor:
    """The server. ``seen``: (path, Range header or "", bytes of the body that were sent)."""

    server: HTTPServer
    seen: list[tuple[str, str, int]] = field(default_factory=list)
    files: dict[str, File] = field(default_factory=dict)
    closing: threading.Event = field(default_factory=threading.Event)

    def serve(self, path: str, data: bytes, **behaviour: Any) -> str:
        """Serve ``data`` there and return the URL."""
        self.files[path] = File(data, **behaviour)
        self.server.expect_request(path).respond_with_handler(self._answer)
        return self.server.url_for(path)

    def redirect(self, path: str, to: str) -> str:
        self.server.expect_request(path).respond_with_data(status=302, headers={"Location": to})
        return self.server.url_for(path)

    def _answer(self, request: Request) -> Response:
        file = self.files[request.path]
        asked = request.headers.get("Range", "")
        if file.statuses and (status := file.statuses.pop(0)) != 200:
            self.seen.append((request.path, asked, 0))
            return Response("no", status=status)
        start, status, headers = 0, 200, {}
        if_range = request.headers.get("If-Range")
        if file.ranges and asked and if_range in (None, file.etag):
            start, status = int(asked.removeprefix("bytes=").rstrip("-")), 206
            if start >= len(file.data):
                self.seen.append((request.path, asked, 0))
                return Response("", status=416, headers={"Content-Range": f"bytes */{len(file.data)}"})
            headers["Content-Range"] = f"bytes {start}-{len(file.data) - 1}/{len(file.data)}"
        body = file.data[start:]
        if file.length:
            headers["Content-Length"] = str(len(body))
        if file.etag:
            headers["ETag"] = file.etag
        return Response(self._body(request.path, asked, body, file), status=status, headers=headers)

    def _body(self, path: str, asked: str, body: bytes, file: File) -> Iterator[bytes]:
        cut = file.cuts.pop(0) if file.cuts else None
        stall = file.stalls.pop(0) if file.stalls else None
        stop = min(len(body) if limit is None else limit for limit in (cut, stall))
        index = len(self.seen)
        self.seen.append((path, asked, 0))
        for at in range(0, stop, CHUNK):
            chunk = body[at : min(at + CHUNK, stop)]
            yield chunk
            self.seen[index] = (path, asked, at + len(chunk))
            if file.delay:
                self.closing.wait(file.delay)
        if stall is not None:
            self.closing.wait(20)

    def count(self, path: str) -> int:
        return sum(1 for seen, _, _ in self.seen if seen == path)


@contextmanager
def vendor(**server: Any) -> Iterator[Vendor]:
    """A vendor on a free port of loopback, each request in a thread of its own."""
    with HTTPServer(host="127.0.0.1", port=0, threaded=True, **server) as made:
        it = Vendor(made)
        try:
            yield it
        finally:
            it.closing.set()


def pins(folder: Path, **entries: dict[str, Any]) -> Pins:
    """Pins with just these entries; ``_`` in a name is ``-``."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {name.replace("_", "-"): Pin.model_validate({"version": "1", **entry}) for name, entry in entries.items()}
    return Pins(made, {}, folder / "pins.lock")


def release(url: str, sha: str | None = None, **more: Any) -> dict[str, Any]:
    """A pin's table with one download."""
    return {"release": {"amd64": {"url": url, "sha256": sha, **more}}}


def store(root: Path, made: Pins, patience: Patience = HASTY, **more: Any) -> Store:
    """A store over a cache in ``root`` that needs no spare room."""
    return Store(Cache(root, reserve=0), made, patience=patience, **more)


def bundle_only(folder: Path) -> Sources:
    return Sources(bundle=folder)


@dataclass
class Told:
    """A reporter that keeps everything."""

    events: list[Event] = field(default_factory=list)

    def __call__(self, event: Event, /) -> None:
        self.events.append(event)

    def messages(self, kind: str) -> list[str]:
        return [event.message for event in self.events if event.kind == kind]


def leftovers(root: Path) -> list[str]:
    """Files in the cache besides locks: what other processes could see or trip over."""
    files = (path for path in root.rglob("*") if path.is_file() and path.parent.name not in ("locks", "keys"))
    return sorted(str(path.relative_to(root)) for path in files)


def until(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Wait for ``condition``, looking every 10 ms."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, f"waited {seconds} s for {what}"
        time.sleep(0.01)


def command(root: Path, overlay: Path, *arguments: str, **env: str) -> subprocess.Popen[str]:
    """``binder-node artifacts ...`` as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", "from binder_node.cli.main import run; run()", "artifacts", *arguments],
        env={**os.environ, "BINDER_NODE_CACHE": str(root), "BINDER_NODE_PINS": str(overlay), "NO_COLOR": "1", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str], seconds: float = 60.0) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a process that has to end by itself in time."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"still running after {seconds} s:\n{out}\n{err}") from None
    return process.returncode, out, err
