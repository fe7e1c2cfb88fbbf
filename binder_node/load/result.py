"""The document of a load: everything that was seen, as one JSON file. Reports and comparisons are made of it alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from binder_node import files
from binder_node.errors import InputError, Problem
from binder_node.load.visit import Visit

KIND, VERSION = "binder-node-load", 1


class Sample(BaseModel):
    """A look at a node, ``at`` seconds from the load's beginning.

    ``cpu``: the share of all its cores that was busy since the look before, 0 to 1; ``waiting``: the share that waited
    for the disk. Bytes for ``memory`` (in use: what is neither free nor reclaimable) and ``disk`` (the state folder's
    filesystem). ``users``, ``builds`` and ``others`` are pods in every phase; ``starting`` those of users that do not
    run yet.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: float
    cpu: float
    waiting: float = 0.0
    load: float = 0.0
    memory: int
    disk: int
    users: int | None = None
    starting: int | None = None
    builds: int | None = None
    others: int | None = None


class Machine(BaseModel):
    """A node that was looked at: its size, as it says itself, and its limits, as its inventory has them.

    ``error`` says why there are no more samples.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    cpus: int = 0
    memory: int = 0
    disk: int = 0
    quota: int | None = None
    max_pods: int | None = None
    builds: int | None = None
    guarantee: int | None = None
    type: str = ""
    samples: tuple[Sample, ...] = ()
    error: str = ""


class Result(BaseModel):
    """One load. ``started``: UTC, ISO 8601. ``seconds``: how long all of it took, leaving included; ``arriving``: how
    long users came. ``settings``: what was asked for, by the options' names. ``versions``: what BinderHub said it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["binder-node-load"] = "binder-node-load"
    version: Literal[1] = 1
    tool: str
    target: str
    url: str
    federation: bool = False
    started: str
    seconds: float
    arriving: float
    stopped: Literal["plan", "time", "interrupted"]
    settings: dict[str, Any] = {}
    versions: dict[str, Any] = {}
    machines: tuple[Machine, ...] = ()
    visits: tuple[Visit, ...] = ()


def write(result: Result, path: Path) -> None:
    """Write the document at ``path``, as a whole. Raises InputError where that cannot be."""
    put(path, result.model_dump_json(indent=1) + "\n")


def put(path: Path, text: str) -> None:
    """Write ``text`` at ``path``, as a whole. Raises InputError where that cannot be."""
    try:
        files.replace(path, text.encode(), 0o644)
    except OSError as error:
        right = "name a file in a folder that you may write"
        raise InputError(Problem(str(path), 0, "", f"cannot be written: {error.strerror}", right)) from None


def read(path: Path) -> Result:
    """The document at ``path``. Raises InputError, with every place that is wrong, where it is none."""
    right = "name a file that `binder-node load --report` wrote (.json)"
    try:
        found = json.loads(files.text(path, right))
    except ValueError as error:
        raise InputError(Problem(str(path), 0, "", f"is no JSON: {error}", right)) from None
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise InputError(Problem(str(path), 0, "kind", f"is not {KIND}", right))
    if found.get("version") != VERSION:
        wrong = f"{found.get('version')!r} is another version's"
        raise InputError(Problem(str(path), 0, "version", wrong, f"this binder-node reads version {VERSION}"))
    try:
        return Result.model_validate(found)
    except ValidationError as error:
        problems = [
            Problem(str(path), 0, ".".join(map(str, one["loc"])), one["msg"], "") for one in error.errors()[:20]
        ]
        raise InputError(*problems) from None
