"""The redirector's configuration: its members, their weights, and how it looks after them. Pure.

Two files say it: the federation's chart values (``federationRedirect:``), and the redirector's own ``config.json``,
which the chart makes of them. Sources of every default and rule: ``jupyterhub/mybinder.org-deploy`` at 95860dbc,
``images/federation-redirect/app.py`` (:data:`OWN`) and ``mybinder/values.yaml`` (:data:`CHART`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from binder_node import files
from binder_node.errors import InputError, Problem
from binder_node.spec.keys import Key
from binder_node.spec.source import Source
from binder_node.spec.source import parse as parse_yaml

Balance = Literal["random", "rendezvous"]
# The chart's values have the redirector's configuration below this key.
SECTION = "federationRedirect"


@dataclass(frozen=True, slots=True)
class Member:
    """One host of the federation: ``url`` without a slash at its end; ``health`` and ``versions`` are URLs.

    ``weight`` is its part of the sum of weights; 0: the redirector leaves it out. The ``prime`` is the one whose
    versions all others have to have, and which answers every path but ``/build``.
    """

    name: str
    url: str
    health: str
    versions: str
    weight: float
    prime: bool = False


@dataclass(frozen=True, slots=True)
class CheckRules:
    """How members are looked at: seconds, but for ``jitter`` (a share of a period, half of it to each side),
    ``retries`` (attempts of one check) and ``headroom`` (pods that must be free below a member's quota; 0: none).
    """

    period: float
    jitter: float
    timeout: float
    retries: int
    failed_period: float
    headroom: int = 10


# What the chart gives where the values are silent; and what the redirector takes where its file is silent.
CHART = CheckRules(period=15, jitter=0.1, timeout=5, retries=5, failed_period=90)
OWN = CheckRules(period=10, jitter=0.1, timeout=2, retries=5, failed_period=300)


@dataclass(frozen=True, slots=True)
class Federation:
    """All members in the file's order, those of weight 0 too, and the rules.

    ``balance`` is how a request without a cookie finds its member, ``cookie_hours`` how long its answer is kept.
    ``lines`` are the 1-based lines of the members in ``file``, by name.
    """

    members: tuple[Member, ...]
    rules: CheckRules
    balance: Balance = "random"
    cookie_hours: float = 4
    file: str = ""
    lines: Mapping[str, int] = field(default_factory=dict)

    @property
    def routed(self) -> tuple[Member, ...]:
        """Those that the redirector keeps: the others it drops when it starts."""
        return tuple(member for member in self.members if member.weight > 0)

    @property
    def prime(self) -> Member:
        """The one prime: without it no Federation is made by :func:`parse`."""
        return next(member for member in self.routed if member.prime)

    def member(self, name: str) -> Member:
        """The member of that name. Raises InputError, with the names there are, where there is none."""
        for member in self.members:
            if member.name == name:
                return member
        known = ", ".join(member.name for member in self.members)
        raise InputError(Problem(self.file, 0, "", f"has no member {name}", f"it has {known}"))


def member_at(name: str, url: str, weight: float = 0, prime: bool = False) -> Member:
    """A member with the paths that a BinderHub has."""
    url = url.rstrip("/")
    return Member(name, url, f"{url}/health", f"{url}/versions", weight, prime)


def around(prime: str) -> Federation:
    """A federation of the prime alone, known by its URL or by its redirector's, with the chart's rules.

    Raises InputError when ``prime`` is no URL.
    """
    if not prime.startswith(("http://", "https://")):
        raise InputError(Problem("", 0, "--prime", f"{prime!r} is no URL", "write https://mybinder.org or the like"))
    return Federation((member_at(urlsplit(prime).hostname or prime, prime, 1, True),), CHART)


def same(federation: Federation, candidate: Member) -> Member:
    """The member of ``federation`` that ``candidate`` is, by its name or URL.

    Raises InputError where there is none, or where the name is another URL's.
    """
    for one in federation.members:
        if one.url == candidate.url:
            return one
        if one.name == candidate.name:
            line = federation.lines.get(one.name, 0)
            wrong, right = f"{one.name} is {one.url}, the node is {candidate.url}", "correct one of the two"
            raise InputError(Problem(federation.file, line, "hosts", wrong, right))
    return federation.member(candidate.name)


def joined(federation: Federation, candidate: Member) -> Federation:
    """The federation with ``candidate`` in it, last; as it is where it has a member of that URL or name already."""
    if any(candidate.url == one.url or candidate.name == one.name for one in federation.members):
        return federation
    return replace(federation, members=(*federation.members, candidate))


def read(path: Path) -> Federation:
    """:func:`parse` of the file at ``path``. Raises InputError when it cannot be read, too."""
    right = "name the federation's values (config/prod.yaml) or the redirector's config.json"
    return parse(files.text(path, right), str(path))


def parse(document: str, source: str) -> Federation:
    """The federation that ``document`` (YAML or JSON text of the file ``source``) says.

    Raises:
        InputError: every mistake at once, each with its line: no hosts, a host that is null (the redirector dies of
            a KeyError), no prime or one of weight 0 (it ends with ``No prime host configured!``), two primes (their
            versions would take turns), and values that it cannot use.
    """
    found = parse_yaml(document, Path(source))
    base: Key = (SECTION,) if SECTION in found.data else ()
    section = found.data.get(SECTION) if base else found.data
    reader = _Reader(found)
    if not isinstance(section, dict) or not isinstance(section.get("hosts"), dict) or not section["hosts"]:
        raise InputError(found.problem((*base, "hosts"), "names no host", f"is this the file with {SECTION}.hosts?"))
    members = tuple(reader.members(section["hosts"], (*base, "hosts")))
    rules = reader.rules(section, base, CHART if base else OWN)
    # The chart says random; the redirector by itself rendezvous.
    balance = reader.text(section, base, "load_balancer", "random" if base else "rendezvous")
    cookie = reader.number(section, base, "host_cookie_age_hours", 4, lambda value: value > 0, "hours above 0")
    if not reader.problems:
        reader.primes(members, (*base, "hosts"))
    if reader.problems:
        raise InputError(*sorted(reader.problems))
    # Whatever is not rendezvous is random, as in the redirector.
    chosen: Balance = "rendezvous" if balance == "rendezvous" else "random"
    lines = {member.name: found.line((*base, "hosts", member.name)) for member in members}
    return Federation(members, rules, chosen, cookie, source, lines)


class _Reader:
    """Takes values out of a section and keeps what was wrong with them."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems: list[Problem] = []

    def wrong(self, key: Key, wrong: str, right: str) -> None:
        self.problems.append(self.source.problem(key, wrong, right))

    def members(self, hosts: Mapping[Any, Any], key: Key) -> Iterator[Member]:
        for name, host in hosts.items():
            here = (*key, str(name))
            if host is None:
                self.wrong(here, "is null: the redirector dies of it at its start", "take the whole entry out")
            elif not isinstance(host, dict):
                self.wrong(here, "is not a mapping", "write url, weight, health, versions and prime")
            else:
                yield self.member(str(name), host, here)

    def member(self, name: str, host: Mapping[Any, Any], key: Key) -> Member:
        # The redirector takes a missing weight for 0.
        weight = self.number(host, key, "weight", 0, lambda value: value >= 0, "a number from 0")
        prime = host.get("prime", False)
        if not isinstance(prime, bool):
            self.wrong((*key, "prime"), f"{prime!r} is neither true nor false", "write true or false")
        urls = [self.url(host, key, part) for part in ("url", "health", "versions")]
        return Member(name, urls[0].rstrip("/"), urls[1], urls[2], weight, prime is True)

    def url(self, host: Mapping[Any, Any], key: Key, name: str) -> str:
        value = host.get(name)
        if isinstance(value, str) and value.startswith(("http://", "https://")):
            return value
        wrong = "is missing" if value is None else f"{value!r} is no URL"
        self.wrong((*key, name), wrong, f"write {name}: https://...")
        return ""

    def primes(self, members: tuple[Member, ...], key: Key) -> None:
        primes = [member for member in members if member.prime]
        right = "give the member that stays `prime: true` first; it needs a weight above 0"
        if not primes:
            self.wrong(key, "has no prime: the redirector ends with `No prime host configured!`", right)
        for member in primes:
            if member.weight == 0:
                wrong = "the prime has no weight: the redirector ends with `No prime host configured!`"
                self.wrong((*key, member.name, "weight"), wrong, right)
        for member in primes[1:]:
            wrong = f"is a second prime beside {primes[0].name}: members are compared with whichever was seen last"
            self.wrong((*key, member.name, "prime"), wrong, "keep one")

    def rules(self, section: Mapping[Any, Any], base: Key, default: CheckRules) -> CheckRules:
        check = section.get("check", {})
        if not isinstance(check, dict):
            self.wrong((*base, "check"), "is not a mapping", "write period, timeout and the like")
            check = {}
        key = (*base, "check")

        def positive(name: str, fallback: float) -> float:
            return self.number(check, key, name, fallback, lambda value: value > 0, "seconds above 0")

        return CheckRules(
            period=positive("period", default.period),
            jitter=self.number(check, key, "jitter", default.jitter, lambda value: 0 <= value < 2, "a share below 2"),
            timeout=positive("timeout", default.timeout),
            retries=self.whole(check, key, "retries", default.retries, 1),
            failed_period=positive("failed_period", default.failed_period),
            headroom=self.whole(section, base, "pod_headroom", default.headroom, 0),
        )

    def number(
        self, section: Mapping[Any, Any], key: Key, name: str, default: float, good: Callable[[float], bool], right: str
    ) -> float:
        value = section.get(name, default)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and good(value):
            return value
        self.wrong((*key, name), f"{value!r} is not allowed", f"write {right}")
        return default

    def whole(self, section: Mapping[Any, Any], key: Key, name: str, default: int, least: int) -> int:
        value = section.get(name, default)
        if isinstance(value, int) and not isinstance(value, bool) and value >= least:
            return value
        self.wrong((*key, name), f"{value!r} is not allowed", f"write a whole number from {least}")
        return default

    def text(self, section: Mapping[Any, Any], key: Key, name: str, default: str) -> str:
        value = section.get(name, default)
        if isinstance(value, str):
            return value
        self.wrong((*key, name), f"{value!r} is not a text", f"write {default}")
        return default
