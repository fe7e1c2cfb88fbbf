"""The redirector's choice played over hours: members that fill up, fail, lag and come back, and whom a request finds.

Pure: the same scenario and seed give the same result. The rules are :mod:`binder_node.federation.rules`; what a member
does is BinderHub's (``jupyterhub/binderhub`` at b9fad995: ``health.py``, ``quota.py``).
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from binder_node.federation.config import Federation, Member
from binder_node.federation.demand import HOUR, Arrival
from binder_node.federation.rules import (
    QUOTA,
    RETRY_SECONDS,
    UNKNOWN,
    Answer,
    Attempt,
    Verdict,
    candidates,
    judge,
    route,
    wait,
)

# BinderHub counts its pods at most this often, and asks its hub at most that often (health.py: at_most_every).
COUNT_SECONDS, HUB_SECONDS = 60.0, 15.0
# The chart's number of redirectors, each with its own view (templates/federation-redirect/deployment.yaml).
REDIRECTORS = 2

State = Literal["lost", "refusing", "hub down", "well"]


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a member can take: ``quota`` of sessions (None: no end), ``pods`` that run at the start, and whether its
    registry is ``cold``: then each repository is built when it is first asked for.
    """

    quota: int | None = None
    pods: int = 0
    cold: bool = False


@dataclass(frozen=True, slots=True)
class Load:
    """What a launch costs: mean seconds of a ``session``, which ends at ``longest`` (the federation's cull.maxAge),
    mean seconds of a ``build``, and ``fresh``, the share of launches that need one on any member. ``attempt``: seconds
    that a well member takes to answer a redirector's two questions.
    """

    session: float = 0.5 * HOUR
    longest: float = 6 * HOUR
    build: float = 120.0
    fresh: float = 0.1
    counted: float = COUNT_SECONDS
    hub_asked: float = HUB_SECONDS
    attempt: float = 0.1


@dataclass(frozen=True, slots=True)
class Change:
    """Something that happens to a member of the federation at ``at`` seconds; None leaves as it is.

    ``state``: ``lost`` answers nothing any more, ``refusing`` refuses connections, ``hub down`` answers 503.
    A ``weight`` is a new configuration: redirectors start anew, and all members with them.
    """

    at: float
    member: str
    state: State | None = None
    quota: int | None = None
    versions: str | None = None
    weight: float | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """All that is played. Members that ``capacities`` does not name have no quota."""

    federation: Federation
    arrivals: Sequence[Arrival]
    capacities: Mapping[str, Capacity] = field(default_factory=dict)
    load: Load = Load()
    changes: tuple[Change, ...] = ()
    redirectors: int = REDIRECTORS
    seed: int = 0
    steps: int = 96

    @property
    def seconds(self) -> float:
        """From the start to the last request or change, at least a second."""
        return max([1.0, *(arrival.at for arrival in self.arrivals[-1:]), *(change.at for change in self.changes)])


@dataclass(slots=True)
class Tally:
    """A member's numbers. ``requests`` were sent there, ``by_cookie`` of them; ``refused`` at its quota, ``failed``
    as it was down and nobody had noticed; ``out`` in seconds, the mean of the redirectors; ``drops`` of all of them.
    Pods are sessions and builds.

    The last three are series, one value a step: requests, pods at its end, share of redirectors that have it in.
    """

    name: str
    requests: int = 0
    by_cookie: int = 0
    refused: int = 0
    failed: int = 0
    builds: int = 0
    drops: int = 0
    peak: int = 0
    out: float = 0.0
    sent: list[int] = field(default_factory=list)
    pods: list[int] = field(default_factory=list)
    inside: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it: a tally a member, in the federation's order; ``lost``: refused and failed, one value a step."""

    seconds: float
    step: float
    tallies: tuple[Tally, ...]
    lost: tuple[int, ...]

    @property
    def requests(self) -> int:
        return sum(tally.requests for tally in self.tallies)

    @property
    def refused(self) -> int:
        return sum(tally.refused for tally in self.tallies)

    @property
    def failed(self) -> int:
        return sum(tally.failed for tally in self.tallies)

    def share(self, name: str) -> float:
        """A member's part of all requests, from 0 to 1."""
        return sum(tally.requests for tally in self.tallies if tally.name == name) / max(self.requests, 1)


