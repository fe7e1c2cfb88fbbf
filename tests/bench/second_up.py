"""A second ``up`` against plain pyinfra with the same operations: whole processes, in turn, medians."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.node.harness import REPO, Home


@dataclass(frozen=True, slots=True)
class SecondUp:
    """Medians in seconds of whole processes that change nothing."""

    ours: float
    plain: float

    @property
    def ratio(self) -> float:
        return self.ours / self.plain


def measure(home: Home, runs: int = 5) -> SecondUp:
    """``home`` is a node that is up; both in turn, after one warm-up of each.

    Raises:
        AssertionError: one of them failed, or changed something.
    """
    environment = {**home.environment, "BENCH_INVENTORY": str(home.inventory), "PYTHONPATH": str(REPO)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    inventory = home.inventory.parent / "inventory.py"
    inventory.write_text((REPO / "inventories/inventory.py").read_text())
    pyinfra = [
        str(Path(sys.executable).with_name("pyinfra")),
        "-y",
        str(inventory),
        str(REPO / "tests/bench/plain_deploy.py"),
    ]
    times: dict[str, list[float]] = {"ours": [], "plain": []}
    for turn in range(runs + 1):
        for name, argv in {"ours": home.argv("up"), "plain": pyinfra}.items():
            began = time.perf_counter()
            done = subprocess.run(
                argv, env=environment, cwd=home.folder, capture_output=True, text=True, check=False, timeout=600
            )
            seconds = time.perf_counter() - began
            assert done.returncode == 0, done.stderr[-3000:]
            if turn:
                times[name].append(seconds)
        assert (
            "nothing to change"
            in subprocess.run(
                home.argv("up"), env=environment, cwd=home.folder, capture_output=True, text=True, check=True
            ).stderr
        )
    return SecondUp(statistics.median(times["ours"]), statistics.median(times["plain"]))
