"""Newer versions of what is pinned: which one is offered, and why not another. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from binder_node.artifacts.pins import Pin, Pins
from binder_node.artifacts.recipe import Download
from binder_node.errors import InputError, Problem
from binder_node.upgrades import numbers
from binder_node.upgrades.components import COMPONENTS
from binder_node.upgrades.feeds import K3S, Feed, GitHub, Release, feed_of
from binder_node.upgrades.numbers import STEPS, Step
from binder_node.upgrades.releases import turned

# How a component stands. ``behind``: a newer version is offered; ``hand``: one is, but a person has to write it;
# ``beyond``: a newer one is there that the limit leaves out; ``ahead``: what is pinned is newer than what is told;
# ``own``: nobody tells of newer ones; ``unknown``: who tells did not answer.
State = Literal["current", "behind", "hand", "beyond", "ahead", "own", "unknown"]
BEHIND: tuple[State, ...] = ("behind", "hand")
# The build image's row; it is no artifact.
IMAGE = "build-image"
CHART = "binderhub-chart"


@dataclass(frozen=True, slots=True)
class Group:
    """Pins that are released together and pinned at one version; their names in ``pins``."""

    name: str
    pins: tuple[str, ...]
    version: str
    feed: Feed | None

    @property
    def k3s(self) -> bool:
        return isinstance(self.feed, GitHub) and self.feed.repository == K3S


@dataclass(frozen=True, slots=True)
class Note:
    """Where people read what a version changed."""

    version: str
    url: str


@dataclass(frozen=True, slots=True)
class Row:
    """How a component stands. ``offered`` is empty where nothing is; ``newest`` is the newest of all that are told.

    ``by``: who told it. ``why``: what stands in the way of a newer one, or of writing it. ``notes``: of each release
    after the pinned one up to the one that is offered, newest first.
    """

    name: str
    pins: tuple[str, ...]
    pinned: str
    offered: str = ""
    newest: str = ""
    state: State = "current"
    by: str = ""
    why: str = ""
    notes: tuple[Note, ...] = ()


def groups(pins: Pins, chosen: Iterable[str] = ()) -> list[Group]:
    """What is looked for, in the pins' order; of ``chosen`` (components, pins; none: all) only what they name.

    Raises InputError for a name that there is not.
    """
    found: dict[object, list[str]] = {}
    for name, pin in pins.entries.items():
        feed = feed_of(pin)
        found.setdefault((feed, pin.version) if feed else name, []).append(name)
    made = [
        Group(_named(names), tuple(names), pins.entries[names[0]].version, feed_of(pins.entries[names[0]]))
        for names in found.values()
    ]
    if pins.images.get("build"):
        made.append(Group(IMAGE, (), pins.images["build"], None))
    wanted = set(chosen)
    if unknown := wanted - {name for group in made for name in (group.name, *group.pins)}:
        right = "one of " + ", ".join(group.name for group in made)
        raise InputError(*(Problem("", 0, "COMPONENT", f"{name!r} is not pinned", right) for name in sorted(unknown)))
    return [group for group in made if not wanted or wanted & {group.name, *group.pins}]


def _named(names: list[str]) -> str:
    """A component's name, or what the pins' names have in common: cni of cni-bridge, cni-loopback."""
    for component in COMPONENTS:
        if component.pins[0] in names:
            return component.name
    first = names[0].partition("-")[0]
    return first if len(names) > 1 and all(name.startswith(first) for name in names) else names[0]


def limit(within: Step | None, group: Group) -> Step:
    """How far a component goes. Without a word: a minor step; K3s a patch, for a running node takes no more."""
    return within or ("patch" if group.k3s else "minor")


def choose(
    group: Group, releases: Iterable[Release], most: Step, lacks: Callable[[Release], str]
) -> tuple[Row, Release | None]:
    """How the group stands by what its vendor tells, and the release that is offered.

    The newest within ``most`` for which ``lacks`` says nothing. Never an older one; of builds between releases only
    for what is pinned at one; K3s's next minor release at most, since Kubernetes skips none
    (https://kubernetes.io/releases/version-skew-policy/).
    """
    own = numbers.read(group.version)
    row = Row(group.name, group.pins, group.version)
    if own is None:
        return replace(row, state="own", why=f"{group.version} is no release's number"), None
    told = {release: found for release in releases if (found := numbers.read(release.version)) is not None}
    ours = {one: it for one, it in told.items() if it.family == own.family and (own.between or not it.between)}
    if not ours:
        return replace(row, state="unknown", why="no release of this kind is told"), None
    newest = max(ours.values())
    row = replace(row, newest=next(one.version for one, it in ours.items() if it == newest))
    if newest <= own:
        return replace(row, state="ahead" if newest < own else "current"), None
    newer = sorted(((it, one) for one, it in ours.items() if it > own), key=lambda pair: pair[0], reverse=True)
    why = ""
    for it, release in newer:
        no = _too_far(group, own, it, most) or lacks(release)
        if not no:
            notes = tuple(Note(one.version, one.notes) for other, one in newer if other <= it)
            return replace(row, offered=release.version, state="behind", why=why, notes=notes), release
        why = why or f"{release.version} {no}"
    return replace(row, state="beyond", why=why), None


def _too_far(group: Group, own: numbers.Number, it: numbers.Number, most: Step) -> str:
    """Why a newer number is left out; empty where it is not."""
    far = numbers.step(own, it)
    if group.k3s and far != "patch" and it.parts[1] - own.parts[1] > 1:
        return "is more than one minor release ahead: one after the other"
    if STEPS.index(far) > STEPS.index(most):
        return f"is a {far} release" + (": pin it by hand" if far == "major" else ": --within minor takes it")
    return ""


def missing(entries: Mapping[str, Pin], group: Group, release: Release) -> str:
    """Which pinned files a release lacks; empty where it has all of them, or where they do not lie with it.

    What does not follow from a version at all is no matter of the release: :func:`moved` says it.
    """
    if release.files is None or not (isinstance(group.feed, GitHub) and group.feed.attached):
        return ""
    try:
        pins = [turned(entries[name].model_copy(update={"module": None}), release.version) for name in group.pins]
    except ValueError:
        return ""
    wanted = [download.file for pin in pins for download in downloads(pin)]
    gone = dict.fromkeys(file for file in wanted if file not in release.files)
    return f"has no file {', '.join(gone)}" if gone else ""


def moved(entries: Mapping[str, Pin], group: Group, release: Release) -> dict[str, Pin]:
    """The group's pins at the release's version, without digests.

    Raises:
        ValueError: a pin's places do not follow from the version; says which.
    """
    found = {}
    for name in group.pins:
        pin = entries[name]
        if release.url:
            own = {"url": release.url, "sha256": None}
            places = {platform: place.model_copy(update=own) for platform, place in pin.release.items()}
            found[name] = pin.model_copy(update={"version": release.version, "release": places})
        else:
            found[name] = turned(pin, release.version)
    return found


def downloads(pin: Pin) -> list[Download]:
    """The pin's files, by platform in its order."""
    return [Download(place.url, place.sha256, place.checksums) for place in pin.release.values()]


def told_by(row: Row, version: str, *, by: str, note: str = "") -> Row:
    """How something stands that has to be at the ``version`` of another's word, whatever is newer elsewhere."""
    row = replace(row, by=by, newest=row.newest or version)
    if version == row.pinned:
        return replace(row, offered="", state="current", why="", notes=())
    own, other = numbers.read(_tag(row.pinned)), numbers.read(_tag(version))
    if own is None or other is None or own.family != other.family:
        why = f"{by} has {version}, which cannot be compared with what is pinned"
        return replace(row, offered=version, state="hand", why=why, notes=())
    if other <= own:
        why = f"{by} has {version}: `binder-node federation follow` goes back to it"
        return replace(row, offered="", state="ahead", why=why, notes=())
    return replace(row, offered=version, state="behind", why="", notes=(Note(version, note),) if note else ())


def _tag(version: str) -> str:
    """The tag of a container image; a version as it is."""
    return version.rpartition(":")[2] if "/" in version else version
