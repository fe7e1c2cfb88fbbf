"""The ``module`` source at work: a Go program built in an empty folder of its own, its output told as it comes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from binder_node.artifacts.recipe import Build
from binder_node.errors import DeadlineError, StepError
from binder_node.events import Event, Reporter

_TAIL = 30  # lines of Go's output that an error shows
_WATCH = 0.2  # seconds between two looks at the clock
_EVERY = 0.5  # seconds between two progress events


def go_version(timeout: float = 30.0) -> str:
    """The local toolchain's version, as ``go1.26.8``. StepError if there is none."""
    step, remedy = "look for Go", "install Go 1.25 or later (https://go.dev/doc/install), or take another source"
    if shutil.which("go") is None:
        raise StepError("here", step, "no `go` command is on the path", remedy)
    try:
        # Where no go.mod can ask for another toolchain.
        argv = ["go", "env", "GOVERSION"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False, cwd="/")
    except subprocess.TimeoutExpired as error:
        raise DeadlineError("here", "go env GOVERSION", timeout, remedy=remedy) from error
    if done.returncode:
        raise StepError("here", step, done.stderr, remedy)
    return done.stdout.strip()


def build(recipe: Build, folder: Path, report: Reporter, halt: threading.Event, deadline: float = 3600.0) -> Path:
    """Build in ``folder`` (empty); returns the program's path.

    ``deadline`` is in seconds, for all commands together; ``halt`` ends the build early. StepError shows the end of
    Go's output.
    """
    out, work = folder / recipe.name, folder / "src"
    work.mkdir()
    ends = time.monotonic() + deadline
    env = {**os.environ, **recipe.env()}
    for argv in recipe.commands(out):
        _run(recipe, argv, work, env, report, halt, ends, deadline)
    return out


def _run(
    recipe: Build,
    argv: tuple[str, ...],
    cwd: Path,
    env: dict[str, str],
    report: Reporter,
    halt: threading.Event,
    ends: float,
    deadline: float,
) -> None:
    tail: deque[str] = deque(maxlen=_TAIL)
    with _guarded(argv, cwd, env, halt, ends) as process:
        _follow(recipe, argv, process, report, tail)
        code = process.wait()
    said = "\n".join(tail)
    doing = f"build {recipe.name}: {' '.join(argv[:2])}"
    if code and halt.is_set():
        raise StepError("here", doing, "stopped", "run it again: what Go has compiled is kept")
    if code and time.monotonic() >= ends:
        remedy = "a machine with more cores, or --source release"
        raise DeadlineError("here", f"the build of {recipe.name}", deadline, said or "no output", remedy)
    if code:
        raise StepError("here", doing, said, "the last lines are Go's; a newer Go, or another --source, may do")


@contextlib.contextmanager
def _guarded(
    argv: tuple[str, ...], cwd: Path, env: dict[str, str], halt: threading.Event, ends: float
) -> Iterator[subprocess.Popen[str]]:
    """A process, and a thread that ends it with all its children at ``halt`` or when its time is up."""
    process = subprocess.Popen(
        argv,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )

    def watch() -> None:
        while process.poll() is None:
            if halt.wait(_WATCH) or time.monotonic() >= ends:
                _kill(process)

    watcher = threading.Thread(target=watch, name=f"watch-{argv[1]}", daemon=True)
    watcher.start()
    try:
        with process:
            try:
                yield process
            finally:
                _kill(process)
    finally:
        watcher.join()


def _follow(
    recipe: Build, argv: tuple[str, ...], process: subprocess.Popen[str], report: Reporter, tail: deque[str]
) -> None:
    assert process.stdout is not None
    last = 0.0
    for lines, line in enumerate(process.stdout, 1):
        tail.append(line.rstrip())
        if time.monotonic() - last >= _EVERY:
            last = time.monotonic()
            data = {"name": recipe.name, "done": lines, "total": 0, "unit": "lines"}
            report(Event("progress", "artifacts", f"{recipe.name}: {argv[1]}: {line.rstrip()}", data))


def _kill(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
