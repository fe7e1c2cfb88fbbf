"""What to play, as an operator says it in options: ``bids=20``, ``bids@2h-3h``. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from binder_node.errors import InputError, Problem
from binder_node.federation.config import Federation, joined, member_at
from binder_node.federation.simulate import Change, State, weighed

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class Span:
    """A member, from a moment to another (None: to the end), in seconds."""

    member: str
    begin: float
    end: float | None


def duration(text: str, option: str) -> float:
    """Seconds of ``90s``, ``30m``, ``1.5h``, ``2d``. Raises InputError for anything else.

    >>> duration("1.5h", "--session")
    5400.0
    """
    number, unit = text[:-1], text[-1:]
    if unit in UNITS and number.replace(".", "", 1).isdigit():
        return float(number) * UNITS[unit]
    raise _wrong(option, text, "write a time like 90s, 30m, 2h or 1d")


def span(text: str, federation: Federation, option: str) -> Span:
    """``bids@2h`` (to the end) or ``bids@2h-3h``. Raises InputError, also for a member that there is not."""
    name, at, times = text.partition("@")
    begin, dash, end = times.partition("-")
    if not at:
        raise _wrong(option, text, "write a member and a time, like bids@2h or bids@2h-3h")
    found = Span(_known(name, federation, option), duration(begin, option), duration(end, option) if dash else None)
    if found.end is not None and found.end <= found.begin:
        raise _wrong(option, text, "the end comes after the beginning")
    return found


def spell(span: Span, what: State) -> tuple[Change, ...]:
    """A state for a while, and well again afterwards."""
    end = () if span.end is None else (Change(span.end, span.member, state="well"),)
    return (Change(span.begin, span.member, state=what), *end)


def lag(span: Span) -> tuple[Change, ...]:
    """Versions that are not the prime's for a while; of the prime itself: new ones, which nobody else has."""
    end = () if span.end is None else (Change(span.end, span.member, versions="as the prime"),)
    return (Change(span.begin, span.member, versions="others"), *end)


def drained(span: Span, quota: int | None) -> tuple[Change, ...]:
    """A quota of 0 for a while, and the one before afterwards.

    Raises InputError where there is an end and no quota to go back to.
    """
    if span.end is None:
        return (Change(span.begin, span.member, quota=0),)
    if quota is None:
        raise _wrong("--drain", span.member, f"say its quota, too: --quota {span.member}=...")
    return (Change(span.begin, span.member, quota=0), Change(span.end, span.member, quota=quota))


def numbers(texts: Iterable[str], federation: Federation, option: str) -> dict[str, int]:
    """``bids=60`` as a mapping. Raises InputError."""
    found = {}
    for text in texts:
        name, _, number = text.partition("=")
        if not number.isdigit():
            raise _wrong(option, text, "write a member and a whole number, like bids=60")
        found[_known(name, federation, option)] = int(number)
    return found


def weights(texts: Iterable[str], federation: Federation) -> tuple[Federation, tuple[Change, ...]]:
    """``bids=20`` holds from the start, ``bids=20@2h`` from then on.

    Raises InputError, also where the prime would be left without a weight: the redirector would not start.
    """
    changes = []
    for text in texts:
        setting, at, when = text.partition("@")
        ((name, weight),) = numbers([setting], federation, "--weight").items()
        if weight == 0 and name == federation.prime.name:
            raise _wrong("--weight", text, "a prime needs a weight: the redirector would not start")
        if at:
            changes.append(Change(duration(when, "--weight"), name, weight=weight))
        else:
            federation = weighed(federation, {name: weight})
    return federation, tuple(changes)


def added(texts: Iterable[str], federation: Federation) -> Federation:
    """The federation with members that it has not yet: ``bids=20``. Raises InputError."""
    for text in texts:
        name, _, weight = text.partition("=")
        if not name or not weight.isdigit():
            raise _wrong("--add", text, "write a name and a weight, like bids=20")
        new = member_at(name, f"https://{name}.invalid", int(weight))
        if joined(federation, new) is federation:
            raise _wrong("--add", text, "it is a member already: change its weight by --weight")
        federation = joined(federation, new)
    return federation


def _known(name: str, federation: Federation, option: str) -> str:
    if any(member.name == name for member in federation.members):
        return name
    known = ", ".join(member.name for member in federation.members)
    raise _wrong(option, name, f"there is no such member: {known}")


def _wrong(option: str, text: str, right: str) -> InputError:
    return InputError(Problem("", 0, option, repr(text), right))
