"""A member's own numbers: what BinderHub's ``/metrics`` and ``/health`` and its node's disk say, over a window. Pure.

Names, labels and buckets are those of ``binderhub/builder.py`` (binderhub b9fad995): ``binderhub_launch_count`` counts
launches by ``status`` (``success``, ``failure`` after all retries, ``pod_quota`` and ``repo_quota`` for refusals),
``binderhub_launch_time_seconds`` has one observation an attempt, ``binderhub_inprogress_builds`` is a gauge.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

# Buckets: cumulative counts by their upper bounds in seconds, ascending, the last bound infinite.
Buckets = Mapping[float, float]


@dataclass(frozen=True, slots=True)
class Counters:
    """One BinderHub process's ``/metrics``. ``started`` is when it started (seconds since the epoch): counts of another
    process, or of this one after a restart, begin at zero again. ``pod`` is whose it is, where that is known: two
    replicas may have started at the same moment.
    """

    started: float
    launches: Mapping[str, float] = field(default_factory=dict)  # by status
    retries: float = 0.0
    ready: Buckets = field(default_factory=dict)  # seconds of launches that succeeded
    builds: Mapping[str, float] = field(default_factory=dict)  # by status
    building: float = 0.0
    launching: float = 0.0
    pod: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """``/health``: ``bad`` are the services that are not ok, the quota's own opinion left out; ``quota`` None: none."""

    bad: tuple[str, ...]
    pods: int = 0
    users: int = 0
    quota: int | None = None


