"""Launches and failures of a period, counted by day, repository and reason. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import unquote

SUCCESS = "success"
# How a spec of each provider begins with its repository, in parts between slashes; the rest is the ref
# (binderhub/repoproviders.py). The others' specs are identifiers as a whole.
PARTS = {"gh": 2, "gist": 2, "gl": 1, "git": 1}


@dataclass(frozen=True, slots=True)
class Failure:
    """Launches that failed for one reason: ``phase`` is how far they came, empty where nothing had begun."""

    repository: str
    phase: str
    message: str
    count: int


@dataclass(frozen=True, slots=True)
class Log:
    """A period from the day ``first`` to ``last``, both whole (UTC).

    ``launched`` and ``failed`` are counts by hour, ``repositories`` launches by repository. ``failures`` are the most
    frequent reasons, empty where nobody told them (``reasons`` False: the bucket's archive has none).
    """

    first: date
    last: date
    launched: Mapping[datetime, int] = field(default_factory=dict)
    failed: Mapping[datetime, int] = field(default_factory=dict)
    repositories: Mapping[str, int] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    reasons: bool = True

    @property
    def launches(self) -> int:
        return sum(self.launched.values())

    @property
    def failed_launches(self) -> int:
        return sum(self.failed.values())

    @property
    def days(self) -> list[date]:
        return [self.first + timedelta(days=number) for number in range((self.last - self.first).days + 1)]

    def by_day(self) -> list[tuple[date, int, int]]:
        """Day, launches, failures; days without any, too."""
        launched, failed = _days(self.launched), _days(self.failed)
        return [(day, launched[day], failed[day]) for day in self.days]

    def top(self, count: int) -> list[tuple[str, int]]:
        """The most launched repositories, level ones by name."""
        return sorted(self.repositories.items(), key=lambda item: (-item[1], item[0]))[:count]

    def top_reasons(self, count: int) -> list[tuple[str, int, int, str]]:
        """The most frequent reasons over all repositories: message, how often, in how many repositories, phase."""
        often: Counter[tuple[str, str]] = Counter()
        where: dict[tuple[str, str], set[str]] = {}
        for one in self.failures:
            often[one.message, one.phase] += one.count
            where.setdefault((one.message, one.phase), set()).add(one.repository)
        ranked = sorted(often.items(), key=lambda item: (-item[1], item[0]))[:count]
        return [(message, number, len(where[message, phase]), phase) for (message, phase), number in ranked]


def _days(hours: Mapping[datetime, int]) -> Counter[date]:
    found: Counter[date] = Counter()
    for hour, number in hours.items():
        found[hour.date()] += number
    return found


def repository(provider: str, spec: str) -> str:
    """A repository as a person reads it, from ``provider`` as ``/build/`` has it and its spec, the ref left out.

    >>> repository("gh", "binder-examples/requirements/HEAD")
    'gh/binder-examples/requirements'
    >>> repository("git", "https%3A%2F%2Fexample.org%2Fa.git/main")
    'git/https://example.org/a.git'
    """
    parts = spec.strip("/").split("/")
    return f"{provider}/{unquote('/'.join(parts[: PARTS.get(provider, len(parts))]))}"


def hour_of(stamp: str) -> datetime:
    """The hour of a timestamp, or of one that was cut after its hour. Raises ValueError where it is none."""
    return datetime.strptime(stamp[:13], "%Y-%m-%dT%H").replace(tzinfo=UTC)


def from_node(told: Mapping[str, Any], last: date, providers: Mapping[str, str]) -> Log:
    """What a node's own program told (host/on_node/events.py, ``tell``). ``providers``: /build's name by an event's."""
    launched: Counter[datetime] = Counter()
    failed: Counter[datetime] = Counter()
    repositories: Counter[str] = Counter()
    for stamp, provider, spec, status, number in told["launches"]:
        if status == SUCCESS:
            launched[hour_of(stamp)] += number
            repositories[repository(providers.get(provider, provider.lower()), spec)] += number
    failures: Counter[tuple[str, str, str]] = Counter()
    for stamp, path, phase, message, number in told["failures"]:
        provider, _, spec = path.partition("/")
        failed[hour_of(stamp)] += number
        failures[repository(provider, spec), phase, message] += number
    reasons = tuple(Failure(*key, number) for key, number in failures.most_common())
    return Log(date.fromisoformat(told["first"]), last, launched, failed, repositories, reasons)


def from_archive(lines: Iterable[str], first: date, last: date, providers: Mapping[str, str]) -> Log:
    """The same from the archive's lines; one that is no event is passed over."""
    launched: Counter[datetime] = Counter()
    repositories: Counter[str] = Counter()
    for line in lines:
        try:
            event = json.loads(line)
            hour = hour_of(event["timestamp"])
            provider, spec, status = str(event["provider"]), str(event["spec"]), event["status"]
        except (ValueError, KeyError, TypeError):
            continue
        if status == SUCCESS:
            launched[hour] += 1
            repositories[repository(providers.get(provider, provider.lower()), spec)] += 1
    return Log(first, last, launched, {}, repositories, (), reasons=False)
