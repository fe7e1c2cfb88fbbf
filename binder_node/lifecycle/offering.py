"""Newer versions of what is pinned: asked of their vendors and of the federation's prime, and put into a pins file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from binder_node import files
from binder_node.artifacts.download import Patience, Web
from binder_node.artifacts.feed import Feeds
from binder_node.artifacts.pins import BUILT_IN, Pins, parse_pins
from binder_node.errors import InputError, Problem, StepError
from binder_node.events import Reporter
from binder_node.host.diff import unified
from binder_node.lifecycle.vendors import Looking, Places, prime_versions
from binder_node.upgrades.numbers import Step
from binder_node.upgrades.offers import BEHIND, Row, groups
from binder_node.upgrades.writing import rewritten

# A feed is a few documents: who looks waits for it.
PATIENCE = Patience(connect=5.0, silence=20.0, attempts=2, pause=1.0)
REACH = "check the network and `https_proxy`; other places are said by --github, --channels, --quay and --prime"
AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Offers:
    """How each component stands, and ``file`` with all that is offered: ``before``, ``after``, and both as a diff."""

    file: Path
    rows: tuple[Row, ...]
    before: str
    after: str
    diff: str

    @property
    def behind(self) -> int:
        """How many components have a newer version within the limits."""
        return sum(row.state in BEHIND for row in self.rows)

    @property
    def unknown(self) -> int:
        """Of how many nothing could be learnt."""
        return sum(row.state == "unknown" for row in self.rows)


def target(pins: Pins) -> Path:
    """The file that pins are changed in: the overlay, else the built-in one, which is the operator's in a checkout.

    Raises InputError where neither is.
    """
    if pins.overlay is not None:
        return pins.overlay
    if not (BUILT_IN.parents[2] / "pyproject.toml").exists():
        wrong = "the built-in pins belong to an installed package"
        raise InputError(Problem("", 0, "--pins", wrong, "name a file of yours, which may be empty at first"))
    return BUILT_IN


def propose(
    pins: Pins, chosen: Iterable[str], within: Step | None, places: Places, report: Reporter, file: Path = BUILT_IN
) -> Offers:
    """What is newer than the pinned versions of ``chosen`` (none: of all), and ``file`` with it.

    A feed that does not answer makes its component's row unknown, and a warning; nothing is raised for it.

    Raises InputError: no such component; ``file`` cannot be read.
    """
    wanted = groups(pins, chosen)
    before = files.text(file, "give a pins file")
    with closing(Web(PATIENCE, reach=REACH)) as web, ThreadPoolExecutor(AT_ONCE, "feed") as pool:
        look = Looking(
            pins, within, places, Feeds(web, places.github, places.token), web, report, prime_versions(places, wanted)
        )
        try:
            found = list(pool.map(look.at, wanted))
        except BaseException:  # Ctrl-C: nothing may go on behind the operator's back
            web.halt.set()
            pool.shutdown(cancel_futures=True)
            raise
    entries = {name: pin for one in found for name, pin in one.entries.items()}
    images = {name: image for one in found for name, image in one.images.items()}
    after = rewritten(before, entries, images)
    parse_pins(tomllib.loads(after), file)
    here = Path.cwd()
    shown = file.resolve().relative_to(here) if file.resolve().is_relative_to(here) else file
    diff = unified(str(shown), before.splitlines(), after.splitlines()) if after != before else ""
    return Offers(file, tuple(one.row for one in found), before, after, diff)


def write(offers: Offers) -> None:
    """Put what is offered into the file. Raises StepError where somebody has changed it meanwhile, or it is not ours
    to write."""
    what = f"write {offers.file}"
    if files.text(offers.file, "give a pins file") != offers.before:
        raise StepError("here", what, "it was changed meanwhile", "run it again")
    try:
        files.replace(offers.file, offers.after.encode(), offers.file.stat().st_mode & 0o777)
    except OSError as error:
        raise StepError("here", what, str(error), "make it and its folder writable") from error
