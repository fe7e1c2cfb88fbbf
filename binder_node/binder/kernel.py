"""Code run in a launched server, over Jupyter's REST API and its kernels' websocket."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from binder_node.binder.client import AnswerError, Binder
from binder_node.errors import DeadlineError, StepError
from binder_node.words import plain

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

PROTOCOL = "5.3"  # Jupyter's messaging
RUN_SECONDS = 300.0


@dataclass(slots=True)
class Ran:
    """``output`` is what the code printed and its last value, in their order, with the traceback when it failed."""

    output: str = ""
    ok: bool = False


@dataclass(slots=True)
class _Run:
    """Messages of one request gathered until its reply and its ``idle`` have both come, in any order."""

    request: str
    ran: Ran = field(default_factory=Ran)
    replied: bool = False
    idle: bool = False

    def take(self, message: dict[str, Any]) -> bool:
        """Whether this was the last one."""
        content = message.get("content") or {}
        kind = message.get("header", {}).get("msg_type")
        if kind == "status" and content.get("execution_state") == "dead":
            raise StepError("kernel", "run the code", "the kernel died", "out of memory? see the session's limit")
        if message.get("parent_header", {}).get("msg_id") != self.request:
            return False
        match kind:
            case "stream":
                self.ran.output += content.get("text", "")
            case "execute_result":
                self.ran.output += f"{content.get('data', {}).get('text/plain', '')}\n"
            case "error":
                self.ran.output += plain("\n".join(content.get("traceback", []))) + "\n"
            case "execute_reply":
                self.replied, self.ran.ok = True, content.get("status") == "ok"
            case "status":
                self.idle = self.idle or content.get("execution_state") == "idle"
        return self.replied and self.idle


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel of a launched server, its channels open."""

    binder: Binder
    channels: ClientConnection

    def run(self, code: str, *, seconds: float = RUN_SECONDS) -> Ran:
        """Run ``code``, one cell.

        Raises:
            StepError: the kernel died, or the server went away.
            DeadlineError: it was not done within ``seconds``.
        """
        from websockets.exceptions import ConnectionClosed

        request = _request(code)
        run = _Run(request["header"]["msg_id"])
        with contextlib.suppress(ConnectionClosed):  # told below
            self.channels.send(json.dumps(request))
            for message in _messages(self.binder, self.channels, time.monotonic() + seconds, seconds):
                if run.take(message):
                    return run.ran
        raise StepError(self.binder.name, "run the code", "the server closed the connection", "was the server culled?")


@contextlib.contextmanager
def open_kernel(binder: Binder, url: str, token: str) -> Iterator[Kernel]:
    """A new kernel of the server at ``url`` (from ``ready``) for the block; it is gone afterwards.

    Raises:
        StepError, DeadlineError: the server does not answer, or has no kernel for us.
    """
    with _kernel(binder, url, token) as kernel, _channels(binder, url, token, kernel) as channels:
        yield Kernel(binder, channels)


def run_code(binder: Binder, url: str, token: str, code: str, *, seconds: float = RUN_SECONDS) -> Ran:
    """Run ``code`` in a new kernel of the server at ``url`` (from ``ready``), which is gone afterwards.

    Raises:
        StepError: the server or its kernel failed.
        DeadlineError: it was not done within ``seconds``.
    """
    with open_kernel(binder, url, token) as kernel:
        return kernel.run(code, seconds=seconds)


def shutdown(binder: Binder, url: str, token: str) -> None:
    """Stop the server. One that is gone already is what is wanted.

    Raises:
        StepError: it does not want to.
    """
    answer = binder.request("POST", f"{url}api/shutdown", "stop the server", headers=_headers(token))
    # 404, 424, 503: the proxy's and the hub's words for a server that has gone.
    if not answer.is_success and answer.status_code not in (404, 424, 503):
        raise AnswerError(binder.name, "stop the server", answer, "it is culled when idle")


def _headers(token: str) -> dict[str, str]:
    # In a header, not in the address: those stand in logs.
    return {"Authorization": f"token {token}"}


@contextlib.contextmanager
def _kernel(binder: Binder, url: str, token: str) -> Iterator[str]:
    headers = _headers(token)
    answer = binder.request("POST", f"{url}api/kernels", "start a kernel", headers=headers, json={})
    if answer.status_code != 201:
        raise AnswerError(binder.name, "start a kernel", answer)
    kernel = str(answer.json()["id"])
    try:
        yield kernel
    finally:
        # The server ends soon, by us or by the culler: a kernel that stays is no failure of the code's.
        with contextlib.suppress(StepError):
            binder.request("DELETE", f"{url}api/kernels/{kernel}", "stop the kernel", headers=headers)


@contextlib.contextmanager
def _channels(binder: Binder, url: str, token: str, kernel: str) -> Iterator[ClientConnection]:
    from websockets.exceptions import InvalidHandshake
    from websockets.sync.client import connect

    parts = urlsplit(f"{url}api/kernels/{kernel}/channels")
    address = urlunsplit(parts._replace(scheme={"http": "ws", "https": "wss"}[parts.scheme]))
    try:
        channels = connect(
            address,
            sock=binder.connect(address),
            ssl=binder.trust if address.startswith("wss:") else None,
            additional_headers=_headers(token),
            open_timeout=30,
            close_timeout=5,
            max_size=None,
            proxy=None if binder.connect_to else True,
        )
    except TimeoutError:
        raise DeadlineError(binder.name, "the kernel's channels", 30) from None
    except (InvalidHandshake, OSError) as error:
        raise StepError(binder.name, "reach the kernel", str(error)) from None
    with channels, binder.breakable(channels.socket):
        yield channels


def _messages(binder: Binder, channels: ClientConnection, deadline: float, seconds: float) -> Iterator[dict[str, Any]]:
    from websockets.exceptions import ConnectionClosed

    while True:
        try:
            text = channels.recv(timeout=max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            raise DeadlineError(binder.name, "the code's end", seconds, "it was still running") from None
        except ConnectionClosed:
            return
        message = json.loads(text)
        if isinstance(message, dict):
            yield message


def _request(code: str) -> dict[str, Any]:
    header = {
        "msg_id": uuid.uuid4().hex,
        "session": uuid.uuid4().hex,
        "username": "binder-node",
        "date": datetime.now(UTC).isoformat(),
        "msg_type": "execute_request",
        "version": PROTOCOL,
    }
    content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False, "stop_on_error": True}
    return {
        "channel": "shell",
        "header": header,
        "parent_header": {},
        "metadata": {},
        "content": {**content, "user_expressions": {}},
        "buffers": [],
    }
