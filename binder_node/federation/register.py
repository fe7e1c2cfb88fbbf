"""Joining a federation as a change to a checkout of its repository: texts in, texts out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from binder_node.errors import InputError, Problem
from binder_node.federation import checkout
from binder_node.federation.entry import FIRST_WEIGHT, Entry, Unknown
from binder_node.federation.places import PLACES, Place

Files = Mapping[str, str]
Changed = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Made:
    """A change: ``what`` is one line, ``files`` the new texts by path (None: the file goes), ``guide`` those of the
    user guide's checkout, ``notes`` what is left for a person."""

    what: str
    files: Changed = field(default_factory=dict)
    guide: Changed = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        return not self.files and not self.guide


def own_values(name: str) -> str:
    """Where the values of a member lie that the federation deploys."""
    return f"config/{name}.yaml"


def paths(name: str, config: str = checkout.PROD) -> list[str]:
    """The files of the federation's checkout that joining and leaving look at."""
    return [config, own_values(name), *(place.path for place in PLACES if not place.guide)]


def guide_paths() -> list[str]:
    """... and those of the user guide's."""
    return [place.path for place in PLACES if place.guide]


def register(
    files: Files,
    guide: Files | None,
    entry: Entry,
    weight: float | None = None,
    config: str = checkout.PROD,
) -> Made:
    """The change that makes ``entry`` a member; none where it is one already: its weight and role stay then.

    ``files`` are the texts of the checkout by path, of those that exist; ``guide`` the user guide's, None where no
    checkout of it was given. ``weight`` is the one to begin with, :data:`FIRST_WEIGHT` where none is said; with 0 the
    redirector leaves the member out until its ramp gives it one.

    Raises:
        InputError: the redirector would choke on it, or the federation is to deploy a member whose values it has not.
    """
    if weight is not None and weight < 0:
        right = f"begin with {FIRST_WEIGHT} or less; 0 until its ramp begins"
        raise InputError(Problem("", 0, "--weight", f"{weight:g} is below 0", right))
    text = needed(files, config)
    if entry.central and own_values(entry.name) not in files:
        right = "write it with `binder-node federation export` first: the federation's CI runs on it"
        raise InputError(Problem(own_values(entry.name), 0, "", "is not in the checkout", right))
    there = {member.name: member.weight for member in checkout.federation(text, config).members}
    member = entry.member(FIRST_WEIGHT if weight is None else weight)
    host = checkout.set_urls(text, member, config) if entry.name in there else checkout.add_host(text, member, config)
    found = folded(files, guide, entry, put=True)
    changed = {**({config: host} if host != text else {}), **found.files}
    notes = [*found.notes, *_left_out(entry, guide)]
    if not there.get(entry.name, member.weight):
        notes.append("it has no weight: the redirector leaves it out until `binder-node federation ramp` gives it one")
    return Made(f"Add {entry.name} to the federation", changed, found.guide, tuple(notes))


def needed(files: Files, path: str) -> str:
    """The text of a file without which nothing can be done. Raises InputError where it is not there."""
    if path not in files:
        right = "name a checkout of jupyterhub/mybinder.org-deploy, or say --config"
        raise InputError(Problem(path, 0, "", "is not in the checkout", right))
    return files[path]


def folded(files: Files, guide: Files | None, entry: Entry, *, put: bool) -> Made:
    """Every place but the host with the member put in, or taken out: the texts that change, and the notes."""
    changed: dict[bool, dict[str, str | None]] = {False: {}, True: {}}
    notes = []
    for place in PLACES:
        there, wanted = guide if place.guide else files, place.wanted(entry)
        if there is None or (put and not wanted):
            continue
        after = _tried(place, there.get(place.path), entry, put)
        if isinstance(after, str):
            if after != there[place.path]:
                changed[place.guide][place.path] = after
                notes += [f"{place.path} ({place.about}): {place.tell}"] if place.tell else []
        elif wanted:
            notes.append(f"{place.path} ({place.about}): {after}")
    return Made("", changed[False], changed[True], tuple(notes))


def _tried(place: Place, text: str | None, entry: Entry, put: bool) -> str | Unknown:
    """The file's new text, or why there is none."""
    if text is None:
        return Unknown("not in this checkout")
    try:
        return place.put(text, entry) if put else place.take(text, entry)
    except Unknown as error:
        return Unknown(f"left as it is: it {error}")
    except InputError as error:
        return Unknown(f"left as it is: {error.problems[0].path} {error.problems[0].wrong}")


def _left_out(entry: Entry, guide: Files | None) -> list[str]:
    """What the inventory does not say, and who has to know of a member besides."""
    found = []
    if not entry.sponsor:
        found.append("federation.sponsor is not set: the banner and the user guide's list stay as they are")
    if guide is None:
        found.append("without --guide the user guide (jupyterhub/mybinder.org-user-guide) stays as it is")
    if not entry.central:
        found.append("deployed from here: no entry in the federation's CI, its Grafana or its archive of launches")
    return found
