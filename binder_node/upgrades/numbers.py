"""Version numbers of everything that is pinned: which is newer, and by how much. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Step = Literal["patch", "minor", "major"]
STEPS: tuple[Step, ...] = ("patch", "minor", "major")
# v1.35.8+k3s1, v0.33.1, 2026.4.1
PLAIN = re.compile(r"(?P<v>v?)(\d+)\.(\d+)\.(\d+)(?:\+k3s(?P<build>\d+))?")
# Builds between two releases: chartpress' 1.0.0-0.dev.git.3983.h383374de, setuptools-scm's 2026.4.1.dev44-g97bb4e45a.
# Both are named after the release that they go before.
BETWEEN = re.compile(r"(?P<v>v?)(\d+)\.(\d+)\.(\d+)(?:-0\.dev\.git\.(\d+)\.h[0-9a-f]+|\.dev(\d+)(?:-g[0-9a-f]+)?)")
# MinIO's: RELEASE.2025-09-07T16-13-09Z
DATE = re.compile(r"RELEASE\.(\d{4})-(\d\d)-(\d\d)T(\d\d)-(\d\d)-(\d\d)Z")
# From here on a first number is a year.
YEARS = 2000


@dataclass(frozen=True, slots=True, order=True)
class Number:
    """Numbers of one ``family`` can be compared. ``between``: it is a build between two releases."""

    family: str
    parts: tuple[int, ...]
    between: bool = False


def read(version: str) -> Number | None:
    """None for what is no release's number, or one of a kind that nothing pinned has: candidates, branches.

    >>> read("v1.35.8+k3s1").parts, read("1.0.0-0.dev.git.3983.h383374de").parts
    ((1, 35, 8, 1, 1), (1, 0, 0, 0, 3983))
    >>> read("v1.36.0-rc1+k3s1"), read("latest")
    (None, None)
    """
    if found := PLAIN.fullmatch(version):
        build = found["build"]
        family = found["v"] + ("k3s" if build else "")
        return Number(family, (*_ints(found.group(2, 3, 4)), 1, int(build or 0)))
    if found := BETWEEN.fullmatch(version):
        count = next(int(group) for group in found.group(5, 6) if group)
        return Number(found["v"], (*_ints(found.group(2, 3, 4)), 0, count), between=True)
    if found := DATE.fullmatch(version):
        return Number("date", _ints(found.groups()))
    return None


def _ints(groups: tuple[str | None, ...]) -> tuple[int, ...]:
    return tuple(int(group or 0) for group in groups)


def step(old: Number, new: Number) -> Step:
    """How far it is from ``old`` to a newer number of its family.

    A build between releases has whatever was merged by then: it is no patch. Dates and years tell nothing of what
    changed: a minor step.
    """
    if old.family == "date" or old.parts[0] >= YEARS:
        return "minor"
    if old.parts[0] != new.parts[0]:
        return "major"
    return "minor" if old.parts[1] != new.parts[1] or old.between or new.between else "patch"
