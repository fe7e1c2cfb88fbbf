"""What went into what a node did, by part: two looks of :mod:`binder_node.capacity.on_node.parts`, compared. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

# Parts that are told by name; what is less than this share of all stands together.
LEAST_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Looked:
    """A node's core-seconds so far: ``busy`` of the whole machine, ``parts`` by program. ``memory`` and ``total``:
    bytes, in use and in all. ``at``: the node's own monotonic seconds."""

    at: float
    cpus: int
    busy: float
    memory: int
    total: int
    parts: Mapping[str, float]


def script() -> str:
    """The text of the script that looks."""
    return (files("binder_node.capacity.on_node") / "parts.py").read_text(encoding="utf-8")


def looked(text: str) -> Looked:
    """Raises ValueError or TypeError where ``text`` is not what the script prints."""
    return Looked(**json.loads(text))


@dataclass(frozen=True, slots=True)
class Spent:
    """Between two looks: ``seconds`` passed, ``cpu`` is the share of all cores that was busy, ``parts`` core-seconds by
    program, the most first, small ones together as ``others``."""

    seconds: float
    cpu: float
    parts: dict[str, float]


def spent(before: Looked, after: Looked) -> Spent:
    """What was used between; a program that has ended meanwhile counts for nothing here, but with who waited."""
    seconds = after.at - before.at
    used = {name: after.parts[name] - before.parts.get(name, 0.0) for name in after.parts}
    used = {name: value for name, value in used.items() if value > 0}
    whole = sum(used.values())
    told = {name: round(value, 2) for name, value in used.items() if value >= LEAST_SHARE * whole}
    ranked = dict(sorted(told.items(), key=lambda item: (-item[1], item[0])))
    others = round(whole - sum(told.values()), 2)
    cpu = (after.busy - before.busy) / (seconds * after.cpus) if seconds else 0.0
    return Spent(round(seconds, 2), round(cpu, 3), {**ranked, **({"others": others} if others else {})})
