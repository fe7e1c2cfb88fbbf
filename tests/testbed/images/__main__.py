"""``python -m tests.testbed.images``: make every image that the testbed needs, as archives below ``build/testbed/``.

``images.tar`` is for K3s's ``agent/images`` folder; ``base.tar`` holds the base image of the demo repositories, for
the world's registry; ``binderhub.tgz`` is the stand-in chart. Built
once; kept in the cache by a key over everything that goes in.
"""

from __future__ import annotations

import sys
import time

from tests.testbed import chart
from tests.testbed.images import recipes


def main() -> None:
    """Make both archives, one line for each thing made."""
    began = time.monotonic()

    def report(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f}  {line}", file=sys.stderr, flush=True)

    for name, what in (("images", recipes.PRELOADED), ("base", (recipes.BASE,))):
        print(recipes.build_archive(name, what, report))
    print(chart.package())


if __name__ == "__main__":
    main()
