"""Releases of components: numbers compared, K3s's channels read, a pin turned to another version. Pure."""

from __future__ import annotations

import json
import re
from typing import NamedTuple
from urllib.parse import quote

from binder_node.artifacts.pins import ModulePin, Pin, ReleasePin
from binder_node.upgrades import numbers


class Number(NamedTuple):
    """A K3s release: Kubernetes' three numbers, and K3s's own."""

    major: int
    minor: int
    patch: int
    build: int


def number(version: str) -> Number | None:
    """None for what is no release of K3s: release candidates are none.

    >>> number("v1.35.8+k3s1"), number("v1.36.0-rc1+k3s1"), number("v3.1.2")
    (Number(major=1, minor=35, patch=8, build=1), None, None)
    """
    kubernetes, _, own = version.removeprefix("v").partition("+k3s")
    parts = [*kubernetes.split("."), own]
    if len(parts) != 4 or not all(part.isdecimal() for part in parts):
        return None
    return Number(*map(int, parts))


def refused(old: str, new: str) -> str:
    """Why K3s is not taken from ``old`` to ``new`` on a node that works; empty where it may be.

    Kubernetes' data are not read by an older minor release, so that there is no way back by itself
    (https://kubernetes.io/releases/version-skew-policy/): a new machine is the better way.
    """
    one, other = number(old), number(new)
    if one is None or other is None:
        return f"{new if other is None else old} is no release's number"
    if one[:2] != other[:2]:
        return f"from {old} to {new} there is no way back, since Kubernetes cannot read newer data"
    return ""


def newest_patch(channels: str, version: str) -> str:
    """The newest release of ``version``'s minor one in K3s's list of channels; empty where none is newer.

    Raises:
        ValueError: the answer has another form, ``version`` is no release's number, or its minor has no channel.
    """
    own = number(version)
    if own is None:
        raise ValueError(f"{version} is no release's number")
    name = f"v{own.major}.{own.minor}"
    latest = latest_by_channel(channels).get(name, "")
    newest = number(latest)
    if newest is None or newest[:2] != own[:2]:
        raise ValueError(f"it has no release in a channel {name}")
    return latest if newest > own else ""


def latest_by_channel(channels: str) -> dict[str, str]:
    """The newest release of each channel in K3s's list of them, by its id: ``stable``, ``v1.35``.

    Raises:
        ValueError: the answer has another form.
    """
    found = json.loads(channels)
    rows = found.get("data") if isinstance(found, dict) else None
    if not isinstance(rows, list):
        raise ValueError("it has no list of channels")
    return {str(row.get("id")): str(row.get("latest", "")) for row in rows if isinstance(row, dict)}


def turned(pin: Pin, version: str) -> Pin:
    """The same artifact at another version: its number in URLs and Go's flags replaced, digests left to the vendor's
    lists.

    Raises:
        ValueError: the pin's places do not name its version, or it is a file; says which.
    """
    if version == pin.version:
        return pin
    if pin.file is not None:
        raise ValueError("it is a file of yours: pin the new one in NODE.pins.toml")
    release = {
        platform: ReleasePin(
            url=_renamed(entry.url, pin.version, version),
            checksums=entry.checksums and _renamed(entry.checksums, pin.version, version),
            member=_member(entry.member, pin.version, version),
        )
        for platform, entry in pin.release.items()
    }
    module = pin.module and _module(pin.module, pin.version, version)
    return pin.model_copy(update={"version": version, "release": release, "module": module, "held": ""})


def _member(member: str | None, old: str, new: str) -> str | None:
    """A path inside an archive often begins with a folder that names the version."""
    return _renamed(member, old, new) if member and old.removeprefix("v") in member else member


def _module(module: ModulePin, old: str, new: str) -> ModulePin:
    if module.version != old:
        own, wanted = numbers.read(module.version), numbers.read(new)
        # A module of another major release has another path, or, as Prometheus', numbers of its own.
        if (
            own is None
            or wanted is None
            or own.family != wanted.family
            or own > wanted
            or own.parts[0] < wanted.parts[0]
        ):
            raise ValueError(f"its module has a version of its own ({module.version}): pin it in NODE.pins.toml")
        old = module.version  # a release's too, and not newer than the one that is wanted
    flags = tuple(_renamed(flag, old, new) if old in flag else flag for flag in module.ldflags)
    return module.model_copy(update={"version": new, "ldflags": flags})


def _renamed(text: str, old: str, new: str) -> str:
    """In a URL a version stands as it is or quoted, with its v or without."""
    bare, other = old.removeprefix("v"), new.removeprefix("v")
    forms = {quote(bare, safe=""): quote(other, safe=""), bare: other}
    # In one pass: 3.1.2 is in 3.1.20 as well.
    changed = re.sub("|".join(map(re.escape, forms)), lambda found: forms[found[0]], text)
    if changed == text:
        raise ValueError(f"{text} does not name {old}: pin {new} in NODE.pins.toml")
    return changed
