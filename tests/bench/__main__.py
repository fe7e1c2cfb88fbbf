"""``make bench``: every comparison in one run, as ratios; a node is made for it and taken away again."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.bench import second_up, startup, stores
from tests.node.harness import make_home


def main() -> None:
    """Print a line for each comparison as it is done."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        start = startup.measure(folder)
        print(
            f"binder-node --help: {start.ours * 1000:.0f} ms; a two-command Typer app: {start.bare * 1000:.0f} ms; "
            f"ratio {start.ratio:.2f} (at most 1.20)",
            flush=True,
        )
    home = make_home(Path(tempfile.mkdtemp(prefix="bench-")), "bench", "198.18.45")
    try:
        home.up().ok()
        second = second_up.measure(home)
    finally:
        home.run("destroy", "--yes", home.name).ok()
    print(
        f"a second up: {second.ours:.2f} s; plain pyinfra, the same operations: {second.plain:.2f} s; "
        f"ratio {second.ratio:.2f}",
        flush=True,
    )
    stores.main()


if __name__ == "__main__":
    main()
