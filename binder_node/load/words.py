"""A load, as an operator says it in options, checked and drawn; reads the files that are named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from binder_node import files
from binder_node.binder.repo import parse_repo
from binder_node.errors import InputError, Problem
from binder_node.federation import archive
from binder_node.federation.scenario import UNITS, duration
from binder_node.load.arrivals import Arrival, Habits, cells_of, poisson, ranked, recorded
from binder_node.load.run import Limits
from binder_node.load.user import Patience

ARCHIVED = f"name a file of {archive.URL}"
# Of the archive's thousands of repositories: those below are launched once or twice a day.
MOST_POPULAR = 200


@dataclass(frozen=True, slots=True)
class Wishes:
    """The options of ``load`` by their names; times and rates as texts."""

    repo: Sequence[str] = ()
    popular: Path | None = None
    skew: float = 1.0
    rate: str = "6/m"
    replay: Sequence[Path] = ()
    speed: float = 1.0
    scale: float = 1.0
    seed: int = 0
    stay: str = "5m"
    pause: str = "30s"
    cells: Path | None = None
    closing: float = 0.0
    patience: str = "70m"
    length: str = "10m"
    users: int | None = None
    at_once: int = 500
    grace: str = "2m"

    @property
    def plain(self) -> dict[str, Any]:
        """For the document: texts and numbers, by the options' names."""
        found = asdict(self)
        found["for"] = found.pop("length")
        found["replay"] = [str(path) for path in self.replay]
        return {name: str(value) if isinstance(value, Path) else value for name, value in found.items()}


@dataclass(frozen=True, slots=True)
class Drawn:
    """What is to be played."""

    arrivals: list[Arrival]
    limits: Limits
    patience: Patience


def drawn(wishes: Wishes) -> Drawn:
    """The load that is wished for. Raises InputError for a wrong option, file or line, and for a load of nobody."""
    limits = Limits(
        seconds=duration(wishes.length, "--for"),
        users=wishes.users,
        at_once=wishes.at_once,
        grace=duration(wishes.grace, "--grace"),
    )
    habits = Habits(
        stay=duration(wishes.stay, "--stay"), pause=duration(wishes.pause, "--pause"), closing=wishes.closing
    )
    if not habits.pause:
        raise _wrong("--pause", wishes.pause, "write a time above 0, like 30s")
    patience = Patience(launch=duration(wishes.patience, "--patience"))
    if wishes.cells is not None:
        patience = Patience(launch=patience.launch, cells=_cells(wishes.cells))
    arrivals = _arrivals(wishes, habits, limits)
    if not arrivals:
        raise _wrong("--for", wishes.length, "nobody comes within it: say a longer time, or a higher rate")
    return Drawn(arrivals, limits, patience)


def rate(text: str, option: str) -> float:
    """Users a second of ``0.5/s``, ``6/m``, ``400/h``. Raises InputError for anything else.

    >>> rate("6/m", "--rate")
    0.1
    """
    number, _, unit = text.partition("/")
    if unit in UNITS and number.replace(".", "", 1).isdigit() and float(number) > 0:
        return float(number) / UNITS[unit]
    raise _wrong(option, text, "write users in a time, like 0.5/s, 6/m or 400/h")


def _arrivals(wishes: Wishes, habits: Habits, limits: Limits) -> list[Arrival]:
    assert limits.seconds is not None
    if wishes.replay:
        if wishes.repo or wishes.popular:
            raise InputError(Problem("", 0, "--replay", "says what is launched", "leave --repo and --popular out"))
        lines = [line for path in wishes.replay for line in files.text(path, ARCHIVED).splitlines()]
        names = ", ".join(map(str, wishes.replay))
        return recorded(
            lines,
            names,
            habits,
            speed=wishes.speed,
            scale=wishes.scale,
            seconds=limits.seconds,
            most=limits.users,
            seed=wishes.seed,
        )
    return poisson(
        _popularity(wishes),
        habits,
        rate=rate(wishes.rate, "--rate"),
        seconds=limits.seconds,
        most=limits.users,
        seed=wishes.seed,
    )


def _popularity(wishes: Wishes) -> dict[str, float]:
    if wishes.popular is not None:
        if wishes.repo:
            raise InputError(Problem("", 0, "--popular", "says what is launched", "leave --repo out"))
        found = archive.popular(archive.launched(files.text(wishes.popular, ARCHIVED).splitlines()), MOST_POPULAR)
        if not found:
            raise InputError(Problem(str(wishes.popular), 0, "", "has no launches", ARCHIVED))
        return {one.path: float(one.launches) for one in found}
    if not wishes.repo:
        raise InputError(Problem("", 0, "--repo", "nothing to launch", "say --repo, --popular or --replay"))
    return ranked([parse_repo(repo) for repo in wishes.repo], wishes.skew)


def _cells(path: Path) -> tuple[str, ...]:
    found = cells_of(files.text(path, "name a Python file"))
    if not found:
        raise InputError(Problem(str(path), 0, "", "has no code", "part its cells by lines that begin with # %%"))
    return found


def _wrong(option: str, text: str, right: str) -> InputError:
    return InputError(Problem("", 0, option, repr(text), right))
