"""A node watched while a load runs: one ssh connection, over which it tells a line every few seconds."""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import IO, Any

from binder_node import remote
from binder_node.cluster.kube import sudo
from binder_node.layout import K3S_KUBECONFIG
from binder_node.load.result import Machine, Sample
from binder_node.node import Access

EVERY_SECONDS = 2.0
END_SECONDS = 5.0


class Watched:
    """What a node has told so far. ``began``: the load's beginning (monotonic seconds)."""

    def __init__(self, machine: Machine, began: float, told: Callable[[Sample], None]) -> None:
        self._machine, self._began, self._told = machine, began, told
        self._samples: list[Sample] = []

    def take(self, line: str) -> None:
        """A line of the stream; the first one has the machine's size. Raises ValueError where it is none."""
        found: dict[str, Any] = json.loads(line)
        if "cpus" in found:
            self._machine = self._machine.model_copy(update=found)
            return
        sample = Sample(at=round(time.monotonic() - self._began, 3), **found)
        self._samples.append(sample)
        self._told(sample)

    def failed(self, reason: str) -> None:
        """Nothing more comes, before anybody wanted it to end."""
        self._machine = self._machine.model_copy(update={"error": reason})

    @property
    def machine(self) -> Machine:
        return self._machine.model_copy(update={"samples": tuple(self._samples)})


@contextlib.contextmanager
def watching(
    access: Access,
    machine: Machine,
    state: str,
    began: float,
    told: Callable[[Sample], None],
    *,
    every: float = EVERY_SECONDS,
) -> Iterator[Watched]:
    """Watch the node for the block. A watch that breaks off is told in the document; the load goes on without it."""
    watched = Watched(machine, began, told)
    program = (files("binder_node.load.on_node") / "watch.py").read_text(encoding="utf-8")
    words = ["python3", "-u", "-c", program, f"{every:g}", state, str(K3S_KUBECONFIG)]
    with tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(
            remote.ssh_argv(access, f"exec {sudo(access)}{shlex.join(words)}"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
        ending = threading.Event()
        thread = threading.Thread(target=_follow, args=(process, watched, stderr, ending), daemon=True)
        thread.start()
        try:
            yield watched
        finally:
            ending.set()
            _end(process)
            thread.join(END_SECONDS)


def _follow(process: subprocess.Popen[bytes], watched: Watched, stderr: IO[bytes], ending: threading.Event) -> None:
    assert process.stdout is not None
    reason = "it ended"
    try:
        for line in process.stdout:
            watched.take(line.decode(errors="replace"))
    except ValueError as error:
        reason = f"it told something else: {error}"
    if not ending.is_set():
        stderr.seek(0)
        said = stderr.read().decode(errors="replace").strip().splitlines()
        watched.failed(said[-1] if said else reason)


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        process.stdin.close()  # the program ends when its stdin does
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(END_SECONDS)
    if process.stdout is not None:
        process.stdout.close()