@dataclass(frozen=True, slots=True)
class Disk:
    """The fullest of the node's filesystems that matter: its use in percent, and whether Kubernetes complains."""

    mount: str
    used: float
    pressure: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a member, ``at`` seconds since the epoch. ``error`` says why there is nothing else."""

    at: float
    counters: tuple[Counters, ...] = ()
    health: Health | None = None
    disk: Disk | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Numbers:
    """What a window of samples comes to.

    ``launched`` and ``failed`` are launches that ended so, ``refused`` those that a quota turned away. ``ready`` is the
    95th percentile of seconds from the request for a server to its being ready, None where nothing was launched.
    ``pods`` is the most pods seen at once; ``full`` and ``queued`` are shares of the looks at which the redirector
    would have left the member out for its quota, and at which as many builds ran as may. ``quota`` is the last one
    seen. ``silent`` is the number of looks without an answer at the end of the window, ``ill`` likewise of those at
    which a service was not ok, and ``bad`` the services of the last one.
    """

    seconds: float
    looks: int
    launched: int = 0
    failed: int = 0
    refused: int = 0
    retries: int = 0
    ready: float | None = None
    built: int = 0
    unbuilt: int = 0
    building: int = 0
    queued: float = 0.0
    pods: int = 0
    quota: int | None = None
    full: float = 0.0
    disk: Disk | None = None
    silent: int = 0
    ill: int = 0
    bad: tuple[str, ...] = ()
    error: str = ""

    @property
    def tried(self) -> int:
        """Launches that came to an end."""
        return self.launched + self.failed

    @property
    def failing(self) -> float:
        """The share of launches that failed, 0 where there were none."""
        return self.failed / self.tried if self.tried else 0.0


def counters(text: str, pod: str = "") -> Counters:
    """One process's ``/metrics`` text. Raises ValueError where it is none of BinderHub's."""
    from prometheus_client.parser import text_string_to_metric_families

    found: dict[str, list[Any]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample)
    if "binderhub_inprogress_launches" not in found:
        raise ValueError("no metrics of BinderHub's")

    def total(name: str) -> float:
        return math.fsum(sample.value for sample in found.get(name, ()))

    def by_status(name: str) -> dict[str, float]:
        sums: dict[str, float] = {}
        for sample in found.get(name, ()):
            sums[sample.labels["status"]] = sums.get(sample.labels["status"], 0.0) + sample.value
        return sums

    ready: dict[float, float] = {}
    for sample in found.get("binderhub_launch_time_seconds_bucket", ()):
        if sample.labels["status"] == "success":
            bound = float(sample.labels["le"])
            ready[bound] = ready.get(bound, 0.0) + sample.value
    return Counters(
        started=total("process_start_time_seconds"),
        launches=by_status("binderhub_launch_count_total"),
        retries=by_status("binderhub_launch_time_seconds_count").get("retry", 0.0),
        ready=dict(sorted(ready.items())),
        builds=by_status("binderhub_build_count_total"),
        building=total("binderhub_inprogress_builds"),
        launching=total("binderhub_inprogress_launches"),
        pod=pod,
    )


def health(document: Mapping[str, Any]) -> Health:
    """BinderHub's ``/health``. Raises ValueError where it is none."""
    try:
        checks = list(document["checks"])
        bad = tuple(str(check["service"]) for check in checks if not check["ok"] and not check.get("_ignore_failure"))
        quota = next((check for check in checks if check["service"] == "Pod quota"), None)
        if quota is None:
            return Health(bad)
        return Health(bad, int(quota["total_pods"]), int(quota["user_pods"]), quota["quota"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"no health of BinderHub's ({type(error).__name__}: {error})") from None


def numbers(samples: Sequence[Sample], *, headroom: int, build_limit: int) -> Numbers:
    """What ``samples``, in order, come to. ``headroom`` is the redirector's, in pods; ``build_limit`` BinderHub's
    ``concurrent_build_limit``, for each of its processes."""
    if not samples:
        return Numbers(0.0, 0)
    seen = [sample for sample in samples if sample.counters]
    launches, builds = _grown(seen, "launches"), _grown(seen, "builds")
    looks = [sample.health for sample in samples if sample.health is not None]
    disks = [sample.disk for sample in samples if sample.disk is not None]
    limited = [_most_building(sample) >= build_limit for sample in seen]
    full = [item.quota is not None and item.pods + headroom >= item.quota for item in looks]
    return Numbers(
        seconds=samples[-1].at - samples[0].at,
        looks=len(samples),
        launched=round(launches.get("success", 0)),
        failed=round(launches.get("failure", 0)),
        refused=round(launches.get("pod_quota", 0) + launches.get("repo_quota", 0)),
        retries=round(_grown(seen, "retries").get("", 0)),
        ready=quantile(0.95, _grown(seen, "ready")),
        built=round(builds.get("success", 0)),
        unbuilt=round(builds.get("failure", 0)),
        building=max((round(sum(one.building for one in sample.counters)) for sample in seen), default=0),
        queued=_share(limited),
        pods=max((item.pods for item in looks), default=0),
        quota=looks[-1].quota if looks else None,
        full=_share(full),
        disk=max(disks, key=lambda disk: (disk.pressure, disk.used), default=None),
        silent=_last(bool(sample.error) for sample in samples),
        ill=_last(bool(sample.health and sample.health.bad) for sample in samples),
        bad=samples[-1].health.bad if samples[-1].health else (),
        error=samples[-1].error,
    )


def _most_building(sample: Sample) -> float:
    return max(one.building for one in sample.counters)


def _share(looks: Sequence[bool]) -> float:
    return sum(looks) / len(looks) if looks else 0.0


def _last(looks: Iterable[bool]) -> int:
    """How many at the end were so without a break."""
    count = 0
    for look in looks:
        count = count + 1 if look else 0
    return count


def _grown(samples: Sequence[Sample], what: str) -> dict[Any, float]:
    """By how much counts grew from the first sample to the last, all processes together.

    A process that started within the window counts from zero; one that was only not seen before (its replica answered
    for the first time), from its first sight.
    """
    grown: dict[Any, float] = {}
    for earlier, later in pairwise(_carried(samples)):
        for process, now in later.items():
            before = earlier.get(process)
            if before is None and now.started <= samples[0].at:
                continue
            _add(grown, _counts(before, what), _counts(now, what))
    return grown


def _carried(samples: Sequence[Sample]) -> list[dict[tuple[str, float], Counters]]:
    """The processes known at each sample: behind one address each look meets one of several."""
    known: dict[tuple[str, float], Counters] = {}
    found = []
    for sample in samples:
        known = {**known, **{(one.pod, one.started): one for one in sample.counters}}
        found.append(known)
    return found


def _counts(of: Counters | None, what: str) -> Mapping[Any, float]:
    if of is None:
        return {}
    value = getattr(of, what)
    return value if isinstance(value, Mapping) else {"": value}


def _add(grown: dict[Any, float], before: Mapping[Any, float], now: Mapping[Any, float]) -> None:
    for key, value in now.items():
        grown[key] = grown.get(key, 0.0) + max(0.0, value - before.get(key, 0.0))


def quantile(share: float, buckets: Buckets) -> float | None:
    """The value below which ``share`` of the observations lie, as Prometheus's ``histogram_quantile`` reckons it:
    evenly spread within a bucket; in the last, infinite one, its lower bound. None where there are none.

    >>> quantile(0.5, {2.0: 0, 5.0: 10, float("inf"): 10})
    3.5
    """
    bounds = sorted(buckets)
    whole = buckets[bounds[-1]] if bounds else 0.0
    if not whole:
        return None
    rank, below, lower = share * whole, 0.0, 0.0
    for bound in bounds:
        here = buckets[bound]
        if here >= rank:
            if math.isinf(bound):
                return lower
            return lower + (bound - lower) * (rank - below) / (here - below) if here > below else bound
        below, lower = here, bound
    return lower
