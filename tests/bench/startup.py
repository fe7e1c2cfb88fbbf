"""How much longer ``binder-node --help`` takes than a Typer app with two commands: run in turn, medians."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

TWO_COMMANDS = '''
import typer
app = typer.Typer(no_args_is_help=True)
@app.command()
def one(name: str) -> None:
    """The first."""
@app.command()
def two(name: str, loud: bool = False) -> None:
    """The second."""
app()
'''


@dataclass(frozen=True, slots=True)
class Startup:
    """Medians in seconds of whole processes."""

    ours: float
    bare: float

    @property
    def ratio(self) -> float:
        return self.ours / self.bare


def _seconds(argv: list[str]) -> float:
    began = time.perf_counter()
    # As installed for a user: bytecode is kept, whatever this shell says.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - began


def measure(folder: Path, runs: int = 21) -> Startup:
    """Both in turn, ``runs`` times after a warm-up, so that a drift of the machine's speed meets both alike."""
    bare = folder / "two_commands.py"
    bare.write_text(TWO_COMMANDS)
    commands = {
        "ours": [str(Path(sys.executable).with_name("binder-node")), "--help"],
        "bare": [sys.executable, str(bare), "--help"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(runs + 2):
        for name, argv in commands.items():
            seconds = _seconds(argv)
            if turn >= 2:
                times[name].append(seconds)
    return Startup(statistics.median(times["ours"]), statistics.median(times["bare"]))