class _Hub:
    """A member as it is, whatever the redirectors think of it."""

    def __init__(self, name: str, capacity: Capacity) -> None:
        self.name, self.quota, self.cold = name, capacity.quota, capacity.cold
        self.users, self.building = 0, 0
        self.state: State = "well"
        self.versions = "as the prime"
        self.images: set[str] = set()
        self.waiting: dict[str, list[float]] = {}
        self.life = 0  # what ran before a loss is gone
        self.counted = (float("-inf"), 0)
        self.hub_seen = (float("-inf"), True)

    def answers(self, at: float, load: Load) -> Attempt:
        """What it tells a redirector at ``at``; pods and its hub as they were when it last looked."""
        if at > self.counted[0] + load.counted:
            self.counted = at, self.users + self.building
        if at > self.hub_seen[0] + load.hub_asked:
            self.hub_seen = at, self.state != "hub down"
        total, quota = self.counted[1], self.quota
        pods = {"service": QUOTA, "ok": quota is None or total <= quota, "total_pods": total, "quota": quota}
        health = Answer({"checks": [pods]}) if self.hub_seen[1] else Answer(error="HTTP 503")
        return Attempt(Answer(self.versions), health)


@dataclass(slots=True)
class _View:
    """One redirector: whom it has in, the prime's versions as it saw them, since when a member is out."""

    healthy: dict[str, bool] = field(default_factory=dict)
    prime: str | None = None
    since: dict[str, float] = field(default_factory=dict)
    life: int = 0


def simulate(scenario: Scenario) -> Result:
    """Play ``scenario``."""
    return _Play(scenario).run()


