"""What is kept of what nft and Kubernetes say. Pure: their JSON in, plain values out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from itertools import pairwise
from typing import Any

# As JupyterHub (kubespawner) and BinderHub (build.py) label their pods.
COMPONENTS = {"singleuser-server": "session", "binderhub-build": "build"}


@dataclass(frozen=True)
class Pod:
    """``kind`` is ``session``, ``build`` or ``system``; ``repo`` and ``ref`` are empty where it has none."""

    namespace: str
    name: str
    uid: str
    kind: str
    address: str = ""
    repo: str = ""
    ref: str = ""

    def who(self) -> dict[str, Any]:
        """As it stands in records."""
        told = asdict(self)
        return {"kind": told.pop("kind"), "pod": told.pop("name"), **{key: told[key] for key in ("repo", "ref")}}


def pod(found: Mapping[str, Any]) -> Pod:
    """A pod from the API's object. BinderHub tells a session its repository by its environment, a build by an
    annotation and its command line."""
    about, spec = found["metadata"], found.get("spec") or {}
    containers = spec.get("containers") or [{}]
    environment = {one["name"]: one.get("value") or "" for one in containers[0].get("env") or ()}
    arguments = [*(containers[0].get("command") or ()), *(containers[0].get("args") or ())]
    after = dict(pairwise(arguments))
    return Pod(
        about.get("namespace") or "",
        about["name"],
        about.get("uid") or "",
        COMPONENTS.get((about.get("labels") or {}).get("component") or "", "system"),
        (found.get("status") or {}).get("podIP") or "" if not spec.get("hostNetwork") else "",
        (about.get("annotations") or {}).get("binder-repo") or environment.get("BINDER_REPO_URL", ""),
        environment.get("BINDER_REF_URL", "") or after.get("--ref", ""),
    )


def state(found: Mapping[str, Any]) -> str:
    """How a pod is, in one line: ``Running``, ``Failed; builder: OOMKilled, exit 137``."""
    status = found.get("status") or {}
    said = [": ".join(filter(None, (status.get("phase") or "Unknown", status.get("reason"))))]
    for container in status.get("containerStatuses") or ():
        for what in ("waiting", "terminated"):
            now = (container.get("state") or {}).get(what)
            if now:
                code = f", exit {now['exitCode']}" if what == "terminated" else ""
                said.append(f"{container['name']}: {now.get('reason') or what}{code}")
    return "; ".join(said)


def event(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """What Kubernetes' event says of a pod; None for one that is about something else."""
    about = found.get("involvedObject") or {}
    if about.get("kind") != "Pod":
        return None
    at = found.get("lastTimestamp") or found.get("eventTime") or (found.get("metadata") or {}).get("creationTimestamp")
    return {
        "at": short(at or ""),
        "kind": "event",
        "pod": about.get("name") or "",
        "reason": found.get("reason") or "",
        "message": (found.get("message") or "")[:500],
    }


def short(at: str) -> str:
    """A time of the API's to the second: ``2026-11-21T20:00:00.123456Z`` -> ``2026-11-21T20:00:00Z``."""
    return at[:19] + "Z" if len(at) > 20 else at


def stamp(seconds: float) -> str:
    """Seconds of the clock as UTC, to the second."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")  # noqa: UP017 - Python 3.10


Key = tuple[str, ...]


def elements(document: Mapping[str, Any]) -> dict[Key, tuple[int, int]]:
    """The set in nft's JSON: an element's parts (source, or source, address, port), its packets, the seconds left."""
    found: dict[str, Any] = next((item["set"] for item in document["nftables"] if "set" in item), {})
    told = {}
    for item in found.get("elem", ()):
        about = item["elem"]
        value = about["val"]
        parts = value["concat"] if isinstance(value, dict) else [value]
        told[tuple(map(str, parts))] = (about.get("counter", {}).get("packets", 0), about.get("expires", 0))
    return told


def counters(document: Mapping[str, Any]) -> dict[str, int]:
    """Packets of each named counter in nft's JSON."""
    found = [item["counter"] for item in document["nftables"] if "counter" in item]
    return {one["name"]: one["packets"] for one in found}


def added(totals: Mapping[str, int], before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, int]:
    """``totals`` with what was counted since; a counter that is lower than before has begun anew.

    >>> added({"mail": 10}, {"mail": 4}, {"mail": 6}), added({"mail": 10}, {"mail": 4}, {"mail": 1})
    ({'mail': 12}, {'mail': 11})
    """
    grown = {
        name: count - before.get(name, 0) if count >= before.get(name, 0) else count for name, count in now.items()
    }
    return {name: totals.get(name, 0) + grown.get(name, 0) for name in {**totals, **now}}


def builders(pods: Iterable[Pod], command: str, logs: Mapping[str, str]) -> list[Pod]:
    """The builds that a step with ``command`` may be of: all that run, or those whose log (by pod) has the command.

    BuildKit does not tell whose a step is. Where one build runs, it is that one's.
    """
    running = [pod for pod in pods if pod.kind == "build"]
    if len(running) < 2 or not command:
        return running
    first = command.strip().splitlines()[0]
    return [pod for pod in running if first in logs.get(pod.name, "")] or running
