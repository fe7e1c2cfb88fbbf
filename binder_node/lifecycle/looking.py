"""Nodes looked at side by side, each from several sides at once: what it lacks, how it serves, how busy it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from binder_node import files
from binder_node.artifacts.store import Sources
from binder_node.cluster.tls import trust
from binder_node.errors import BinderNodeError, DeadlineError, InputError, Problem, StepError
from binder_node.events import Reporter
from binder_node.federation import ask
from binder_node.federation.config import CHART, Federation, Member, around, joined, member_at, same
from binder_node.fleet import report as pages
from binder_node.fleet.look import Look, kept
from binder_node.lifecycle import rotating, verbs
from binder_node.lifecycle.opened import Opened, access_of, open_node, open_spec
from binder_node.load.machine import watching
from binder_node.load.result import Machine, Sample

# Nodes at once: each takes a handful of connections.
AT_ONCE = 8
# The program on the node tells its first line a second after it begins; a node that is busy is slower.
SAMPLE_SECONDS, EVERY = 20.0, 1.0
# The redirector asks up to five times before it leaves a member out; who looks again and again need not.
RETRIES = 2


@dataclass(frozen=True, slots=True)
class Asked:
    """``nodes`` are names or inventories. ``prime``: whose versions members of a federation have to have."""

    nodes: Sequence[str]
    pins: Path | None
    sources: Sources
    prime: str


def inventories(folder: Path = Path("inventories")) -> list[str]:
    """Every inventory of the usual folder, by its path. Raises InputError where there is none."""
    found = sorted(str(path) for path in folder.glob("*.yaml"))
    if not found:
        right = "say the nodes, or go to the folder that has inventories/"
        raise InputError(Problem("", 0, "--all", f"{folder}/ has no inventory", right))
    return found


def look_at_all(asked: Asked, report: Reporter) -> list[Look]:
    """A look at each node, in their order. What cannot be seen of one is in its look; nothing is raised for it."""
    with ThreadPoolExecutor(AT_ONCE, "look") as pool:
        return list(pool.map(lambda node: look(node, asked, report), asked.nodes))


def look(node: str, asked: Asked, report: Reporter) -> Look:
    """One node, its parts side by side. A part that cannot be seen is a trouble of the look's."""
    at, began = time.time(), time.monotonic()
    try:
        opened = open_spec(node, asked.pins)
    except BinderNodeError as error:
        return Look(node=Path(node).stem, at=at, troubles=(_line(error, Path(node).stem),))
    spec = opened.spec
    parts: list[Callable[[], dict[str, Any]]] = [
        lambda: _stages(opened, asked, report),
        lambda: _served(opened, asked.prime),
        lambda: _sampled(opened),
    ]
    with ThreadPoolExecutor(len(parts), spec.name) as pool:
        found = list(pool.map(lambda part: _tried(part, spec.name), parts))
    fields = {name: value for told, _ in found for name, value in told.items()}
    troubles = tuple(dict.fromkeys(trouble for _, trouble in found if trouble))
    took = round(time.monotonic() - began, 2)
    return Look(node=spec.name, at=at, took=took, url=spec.url(spec.names.binder), troubles=troubles, **fields)


def _tried(part: Callable[[], dict[str, Any]], name: str) -> tuple[dict[str, Any], str]:
    try:
        return part(), ""
    except BinderNodeError as error:
        return {}, _line(error, name)


def _line(error: BinderNodeError, name: str) -> str:
    """An error in one line, without the node that it is told of: a machine that is away is told alike by each part."""
    return str(error).splitlines()[0].removeprefix(f"{name}: ")


def _stages(opened: Opened, asked: Asked, report: Reporter) -> dict[str, Any]:
    access_of(opened)  # a node that was never made needs no artifacts to say so
    node = open_node(opened, report, sources=asked.sources, write=False)
    seen = verbs.status(node, report)
    days = [item.days for item in seen["certificates"] if item.days is not None]
    backups = seen["stages"].get("backup", {}).get("seen")
    last = getattr(backups, "last", None)
    stands = rotating.standing(opened.inventory, asked.pins) if opened.spec.replaces or node.successor else None
    return {
        "changes": {name: len(stage["changes"]) for name, stage in seen["stages"].items()},
        "certificate": min(days, default=None),
        "backup": round((datetime.now(UTC) - last.taken).total_seconds() / 3600, 2) if last else None,
        "rotation": f"rotation from {stands.old} to {stands.new}: {stands.sentence}" if stands else "",
    }


def _served(opened: Opened, prime: str) -> dict[str, Any]:
    """As the redirector sees it, at the machine's own address."""
    spec = opened.spec
    way = ask.Way({spec.names.binder: access_of(opened)[1]}, trust(spec))
    own = member_at(spec.federation.member or spec.name, spec.url(spec.names.binder), spec.federation.weight or 1)
    federation = _federation(own, prime if spec.federation.member else "")
    name = same(federation, own).name
    [checked] = ask.check(federation, [name], way=way)
    pods, quota = checked.pods or (None, None)
    verdict = checked.verdict
    return {
        "inside": verdict.inside,
        "reasons": tuple(verdict.reasons),
        "pods": pods,
        "quota": quota,
        "answer": round(checked.slowest, 3),
    }


def _federation(own: Member, prime: str) -> Federation:
    """The node among others. One that is no member is held against itself, so that versions are no reason, and need not
    keep pods free: nobody would be sent elsewhere.
    """
    found = joined(around(prime), own) if prime else Federation((replace(own, prime=True),), replace(CHART, headroom=0))
    return replace(found, rules=replace(found.rules, retries=RETRIES))


def _sampled(opened: Opened) -> dict[str, Any]:
    spec = opened.spec
    access, _ = access_of(opened)
    first = threading.Event()
    samples: list[Sample] = []

    def told(sample: Sample) -> None:
        samples.append(sample)
        first.set()

    machine = Machine(name=spec.name)
    with watching(access, machine, str(spec.machine.state), time.monotonic(), told, every=EVERY) as watched:
        ends = time.monotonic() + SAMPLE_SECONDS
        while not first.wait(0.1) and not watched.machine.error and time.monotonic() < ends:
            pass
        seen = watched.machine
    if seen.error:
        raise StepError(spec.name, "see how busy it is", seen.error, "`binder-node smoke` tells more")
    if not samples:
        raise DeadlineError(spec.name, "a look at how busy it is", SAMPLE_SECONDS)
    one = samples[0]
    return {
        "cpu": one.cpu,
        "cpus": seen.cpus,
        "memory": one.memory,
        "memory_all": seen.memory,
        "disk": one.disk,
        "disk_all": seen.disk,
        "users": one.users,
        "builds": one.builds,
    }


def remembered(file: Path) -> list[Look]:
    """The looks in the page that is there; none where there is no file yet.

    Raises InputError for a file that is no such page: it is not written over.
    """
    if not file.exists():
        return []
    right = "name a file that is not there yet, or was written by `status --html`"
    try:
        return pages.read(files.text(file, right))
    except ValueError as error:
        raise InputError(Problem(str(file), 0, "--html", str(error), right)) from None


def write_page(file: Path, looks: Sequence[Look], *, refresh: float = 0) -> list[Look]:
    """Write the page of ``looks``, as a whole; those that are kept in it. Raises InputError where that cannot be."""
    left = kept(looks, time.time())
    try:
        files.replace(file, pages.html(left, refresh=refresh).encode(), 0o644)
    except OSError as error:
        right = "name a file in a folder that you may write"
        raise InputError(Problem(str(file), 0, "--html", f"cannot be written: {error.strerror}", right)) from None
    return left
