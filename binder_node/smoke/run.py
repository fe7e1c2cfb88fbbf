"""A run of the checks in this process: pytest with our plugin and nobody else's, its results as data."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from binder_node.errors import InputError, Problem, StepError
from binder_node.smoke.checks import Check, Result, catalogue, chosen
from binder_node.words import words

# pytest's exit codes: https://docs.pytest.org/en/stable/reference/exit-codes.html
INTERRUPTED, INTERNAL, USAGE, NOTHING = 2, 3, 4, 5


class Watcher(Protocol):
    """Is told of a run as it goes on."""

    def planned(self, checks: Sequence[Check], deep_left_out: int) -> None: ...

    def started(self, check: Check) -> None: ...

    def finished(self, result: Result) -> None: ...


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run found, in its order. ``deep_left_out``: checks that ``--deep`` would have run besides."""

    node: str
    results: tuple[Result, ...]
    seconds: float
    deep_left_out: int

    @property
    def ok(self) -> bool:
        return all(result.outcome in ("ok", "skipped") for result in self.results)

    def count(self, outcome: str) -> int:
        return sum(result.outcome == outcome for result in self.results)


@dataclass(slots=True, eq=False)  # pytest keeps its plugins in sets
class _Listener:
    """A pytest plugin: it keeps the results, and what broke outside of any check."""

    watcher: Watcher
    results: list[Result] = field(default_factory=list)
    deep_left_out: int = 0
    broken: list[str] = field(default_factory=list)

    def pytest_smoke_planned(self, checks: Sequence[Check], deep_left_out: int) -> None:
        self.deep_left_out = deep_left_out
        self.watcher.planned(checks, deep_left_out)

    def pytest_smoke_started(self, check: Check) -> None:
        self.watcher.started(check)

    def pytest_smoke_finished(self, result: Result) -> None:
        self.results.append(result)
        self.watcher.finished(result)

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.broken.append(report.longreprtext)

    def pytest_internalerror(self, excrepr: Any) -> None:
        self.broken.append(str(excrepr))


def run(
    name: str,
    node: str,
    watcher: Watcher,
    *,
    deep: bool = False,
    only: str = "",
    junit: Path | None = None,
    pins: Path | None = None,
    repository: str = "",
    push_to: str = "",
) -> Summary:
    """Check the node ``name`` of the inventory ``node``; ``only`` are names of layers or checks, parted by commas.

    Deep checks build a branch of ``repository``, which they push to ``push_to`` (another way to the same one).

    Raises:
        InputError: ``only`` names what there is not, or ``junit`` cannot be written; nothing was run.
        KeyboardInterrupt: it was interrupted; what a check had made is taken away.
        StepError: the checks themselves could not be run.
    """
    import pytest

    try:
        chosen(catalogue(), words(only), deep=deep)
    except ValueError as error:
        right = "docs/reference/smoke.md has all"
        raise InputError(Problem("", 0, "--only", f"no such layer or check: {error}", right)) from None
    if junit is not None:
        _writable(junit)
    # By its path, not by `--pyargs`: for want of a path pytest looks for a conftest.py in `tests` of the folder that it
    # is called in, a checkout's for example.
    own = Path(__file__).parent
    argv = [str(own), "--node", node, "-c", str(own / "smoke.ini"), "-s"]
    # Nobody else's plugins, settings or screen: a result must not depend on what is installed beside us.
    argv += ["--disable-plugin-autoload", "-p", "binder_node.smoke.plugin", "-p", "no:terminal"]
    argv += ["-p", "no:cacheprovider", "--rootdir", str(Path(__file__).parents[2])]
    argv += ["--deep"] if deep else []
    argv += ["--only", only] if only else []
    argv += ["--junit-xml", str(junit)] if junit else []
    argv += ["--pins", str(pins)] if pins else []
    argv += ["--repository", repository] if repository else []
    argv += ["--push-to", push_to] if push_to else []
    listener, began = _Listener(watcher), time.monotonic()
    with _own_environment():
        code = int(pytest.main(argv, plugins=[listener]))
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if listener.broken or code in (INTERNAL, USAGE, NOTHING):
        said = "\n".join(listener.broken) or f"pytest ended with {code}"
        raise StepError("here", "run the checks", said, "this is a bug of binder-node")
    return Summary(name, tuple(listener.results), round(time.monotonic() - began, 2), listener.deep_left_out)


def _writable(file: Path) -> None:
    """Raise InputError where pytest could not write ``file`` at the end of a run of minutes."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("ab"):
            pass
    except OSError as error:
        right = "name a file that you may write"
        raise InputError(Problem(str(file), 0, "--junit", f"cannot be written: {error.strerror}", right)) from None


@contextlib.contextmanager
def _own_environment() -> Iterator[None]:
    """Without the settings that a shell has for pytest."""
    kept = {name: os.environ.pop(name) for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS") if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)
