"""The components whose versions move one at a time: which pins make each, and which of them are others than run. Pure.

What a node was made of lies on it (:data:`binder_node.layout.PINS`): that, not a file here, says what it goes back to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from textwrap import shorten
from typing import NamedTuple

from binder_node.artifacts.model import Artifact
from binder_node.artifacts.pins import Pin, Pins, PinsFile

# Why a component keeps its version: what only waits goes on with the next `upgrade`; what failed begins with the
# version that did, and is tried again when another one is pinned.
WAITS = "it waits for "
# Letters of it: a unit's log can be in it.
WHY = 300
TURN = f"{WAITS}its turn in `binder-node upgrade`"
HEAD = "# {what}; written by `binder-node upgrade`, read by every command. Commit it."
RECORD = "# What this node was made of: the pins of the last `up`, or of the last upgrade that smoke let pass.\n"


@dataclass(frozen=True, slots=True)
class Component:
    """``pins`` are those that move together, the one with its version first. ``images``: the pinned container images
    move with it. ``ends_builds``: builds under way end when it restarts."""

    name: str
    pins: tuple[str, ...]
    images: bool = False
    ends_builds: bool = False


# From the bottom up. Helm is the operator's tool; tarballs of other images belong to nothing that runs.
COMPONENTS = (
    Component("registry", ("registry",)),
    Component("minio", ("minio",)),
    Component("buildkit", ("buildkitd", "buildctl", "cni-bridge", "cni-host-local", "cni-loopback"), ends_builds=True),
    Component("k3s", ("k3s", "k3s-images"), ends_builds=True),
    Component("chart", ("binderhub-chart",), images=True),
)
NAMES = tuple(component.name for component in COMPONENTS)


class Move(NamedTuple):
    """A component that runs one version while another is pinned."""

    component: Component
    old: str
    new: str


def component(name: str) -> Component:
    """Raises KeyError for a name that there is not."""
    return {item.name: item for item in COMPONENTS}[name]


def sealed(entries: Mapping[str, Pin], artifacts: Mapping[str, Artifact]) -> dict[str, Pin]:
    """The pins of ``artifacts``; those that are files of the operator's with the digest of what lies there now."""
    found = {}
    for name, artifact in artifacts.items():
        pin = entries[name]
        if pin.file is not None:
            pin = pin.model_copy(update={"file": pin.file.model_copy(update={"sha256": artifact.sha256})})
        found[name] = pin
    return found


def same(one: Pin, other: Pin) -> bool:
    """Whether two pins are of one thing: the order of sources, and where a file of that digest lies, do not matter."""
    return _essence(one) == _essence(other)


def _essence(pin: Pin) -> tuple[object, ...]:
    if pin.file is not None:
        return pin.version, pin.file.sha256
    return pin.version, pin.release, pin.module


def moves(record: PinsFile, entries: Mapping[str, Pin], images: Mapping[str, str]) -> list[Move]:
    """What is pinned otherwise than it was made, from the bottom up; ``entries`` are :func:`sealed`.

    A component of which the record knows nothing is new: `up` makes it.
    """
    found = []
    for item in COMPONENTS:
        first = item.pins[0]
        if first not in record.entries or first not in entries:
            continue
        others = [
            name
            for name in item.pins
            if name in entries and not (name in record.entries and same(record.entries[name], entries[name]))
        ]
        if others or (item.images and dict(images) != dict(record.images)):
            found.append(Move(item, record.entries[first].version, entries[first].version))
    return found


def kept(record: PinsFile, held: Mapping[str, str]) -> str:
    """The text of ``NODE.held.toml``: each component in ``held`` (name: why) as the record has it; empty for none."""
    entries: dict[str, Pin] = {}
    images: dict[str, str] = {}
    for name, why in held.items():
        item = component(name)
        entries |= {
            pin: record.entries[pin].model_copy(update={"held": why}) for pin in item.pins if pin in record.entries
        }
        images |= dict(record.images) if item.images else {}
    return written(entries, images, HEAD.format(what="Versions that this node keeps for now")) if held else ""


def written(entries: Mapping[str, Pin], images: Mapping[str, str], head: str) -> str:
    """A pins file in TOML, ``head`` its first line."""
    import tomlkit

    tables: dict[str, object] = {"images": dict(images)} if images else {}
    for name, pin in entries.items():
        tables[name] = pin.model_dump(mode="json", exclude_defaults=True)
    return f"{head.rstrip()}\n\n{tomlkit.dumps(tables)}"


def record_of(pins: Pins, artifacts: Mapping[str, Artifact]) -> str:
    """What is written to the node: the pins of all that it is made of, its chart and build image included."""
    on_node = {name: artifact for name, artifact in artifacts.items() if name != "helm"}
    entries = {name: pin.model_copy(update={"held": ""}) for name, pin in sealed(pins.entries, on_node).items()}
    return written(entries, pins.images, RECORD)


def with_chart(record: PinsFile, pins: Pins, artifacts: Mapping[str, Artifact]) -> str:
    """The record's text with the chart and the images that are pinned: a release alone was made so."""
    [item] = [item for item in COMPONENTS if item.images]
    own = sealed(pins.entries, {name: artifacts[name] for name in item.pins})
    entries = {name: pin.model_copy(update={"held": ""}) for name, pin in own.items()}
    return written({**record.entries, **entries}, pins.images, RECORD)


def held_in(entries: Mapping[str, Pin]) -> dict[str, str]:
    """Why which component is held, by its name."""
    return {
        item.name: entries[item.pins[0]].held
        for item in COMPONENTS
        if item.pins[0] in entries and entries[item.pins[0]].held
    }


def failed(version: str, why: str) -> str:
    """Why a component is held whose ``version`` was taken back: a line, which every command shows.

    >>> failed("v4", "registry.version:\\n it is v5")
    'v4 failed: registry.version: it is v5'
    """
    return shorten(f"{version} failed: {why}", WHY, placeholder=" ...")


def lasting(held: Mapping[str, str], entries: Mapping[str, Pin]) -> dict[str, str]:
    """Of what is held, what failed in the very version that is pinned (``entries``: without what is held)."""
    return {
        name: why
        for name, why in held.items()
        if not why.startswith(WAITS) and why.split()[0] == entries[component(name).pins[0]].version
    }


def unheld(pins: Pins, now: Pins, lift: Iterable[str]) -> Pins:
    """``pins``, which are without what is held, with what of it lasts but for the components in ``lift``; ``now`` are
    those with all of it."""
    keep = [name for name in lasting(held_in(now.entries), pins.entries) if name not in set(lift)]
    own = {pin: now.entries[pin] for name in keep for pin in component(name).pins if pin in now.entries}
    images = now.images if any(component(name).images for name in keep) else pins.images
    return replace(pins, entries={**pins.entries, **own}, images=images)


def edited(text: str, entries: Mapping[str, Pin]) -> str:
    """A pins file's text with these tables in place of, with their comments, or after those that are there."""
    return merged(text, written(entries, {}, "#"))


def merged(text: str, more: str) -> str:
    """A pins file's text with the tables of another in place of, or after, its own; images one by one."""
    import tomllib

    import tomlkit

    document = tomlkit.parse(text)
    for name, table in tomllib.loads(more).items():
        old = document.get(name, {}) if name == "images" else {}
        document[name] = tomlkit.item({**old, **table})
    return tomlkit.dumps(document)