class _Play:
    def __init__(self, scenario: Scenario) -> None:
        self.scenario, self.federation, self.load = scenario, scenario.federation, scenario.load
        self.rules = self.federation.rules
        self.step = scenario.seconds / scenario.steps
        empty = Capacity()
        names = [member.name for member in self.federation.members]
        self.hubs = {name: _Hub(name, scenario.capacities.get(name, empty)) for name in names}
        self.tallies = {name: Tally(name, sent=[0] * scenario.steps) for name in names}
        self.lost = [0] * scenario.steps
        self.views = [_View() for _ in range(scenario.redirectors)]
        self.cookies: dict[tuple[int, str], tuple[str, float]] = {}
        # One stream of chance for each matter: a change of one leaves the others as they were.
        self.routing, self.checking, self.lasting = (random.Random(f"{scenario.seed}-{n}") for n in range(3))
        self.queue: list[tuple[float, int, Callable[[float], None]]] = []
        self.number = 0

    def at(self, when: float, what: Callable[[float], None]) -> None:
        self.number += 1
        heapq.heappush(self.queue, (when, self.number, what))

    def run(self) -> Result:
        for name, hub in self.hubs.items():
            for _ in range(self.scenario.capacities.get(name, Capacity()).pods):
                self.session(0.0, hub, self.lasts())
        for change in self.scenario.changes:
            self.at(change.at, lambda at, change=change: self.change(at, change))  # type: ignore[misc]
        self.restart(0.0)
        for number in range(self.scenario.steps):
            self.at(min((number + 1) * self.step, self.scenario.seconds), self.sample)
        for arrival in self.scenario.arrivals:
            self.until(arrival.at)
            self.arrive(arrival)
        self.until(self.scenario.seconds)
        for view in self.views:
            for name, since in view.since.items():
                self.tallies[name].out += (self.scenario.seconds - since) / len(self.views)
        return Result(self.scenario.seconds, self.step, tuple(self.tallies.values()), tuple(self.lost))

    def of(self, at: float) -> int:
        """The step that ``at`` is in."""
        return min(int(at / self.step), self.scenario.steps - 1)

    def until(self, when: float) -> None:
        while self.queue and self.queue[0][0] <= when:
            at, _, what = heapq.heappop(self.queue)
            what(at)

    def sample(self, at: float) -> None:
        del at
        for name, tally in self.tallies.items():
            hub = self.hubs[name]
            tally.pods.append(hub.users + hub.building)
            tally.inside.append(sum(view.healthy.get(name, False) for view in self.views) / len(self.views))

    # Redirectors.

    def restart(self, at: float) -> None:
        """Redirectors begin: everybody is in, and looked at at once."""
        for view in self.views:
            for name, since in view.since.items():
                self.tallies[name].out += (at - since) / len(self.views)
            view.healthy = {member.name: True for member in self.federation.routed}
            view.prime, view.since, view.life = None, {}, view.life + 1
            for member in self.federation.routed:
                self.look(at, view, member)

    def look(self, at: float, view: _View, member: Member, number: int = 0) -> None:
        """Attempt ``number`` of a check begins. Of those that go well only the first and the last are looked at."""
        last = self.rules.retries - 1
        verdict, took = self.asked(at, view, member)
        if verdict.inside and number < last:
            self.later(at + took * (last - number), view, lambda at: self.look(at, view, member, last))
        elif verdict.cause == UNKNOWN and number < last:
            self.later(at + took + RETRY_SECONDS, view, lambda at: self.look(at, view, member, number + 1))
        else:
            self.later(at + took, view, lambda at: self.settle(at, view, member, verdict))

    def later(self, at: float, view: _View, what: Callable[[float], None]) -> None:
        """As :meth:`at`, unless the redirector has begun anew by then."""
        life = view.life
        self.at(at, lambda at: what(at) if view.life == life else None)

    def asked(self, at: float, view: _View, member: Member) -> tuple[Verdict, float]:
        """What a redirector makes of one attempt, and its seconds."""
        hub, unknown = self.hubs[member.name], Verdict(False, (), UNKNOWN)
        if hub.state == "lost":
            return unknown, self.rules.timeout
        if hub.state == "refusing":
            return unknown, 0.0
        answers = hub.answers(at, self.load)
        if member.prime:
            view.prime = hub.versions
        return judge([answers], None if member.prime else view.prime, self.rules), self.load.attempt

    def settle(self, at: float, view: _View, member: Member, verdict: Verdict) -> None:
        name, was = member.name, view.healthy[member.name]
        view.healthy[name] = verdict.inside
        if was and not verdict.inside:
            view.since[name] = at
            self.tallies[name].drops += 1
        elif verdict.inside and not was:
            self.tallies[name].out += (at - view.since.pop(name)) / len(self.views)
        pause = wait(verdict.inside, self.rules, self.checking.random())
        self.later(at + pause, view, lambda at: self.look(at, view, member))

    def arrive(self, arrival: Arrival) -> None:
        at, key = arrival.at, (arrival.visitor, arrival.path)
        view = self.views[int(self.routing.random() * len(self.views))]
        draw, fresh = self.routing.random(), self.lasting.random()
        lasts, build = self.lasts(), self.lasting.expovariate(1 / self.load.build)
        url, until = self.cookies.get(key, ("", 0.0))
        members = candidates(self.federation, view.healthy)
        cookie = url if at < until else ""
        name = route(self.federation, members, arrival.path, cookie, draw)
        url = next(member.url for member in members if member.name == name)
        self.cookies[key] = url, at + self.federation.cookie_hours * HOUR
        tally, hub = self.tallies[name], self.hubs[name]
        tally.requests += 1
        tally.by_cookie += cookie == url
        tally.sent[self.of(at)] += 1
        if hub.state == "well" and (fresh < self.load.fresh or (hub.cold and arrival.path not in hub.images)):
            self.build(at, hub, arrival.path, lasts, build)
        else:
            self.begin(at, hub, lasts)

    # Members.

    def lasts(self) -> float:
        return min(self.lasting.expovariate(1 / self.load.session), self.load.longest)

    def build(self, at: float, hub: _Hub, path: str, lasts: float, seconds: float) -> None:
        """A build pod for a path, whoever else waits for the same one."""
        if path in hub.waiting:
            hub.waiting[path].append(lasts)
            return
        hub.waiting[path] = [lasts]
        hub.building += 1
        self.tallies[hub.name].builds += 1
        self.top(hub)
        life = hub.life

        def built(at: float) -> None:
            if hub.life == life:
                hub.building -= 1
                hub.images.add(path)
                for one in hub.waiting.pop(path):
                    self.begin(at, hub, one)

        self.at(at + seconds, built)

    def begin(self, at: float, hub: _Hub, lasts: float) -> None:
        """A session, unless there is nobody to start it, or the quota of them is used up."""
        if hub.state != "well":
            self.tallies[hub.name].failed += 1
        elif hub.quota is not None and hub.users >= hub.quota:
            self.tallies[hub.name].refused += 1
        else:
            self.session(at, hub, lasts)
            return
        self.lost[self.of(at)] += 1

    def session(self, at: float, hub: _Hub, lasts: float) -> None:
        hub.users += 1
        self.top(hub)
        life = hub.life

        def end(at: float) -> None:
            del at
            if hub.life == life:
                hub.users -= 1

        self.at(at + lasts, end)

    def top(self, hub: _Hub) -> None:
        tally = self.tallies[hub.name]
        tally.peak = max(tally.peak, hub.users + hub.building)

    def change(self, at: float, change: Change) -> None:
        hub = self.hubs[change.member]
        if change.state is not None:
            hub.state = change.state
            if change.state in ("lost", "refusing"):
                hub.life += 1
                hub.users, hub.building, hub.waiting = 0, 0, {}
        if change.quota is not None:
            hub.quota = change.quota
        if change.versions is not None:
            hub.versions = change.versions
        if change.weight is not None:
            self.federation = weighed(self.federation, {change.member: change.weight})
            self.restart(at)


def weighed(federation: Federation, weights: Mapping[str, float]) -> Federation:
    """The same members with other weights."""
    members: Iterable[Member] = (
        replace(member, weight=weights.get(member.name, member.weight)) for member in federation.members
    )
    return replace(federation, members=tuple(members))
