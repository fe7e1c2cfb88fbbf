"""The process in which pyinfra makes a machine what it shall be: ``python -m binder_node.host.child``.

pyinfra wants gevent's patches before anything else is imported, and they do no good to the Kubernetes and cloud SDKs:
hence a process of its own. It reads two lines of JSON from stdin, where to connect and what to do (secrets come no
other way), and writes events as JSON lines to stdout. When stdin ends, so does it: it does not outlive its parent.

Request 1 ``{"name", "address", "port", "user", "identity", "known_hosts"}``; request 2 ``{"operations": [...]}``, each
``{"name", "timeout", "script", "ask"}`` or ``{"name", "timeout", "command"}`` or ``{"name", "timeout", "packages"}``.
Events ``{"event": "connected" | "start" | "done" | "failed" | "end", ...}``.
"""

# ruff: noqa: E402 (patching comes before every other import)
# mypy: disable-error-code="attr-defined,no-untyped-call,arg-type,assignment,override"
from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any, TextIO

import gevent
from gevent.os import tp_read
from pyinfra.api import Config, Inventory, State
from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.connect import connect_all
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.operation import add_op, operation
from pyinfra.api.operations import run_ops
from pyinfra.api.state import BaseStateCallback
from pyinfra.connectors import util as connector_util
from pyinfra.operations import apt

CONNECT_SECONDS = 15
KEEPALIVE_SECONDS = 5
# SHA-1 signatures (CVE-2026-44405 in paramiko < 5).
WEAK = {"keys": ["ssh-rsa"], "pubkeys": ["ssh-rsa"]}


@operation(is_idempotent=False)
def on_node(script: str, ask: str) -> Iterator[StringCommand]:
    """Run one of our scripts under the node's python3; ``ask`` is its stdin, which pyinfra never logs."""
    yield StringCommand("python3", "-c", QuoteString(script), _stdin=ask)


@operation(is_idempotent=False)
def command(words: list[str]) -> Iterator[StringCommand]:
    """One command, each word quoted."""
    yield StringCommand(*(QuoteString(word) for word in words))


class Tell(BaseStateCallback):
    """Turns pyinfra's callbacks into events. Output of a failed operation is kept before the state forgets it."""

    def __init__(self, out: TextIO) -> None:
        self.out, self.began = out, 0.0

    def send(self, event: str, **data: Any) -> None:
        self.out.write(json.dumps({"event": event, **data}) + "\n")
        self.out.flush()

    def operation_host_start(self, state: State, host: Any, op_hash: str) -> None:
        del host
        self.began = time.monotonic()
        self.send("start", name=_name(state, op_hash))

    def operation_host_success(self, state: State, host: Any, op_hash: str, retry_count: int = 0) -> None:
        del host, retry_count
        self.send("done", name=_name(state, op_hash), seconds=round(time.monotonic() - self.began, 3))

    def operation_host_error(
        self, state: State, host: Any, op_hash: str, retry_count: int = 0, max_retries: int = 0
    ) -> None:
        del retry_count, max_retries
        # set_complete comes after this callback: wait for the results in `main`.
        self.failed = (_name(state, op_hash), host, op_hash)

    def host_connect_error(self, state: State, host: Any, error: Exception) -> None:
        del state, host
        self.send("failed", name="connect", stderr=str(error), stdout="")


def _name(state: State, op_hash: str) -> str:
    return next(iter(state.get_op_meta(op_hash).names))


class Requests:
    """Lines of stdin, read on a thread of their own so that the hub never blocks."""

    def __init__(self) -> None:
        self.buffer = b""

    def next(self) -> dict[str, Any]:
        """Raises EOFError where stdin ends before a line does."""
        while b"\n" not in self.buffer:
            data = tp_read(0, 1 << 20)
            if not data:
                raise EOFError("stdin ended before the request did")
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def exit_with_parent(self) -> None:
        """Ends this process when stdin does: its parent is gone, and another may already be at work."""
        while tp_read(0, 4096):
            pass
        os._exit(1)


def connect(access: dict[str, Any], tell: Tell) -> State:
    """One connection: strict about the host's key, with no small packet held back."""
    sock = socket.create_connection((access["address"], access["port"]), timeout=CONNECT_SECONDS)
    # paramiko never sets it: 48 ms instead of 4 for each command.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    data = {
        # The key is known by the node's name (OpenSSH's HostKeyAlias); the socket is where it goes.
        "ssh_hostname": access["name"],
        "ssh_port": 22,
        "ssh_user": access["user"],
        "ssh_key": access["identity"],
        "ssh_known_hosts_file": access["known_hosts"],
        "ssh_strict_host_key_checking": "yes",
        "ssh_config_file": os.devnull,
        "ssh_paramiko_connect_kwargs": {"disabled_algorithms": WEAK, "sock": sock},
    }
    state = State(
        Inventory(([(access["name"], data)], {})),
        Config(CONNECT_TIMEOUT=CONNECT_SECONDS, SUDO=access["user"] != "root"),
        check_for_changes=False,
    )
    state.add_callback_handler(tell)
    connect_all(state)
    for host in state.inventory:
        host.connector.client.get_transport().set_keepalive(KEEPALIVE_SECONDS)
    return state


def add(state: State, wanted: dict[str, Any]) -> None:
    """One operation of the request."""
    common = {"name": wanted["name"], "_timeout": wanted["timeout"]}
    if "script" in wanted:
        add_op(state, on_node, wanted["script"], wanted["ask"], **common)
    elif "packages" in wanted:
        # Lists older than a day are read again first.
        add_op(state, apt.packages, wanted["packages"], update=True, cache_time=86400, no_recommends=True, **common)
    else:
        add_op(state, command, wanted["command"], **common)


def no_password(prompt: str) -> str:
    """In place of getpass: nobody is there to be asked."""
    raise PyinfraError(f"sudo wants a password ({prompt.strip()}): give the login passwordless sudo, or use root")


def main() -> int:
    """Exit status: 0 done, 1 an operation or the connection failed (an event says which)."""
    out, sys.stdout = os.fdopen(os.dup(1), "w", encoding="utf-8"), sys.stderr
    connector_util.getpass = no_password
    tell, requests = Tell(out), Requests()
    try:
        access = requests.next()
        state = connect(access, tell)
        tell.send("connected")
        for wanted in requests.next()["operations"]:
            add(state, wanted)
        gevent.spawn(requests.exit_with_parent)
        run_ops(state)
    except EOFError:
        return 1
    except OSError as error:
        tell.send("failed", name="connect", stderr=error.strerror or str(error), stdout="")
        return 1
    except PyinfraError as error:
        if hasattr(tell, "failed"):
            name, host, op_hash = tell.failed
            meta = state.get_op_data_for_host(host, op_hash).operation_meta
            tell.send("failed", name=name, stderr=meta.stderr or str(error), stdout=meta.stdout)
        return 1
    tell.send("end")
    return 0


if __name__ == "__main__":
    status = main()
    # Connections close with the process; paramiko's threads would hold it up.
    sys.stdout.flush()
    os._exit(status)
