"""The child's other end: starts it, hands it its work, turns its events into ours."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from binder_node.errors import DeadlineError, StepError
from binder_node.events import Event, Reporter
from binder_node.node import Access

STAGE = "host"
# Beyond what the operations may take themselves: start, connection, and the way there and back.
GRACE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Failed:
    """What the child said of an operation that failed; texts are not masked yet."""

    operation: str
    stderr: str
    stdout: str


@dataclass(slots=True)
class Child:
    """A running child that has been told where to connect."""

    access: Access
    process: subprocess.Popen[str]
    log: IO[str]

    def run(self, operations: list[dict[str, Any]], report: Reporter) -> Failed | None:
        """Run ``operations`` in order; returns what failed.

        Raises:
            DeadlineError: it took longer than its operations may.
            StepError: the child itself broke.
        """
        if not operations:
            return None
        limit = sum(operation["timeout"] for operation in operations) + GRACE_SECONDS
        timer = threading.Timer(limit, self.process.kill)
        timer.start()
        failed, ended, doing = None, False, "connect"
        try:
            self._send({"operations": operations})
            assert self.process.stdout is not None
            for line in self.process.stdout:
                event = json.loads(line)
                if event["event"] == "start":
                    doing = event["name"]
                    report(Event("progress", STAGE, doing))
                elif event["event"] == "failed":
                    failed = Failed(event["name"], event["stderr"], event["stdout"])
                elif event["event"] == "end":
                    ended = True
                    break
        finally:
            late = not timer.is_alive()
            timer.cancel()
        if late:
            raise DeadlineError(self.access.name, f"'{doing}' on the node", limit)
        if not ended and failed is None:
            raise StepError(self.access.name, doing, self._said(), "run the same command again")
        return failed

    def _send(self, request: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return  # its events say why it went

    def _said(self) -> str:
        self.log.seek(0)
        lines = self.log.read().strip().splitlines()
        return lines[-1] if lines else "the process that runs pyinfra ended"


@contextmanager
def child(access: Access) -> Iterator[Child]:
    """Start the child and have it connect while the caller does something else; it is gone when the block ends."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "binder_node.host.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            encoding="utf-8",
            # Ctrl-C is the parent's to handle: the child goes when its stdin ends.
            start_new_session=True,
        )
        running = Child(access, process, log)
        try:
            running._send(
                {
                    "name": access.name,
                    "address": access.address,
                    "port": access.port,
                    "user": access.user,
                    "identity": str(access.identity),
                    "known_hosts": str(access.known_hosts),
                }
            )
            yield running
        finally:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()
