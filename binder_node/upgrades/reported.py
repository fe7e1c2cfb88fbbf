"""Which versions what runs on a node reports, and whether these are the pinned ones. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from binder_node.artifacts.pins import Pin
from binder_node.layout import BUILDKIT_SOCKET, NAMESPACE, RELEASE
from binder_node.spec.model import NodeStorage, Spec
from binder_node.upgrades.components import component

REGISTRIES, MINIO, BUILDKIT = ("registry-push.service", "registry-pull.service"), "minio.service", "buildkit.service"
CACHE = "registry-cache.service"
NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Reported:
    """By component: what runs, and the version that it says of itself (:data:`NOTHING` where it does not answer)."""

    parts: Mapping[str, Mapping[str, str]]

    def of(self, name: str) -> str:
        """A component's version in a word; more than one where its parts differ."""
        return ", ".join(dict.fromkeys(self.parts.get(name, {}).values())) or NOTHING


def script() -> str:
    """The program that answers :func:`question` on the node."""
    return (files("binder_node.upgrades.on_node") / "versions.py").read_text(encoding="utf-8")


def registries(spec: Spec) -> tuple[str, ...]:
    """Units of the registry's binary."""
    return (*REGISTRIES, *([CACHE] if spec.hub_days else []))


def question(spec: Spec) -> str:
    """The JSON that the script is handed."""
    minios = [MINIO] if isinstance(spec.storage, NodeStorage) else []
    units = [] if spec.central else [*registries(spec), *minios, BUILDKIT]
    asked = {
        "node": spec.name,
        "units": units,
        "buildkit": f"unix://{BUILDKIT_SOCKET}",
        "namespace": NAMESPACE,
        "release": "" if spec.central else RELEASE,
    }
    return json.dumps(asked)


def read(spec: Spec, answer: Mapping[str, Any]) -> Reported:
    """What the script printed, by component."""
    found: dict[str, dict[str, str]] = {"k3s": {"the kubelet": answer["kubelet"] or NOTHING}}
    if spec.central:
        return Reported(found)
    units = answer["units"]
    found["registry"] = {unit.removesuffix(".service"): last_word(units[unit]) for unit in registries(spec)}
    found["buildkit"] = {"buildkitd": buildkit(answer["buildkitd"])}
    found["chart"] = {"the release": answer["chart"] or NOTHING}
    if MINIO in units:
        found["minio"] = {"minio": minio(units[MINIO])}
    return Reported(found)


def last_word(text: str) -> str:
    """Of ``registry --version``: /proc/1/exe github.com/distribution/distribution/v3 v3.1.2"""
    return (text.split() or [NOTHING])[-1]


def buildkit(text: str) -> str:
    """Of ``buildctl debug info``.

    >>> buildkit("BuildKit: github.com/moby/buildkit v0.33.1 0123abcd")
    'v0.33.1'
    """
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["BuildKit:"] and len(words) > 2:
            return words[2]
    return NOTHING


def minio(text: str) -> str:
    """Of ``minio --version``, whatever the name by which it was started.

    >>> minio("exe version RELEASE.2025-09-07T16-13-09Z (commit-id=07c3a429)\\nRuntime: go1.24")
    'RELEASE.2025-09-07T16-13-09Z'
    """
    words = text.split()
    return words[2] if words[1:2] == ["version"] and len(words) > 2 else NOTHING


def is_of(reported: str, pin: Pin) -> bool:
    """Whether what runs is the pin's version, from whichever source it came.

    A module may have a version of its own, and MinIO built from one tells the time in its pseudo-version.
    """
    module = pin.module.version if pin.module else pin.version
    if reported in (pin.version, module):
        return True
    stamp = "".join(letter for letter in reported if letter.isdigit())
    return len(stamp) == len("20260212201848") and f"-{stamp}-" in module


def wrong(reported: Reported, name: str, entries: Mapping[str, Pin]) -> str:
    """Where a component's parts are others than pinned; empty where all are as pinned, or nothing is."""
    first = component(name).pins[0]
    if first not in entries:
        return ""
    pin = entries[first]
    others = [
        f"{part} is {version}" for part, version in reported.parts.get(name, {}).items() if not is_of(version, pin)
    ]
    return f"{', '.join(others)}; the pins say {pin.version}" if others else ""
