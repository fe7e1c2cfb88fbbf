"""What a run of the checks tells: hooks that a pytest plugin may implement."""

from __future__ import annotations

from collections.abc import Sequence

from binder_node.smoke.checks import Check, Result


def pytest_smoke_planned(checks: Sequence[Check], deep_left_out: int) -> None:
    """What will be run, in its order; ``deep_left_out`` are those that only ``--deep`` runs."""


def pytest_smoke_started(check: Check) -> None:
    """A check is about to run, or to be told as blocked."""


def pytest_smoke_finished(result: Result) -> None:
    """How it ended."""
