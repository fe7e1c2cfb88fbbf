"""From what a node remembers to what an operator asks: who was cut and why, whom a complaint is about, what happened
to a launch. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

Record = Mapping[str, Any]

# Why, in words; the names are the counters' and the sets' of the firewall's table (host/limits.py).
WHY = {
    "too_many": "a scan: too many new targets",
    "too_fast": "too many new connections",
    "mailers": "mail",
    "asked_banned": "a banned address",
}
COUNTED = {
    "too_many": "new connections of scans",
    "too_fast": "new connections beyond the rate",
    "mail": "mail",
    "banned": "to or from banned networks",
    "private": "of builds and pods to private networks and the metadata service",
    "node": "of builds and pods to the node's own services",
    "port": "of builds to ports that are not let out",
    "false_source": "with another's address",
    "invalid": "of no connection",
    "flood": "of all builds together, beyond the rate",
    "upload": "of uploads above the limit (dropped, sent again)",
    "outside": "from outside, to what is not open",
}
# A session lives for six hours at most (the federation's cull.maxAge), and is told of targets at least each hour.
COMPLAINT_BEFORE, COMPLAINT_AFTER = timedelta(hours=1, minutes=15), timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Cut:
    """Somebody who was cut; ``packets`` were refused. ``until`` is empty while he still is (``left``: seconds)."""

    at: str
    until: str
    why: str
    source: str
    kind: str
    pod: str
    repo: str
    ref: str
    packets: int
    left: int = 0
    step: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody who asked for what nobody gets, or (``why`` empty) met a target."""

    at: str
    why: str
    source: str
    to: str
    kind: str
    pod: str
    repo: str


@dataclass(frozen=True, slots=True)
class Report:
    """``counted``: packets refused by reason since ``since``, replacements and reboots included."""

    node: str
    cuts: tuple[Cut, ...]
    asked: tuple[Asked, ...]
    since: str
    counted: Mapping[str, int]


def report(node: str, read: Mapping[str, Any]) -> Report:
    """What ``binder-node abuse`` tells, from what abuse/on_node/read.py answered."""
    totals = read.get("totals") or {}
    asked = [_asked(one, str(one["why"])) for one in read["records"] if one["kind"] == "refused"]
    return Report(
        node,
        tuple(cuts(read["records"], read.get("sets") or {})),
        tuple(asked),
        str(totals.get("since", "")),
        dict(totals.get("totals") or {}),
    )


def cuts(records: Iterable[Record], sets: Mapping[str, Iterable[Any]]) -> list[Cut]:
    """Cuts by their begin. One that the node told twice (its program was restarted meanwhile) is one."""
    done: list[Cut] = []
    live: dict[tuple[str, str], Cut] = {}
    for one in records:
        key = (str(one.get("source")), str(one.get("why")))
        if one["kind"] == "cut" and key not in live:
            live[key] = _cut(one)
        elif one["kind"] == "free" and key in live:
            done.append(replace(live.pop(key), until=str(one["at"]), packets=int(one["packets"])))
    now = {
        (str(item["elem"]["val"]), name): item["elem"]
        for name, found in sets.items()
        for item in found
        if not isinstance(item["elem"]["val"], dict)
    }
    for key, cut in live.items():
        about = now.get(key)
        if about is None:  # over, while nobody looked
            done.append(replace(cut, until="?"))
        else:
            packets = int(about.get("counter", {}).get("packets", 0))
            done.append(replace(cut, packets=packets, left=int(about.get("expires", 0))))
    return sorted(done, key=lambda cut: (cut.at, cut.source))


def _cut(one: Record) -> Cut:
    who = one.get("who") or {}
    pod, repo = _named(who)
    return Cut(
        str(one["at"]),
        "",
        str(one["why"]),
        str(one["source"]),
        str(who.get("kind", "")),
        pod,
        repo,
        str(who.get("ref", "")),
        0,
        step=str(who.get("step", "")),
    )


def _asked(one: Record, why: str) -> Asked:
    who = one.get("who") or {}
    pod, repo = _named(who)
    return Asked(str(one["at"]), why, str(one["source"]), str(one["to"]), str(who.get("kind", "")), pod, repo)


def _named(who: Record) -> tuple[str, str]:
    """Pod and repository; of a build step that can be of several builds, all of them."""
    likely = who.get("likely")
    if likely:
        return " or ".join(str(one["pod"]) for one in likely), " or ".join(str(one["repo"]) for one in likely)
    return str(who.get("pod", "")), str(who.get("repo", ""))


def moment(text: str) -> datetime:
    """A time as operators and providers write it; without a zone it is UTC's.

    Raises ValueError where it is none.

    >>> moment("2026-11-21 20:00").isoformat(), moment("2026-11-21T21:00:00+01:00").isoformat()
    ('2026-11-21T20:00:00+00:00', '2026-11-21T20:00:00+00:00')
    """
    found = datetime.fromisoformat(text.strip())
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def written(at: datetime) -> str:
    """As it stands in records."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def suspects(records: Iterable[Record], at: datetime) -> list[Asked]:
    """Who asked for an address around ``at``, the nearest first; one line for each pod and target."""
    nearest: dict[tuple[str, str, str], tuple[float, Asked]] = {}
    for one in records:
        found = _asked(one, str(one.get("why", "")))
        away = abs((moment(found.at) - at).total_seconds())
        key = (found.source, found.pod, found.to)
        if key not in nearest or away < nearest[key][0]:
            nearest[key] = (away, found)
    return [found for _, found in sorted(nearest.values(), key=lambda item: (item[0], item[1].at, item[1].source))]


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of a launch's timeline."""

    at: str
    pod: str
    what: str


def timeline(records: Iterable[Record]) -> list[Moment]:
    """What happened, in its order, each thing once."""
    lines = {Moment(str(one["at"]), _pod(one), _what(one)): None for one in records}
    return sorted(lines, key=lambda line: line.at)


def _pod(one: Record) -> str:
    return str(one["pod"]) if one["kind"] == "event" else _named(one.get("who") or {})[0]


def _what(one: Record) -> str:
    kind = one["kind"]
    if kind == "pod":
        return f"{(one.get('who') or {}).get('kind', 'pod')}: {one['state']}"
    if kind == "event":
        return f"{one['reason']}: {one['message']}"
    if kind == "met":
        return f"asked for {one['to']}"
    if kind == "cut":
        return f"CUT for {WHY.get(one['why'], one['why'])}"
    if kind == "free":
        return f"free again; {one['packets']} packets were refused"
    return f"refused {one['to']}: {WHY.get(one['why'], one['why'])}"


def pods_of(records: Iterable[Record], launch: str) -> list[str]:
    """Pods that ``launch`` means: one of that name, or those whose repository has it in its URL; by their begin."""
    found: dict[str, None] = {}
    for one in records:
        who = one.get("who") or {}
        name = str(who.get("pod", ""))
        if one["kind"] == "pod" and (name == launch or launch.lower() in str(who.get("repo", "")).lower()):
            found[name] = None
    return [launch] if launch in found else list(found)
