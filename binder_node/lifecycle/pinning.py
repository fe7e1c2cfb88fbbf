"""A component pinned to another version for one node, in ``NODE.pins.toml``."""

from __future__ import annotations

from pathlib import Path

from binder_node import files
from binder_node.artifacts.pins import Pin, Pins, ReleasePin
from binder_node.binder.client import Binder, told
from binder_node.errors import InputError, Problem, StepError
from binder_node.events import Reporter, step
from binder_node.host.diff import unified
from binder_node.lifecycle.following import found_chart
from binder_node.lifecycle.opened import Opened, load_unheld, pins_of
from binder_node.upgrades.components import NAMES, component, edited
from binder_node.upgrades.releases import newest_patch, refused, turned

HEAD = "# Versions of this node's own, over all other pins. Commit it.\n"


def pin(opened: Opened, name: str, version: str) -> tuple[Path, str]:
    """Pin the component ``name`` to ``version``; the file, and its change as a diff (empty: it was so already).

    Digests are the vendor's: of its checksum lists at the first download, of the chart's repository.

    Raises:
        InputError: there is no such component, or its pin's places do not follow from its version.
        StepError: the chart's repository has no such version.
    """
    if name not in NAMES:
        raise InputError(Problem("", 0, "--to", f"{name!r} is no component", f"one of {', '.join(NAMES)}"))
    file, pins = pins_of(opened.inventory), load_unheld(opened)
    if pins.entries[component(name).pins[0]].version == version:
        return file, ""
    if name == "k3s" and (why := refused(pins.entries["k3s"].version, version)):
        raise InputError(Problem("", 0, "--to", f"k3s: {why}", "bring up a new node with it"))
    entries = _entries(pins, name, version)
    old = files.text(file, "name versions there") if file.exists() else ""
    new = edited(old or HEAD, entries)
    files.replace(file, new.encode(), 0o644)
    return file, unified(str(file), old.splitlines(), new.splitlines())


def _entries(pins: Pins, name: str, version: str) -> dict[str, Pin]:
    item = component(name)
    first = pins.entries[item.pins[0]]
    try:
        if name == "chart":
            return {item.pins[0]: _chart(first, version)}
        # Those that are released together: BuildKit's network plugins have numbers of their own.
        together = [each for each in item.pins if each in pins.entries and pins.entries[each].version == first.version]
        return {each: turned(pins.entries[each], version) for each in together}
    except ValueError as error:
        raise InputError(Problem("", 0, "--to", f"{name} {version}: {error}", "")) from None


def _chart(pinned: Pin, version: str) -> Pin:
    place = pinned.release.get("any")
    if place is None:
        raise ValueError("the chart is a file of yours: pin the new one in NODE.pins.toml")
    found = found_chart(place.url.rsplit("/", 1)[0], version)
    release = {"any": ReleasePin(url=found.url, sha256=found.digest)}
    return pinned.model_copy(update={"version": found.version, "release": release, "held": ""})


def newest_k3s(opened: Opened, channels: str, report: Reporter) -> str:
    """K3s's newest patch release of the pinned minor one, by the list at ``channels``; the pinned where none is newer.

    Raises:
        StepError: the list does not answer, or has no such release.
        DeadlineError: it does not answer in time.
    """
    pinned, what = load_unheld(opened).entries["k3s"].version, "look for K3s's newest patch release"
    with step(report, "upgrade", what) as found:
        with Binder(channels) as asked:
            answer = asked.request("GET", channels, what, follow_redirects=True)
        if answer.status_code != 200:
            raise StepError("here", what, f"{channels}: {told(answer)}", "name another list by --channels")
        try:
            found["version"] = newest_patch(answer.text, pinned) or pinned
        except ValueError as error:
            raise StepError("here", what, f"{channels}: {error}", "name another list by --channels") from None
        return str(found["version"])
