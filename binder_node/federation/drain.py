"""A member taken out of rotation by its quota: the redirector leaves out one that is full. Pure.

The quota before stands behind the zero, as a comment, so that it can be put back byte for byte.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ruamel.yaml.nodes import ScalarNode

from binder_node.federation import yamltext
from binder_node.federation.yamltext import Text
from binder_node.spec.keys import Key

QUOTA: Key = ("binderhub", "quota")  # in an inventory
MARK = "  # drained by binder-node; before: "
DEFAULT, ALONE = "the default", "no such section"
# JupyterHub's culler of the federation (values/base.yaml): the longest that a session lasts, and an idle one's end.
MAX_AGE, IDLE = 21600.0, 600.0


@dataclass(frozen=True, slots=True)
class Session:
    """A user's pod, ``age`` seconds old."""

    name: str
    age: float


@dataclass(frozen=True, slots=True)
class Left:
    """Sessions that are left, and the seconds until the last one's end: the ``likely`` ones and the most."""

    sessions: int
    likely: float
    most: float


def drained(text: str, file: str, key: Key = QUOTA) -> str:
    """``text`` with 0 for the quota at ``key``, and what it was behind it; as it is where it is 0 already.

    Raises:
        InputError: the quota, or its section, stands on a line with others.
    """
    source = Text(text, file)
    value = yamltext.scalar(source, key)
    if value is None:
        return _with_entry(source, key)
    if value == "0":
        return text
    zero = yamltext.replaced(source, key, "0")
    end = _end(zero, key)
    rest = zero.text[end:].partition("\n")[0].strip()
    if rest and not rest.startswith("#"):
        raise source.problem(end, key, "shares its line with others", "write one key a line")
    return f"{zero.text[:end]}{MARK}{value}{zero.text[end:]}"


def undrained(text: str, file: str, key: Key = QUOTA, quota: int | None = None) -> str:
    """``text`` with the quota that it had before, or with ``quota``; as it is where nothing was drained.

    Raises:
        InputError: it is 0 by somebody else's hand, and ``quota`` was not said.
    """
    source = Text(text, file)
    if yamltext.scalar(source, key) != "0":
        return text
    end = _end(source, key)
    row = text[end:].partition("\n")[0].rstrip("\r")
    before = _before(row)
    if quota is None and not before:
        raise source.problem(end, key, "is 0, and nothing says what it was before", "say --quota")
    whole = row[: len(MARK) + len(before)] if before else ""
    bare = source.with_text(text[:end] + text[end + len(whole) :])
    if quota is not None or before not in (DEFAULT, ALONE):
        return yamltext.replaced(bare, key, before if quota is None else str(quota)).text
    start, end = _line(bare.text, end)
    if before == ALONE:
        start = _line(bare.text, start - 1)[0]
    return bare.text[:start] + bare.text[end:]


def _before(row: str) -> str:
    """What the mark at the start of ``row`` says; empty where there is none."""
    if not row.startswith(MARK):
        return ""
    rest = row.removeprefix(MARK)
    whole = next((words for words in (DEFAULT, ALONE) if rest.startswith(words)), "")
    return whole or next(iter(rest.split()), "")


def _end(source: Text, key: Key) -> int:
    node = yamltext.find(source, key)
    assert isinstance(node, ScalarNode)  # its value was read just now
    return int(node.end_mark.index)


def _with_entry(source: Text, key: Key) -> str:
    """The quota where the file says none: the first line of its section, or a section of its own at the end."""
    text, name = source.text, f"{key[-1]}: 0{MARK}"
    section = yamltext.find(source, key[:-1])
    if section is None and len(key) == 2:
        newline = source.newline
        whole = text if text.endswith("\n") or not text else f"{text}{newline}"
        return f"{whole}{key[0]}:{newline}  {name}{ALONE}{newline}"
    if section is None:
        raise source.problem(0, key, "is not there", f"write it, with {key[-1]}: 0")
    first = yamltext.mapping(source, key[:-1]).value[0][0].start_mark
    above = _line(text, text.rfind(f"{key[-2]}:", 0, first.index))[1]
    return f"{text[:above]}{' ' * first.column}{name}{DEFAULT}{source.newline}{text[above:]}"


def _line(text: str, index: int) -> tuple[int, int]:
    """Where the line that ``index`` is in begins, and where the next one does."""
    end = text.find("\n", index)
    return text.rfind("\n", 0, index) + 1, len(text) if end < 0 else end + 1


def sessions(pods: Mapping[str, Any], now: datetime) -> list[Session]:
    """Users' sessions in a list of pods as Kubernetes gives it, oldest first; those that have ended left out."""
    found = []
    for pod in pods["items"]:
        if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
            began = datetime.fromisoformat(pod["metadata"]["creationTimestamp"].replace("Z", "+00:00"))
            found.append(Session(str(pod["metadata"]["name"]), max(0.0, (now - began).total_seconds())))
    return sorted(found, key=lambda one: -one.age)


def left(found: Sequence[Session], max_age: float = MAX_AGE) -> Left:
    """When the last of ``found`` will have ended, given that no others begin. ``max_age`` is the culler's, 0: none.

    At the most when the youngest is culled for its age. Likely: sessions that end at random, as often at any age, and
    of which none began since the youngest did, last as much longer on average as they are older than it on average;
    the last of n then ends after that times 1 + 1/2 + ... + 1/n. An idle one lasts ten minutes at least.
    """
    if not found:
        return Left(0, 0.0, 0.0)
    youngest = min(one.age for one in found)
    mean = max(IDLE, math.fsum(one.age for one in found) / len(found) - youngest)
    likely = mean * math.fsum(1 / number for number in range(1, len(found) + 1))
    most = max(0.0, max_age - youngest) if max_age else math.inf
    return Left(len(found), min(likely, most), most)
