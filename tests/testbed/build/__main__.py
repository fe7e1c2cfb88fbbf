"""``python -m tests.testbed.build [k3s|k3s-images|probe|all]``: make the stand-ins below ``build/testbed/``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from binder_node.errors import BinderNodeError
from binder_node.events import Event, Reporter
from tests.testbed.build.stand_in import Builder


def main() -> int:
    """Build what the command line names, a line of progress for each thing; 1 when something failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.testbed.build", description=__doc__)
    parser.add_argument("what", nargs="*", default=["all"], choices=["k3s", "k3s-images", "probe", "all"])
    wanted = parser.parse_args().what
    builder = Builder(_reporter())
    makers = {"k3s": builder.k3s, "k3s-images": builder.images, "probe": builder.probe}
    try:
        for name in makers if "all" in wanted else wanted:
            print(_made(makers[name]()), flush=True)
    except BinderNodeError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    return 0


def _made(path: Path) -> str:
    return f"{path}  {path.stat().st_size / 1e6:.0f} MB"


def _reporter() -> Reporter:
    began, told = time.monotonic(), [0.0]

    def report(event: Event) -> None:
        at = time.monotonic() - began
        if event.kind == "progress":
            if at - told[0] < 15:  # Go is quiet for minutes: say that it is alive
                return
            told[0] = at
        print(f"{at:7.1f} s  {event.kind:8}  {event.message[:140]}", file=sys.stderr, flush=True)

    return report


if __name__ == "__main__":
    sys.exit(main())
