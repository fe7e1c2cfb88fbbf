"""Whether a member's numbers at one weight let it have more, or want it to have less. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from binder_node.federation.measured import Numbers


@dataclass(frozen=True, slots=True)
class Limits:
    """What a member must keep at a step. Shares are from 0 to 1; ``disk`` and ``evict`` are percents of use.

    Sources: a launch of a cached image took 3 s alone and 9 to 12 s six at a time on two cores, ten minutes is when
    BinderHub gives up: a minute for 95 of 100 is a node in trouble. Of launches in the federation a few in a hundred
    fail for the image's own reasons. 2i2c's ramp to 60 met DiskPressure, GESIS's the pod limit (field guide, 1.1 and
    1.4). ``disk`` and ``evict`` are the node's own where it is one of ours: where the kubelet begins to remove images,
    and where it evicts.
    """

    failed: float = 0.05
    ready: float = 60.0
    slower: float = 2.0  # times the p95 of the step before ...
    slower_from: float = 15.0  # ... which must be more than this to count, in seconds
    disk: float = 85.0
    evict: float = 92.0
    build_limit: int = 32  # BinderHub's default
    headroom: int = 10  # the redirector's
    launches: int = 20  # fewer tell nothing
    failures: int = 3  # fewer are chance
    looks: int = 3  # in a row without an answer, or with a service that is not ok


@dataclass(frozen=True, slots=True)
class Judgement:
    """``back``: reasons to give the member less, at once. ``hold``: reasons not to give it more yet."""

    back: tuple[str, ...] = ()
    hold: tuple[str, ...] = ()


def judge(seen: Numbers, limits: Limits, before: Numbers | None = None) -> Judgement:
    """``before`` is what was seen at the step before this one, if anything."""
    back = [*_answers(seen, limits), *_launches(seen, limits, before), *_room(seen, limits)]
    hold = [] if back else _holding(seen, limits)
    return Judgement(tuple(back), tuple(hold))


def _answers(seen: Numbers, limits: Limits) -> list[str]:
    if seen.silent >= limits.looks:
        return [f"no answer for {seen.silent} looks: {seen.error}"]
    if seen.ill >= limits.looks:
        return [f"/health says not ok for {seen.ill} looks: {', '.join(seen.bad)}"]
    return []


def _launches(seen: Numbers, limits: Limits, before: Numbers | None) -> list[str]:
    found = []
    if seen.failed >= limits.failures and seen.failing > limits.failed:
        found.append(
            f"failed launches: {seen.failed} of {seen.tried} ({seen.failing:.0%}), {limits.failed:.0%} is the limit"
        )
    if seen.ready is None or seen.launched < limits.launches:
        return found
    if seen.ready > limits.ready:
        found.append(f"time to ready: 95 of 100 within {seen.ready:.0f} s, {limits.ready:.0f} s is the limit")
    elif before is not None and before.ready is not None:
        allowed = max(limits.slower_from, limits.slower * before.ready)
        if seen.ready > allowed:
            found.append(
                f"time to ready: 95 of 100 within {seen.ready:.0f} s, {before.ready:.0f} s at the step before "
                f"({allowed:.0f} s is the limit)"
            )
    return found


def _room(seen: Numbers, limits: Limits) -> list[str]:
    found = []
    enough = seen.looks >= limits.looks
    if enough and seen.queued > 0.5:
        found.append(f"builds: {limits.build_limit} or more ran at {seen.queued:.0%} of the looks, others waited")
    if seen.disk is not None and (seen.disk.pressure or seen.disk.used >= limits.evict):
        why = "Kubernetes says DiskPressure" if seen.disk.pressure else f"pods are evicted from {limits.evict:.0f} % on"
        found.append(f"disk: {seen.disk.mount} is {seen.disk.used:.0f} % full, {why}")
    if enough and seen.full > 0.5:
        found.append(f"quota: {seen.pods} pods of {seen.quota}, out of rotation at {seen.full:.0%} of the looks")
    return found


def _holding(seen: Numbers, limits: Limits) -> list[str]:
    found = []
    if seen.tried < limits.launches:
        found.append(f"{seen.tried} launches, fewer than {limits.launches} tell nothing: is the weight deployed?")
    if seen.failed >= limits.failures - 1 and seen.failing > limits.failed / 2:
        found.append(f"failed launches: {seen.failed} of {seen.tried}, near the limit of {limits.failed:.0%}")
    if seen.ready is not None and seen.ready > limits.ready / 2 and seen.launched >= limits.launches:
        found.append(f"time to ready: {seen.ready:.0f} s, near the limit of {limits.ready:.0f} s")
    if seen.queued > 0:
        found.append(f"builds: at the limit of {limits.build_limit} at {seen.queued:.0%} of the looks")
    if seen.disk is not None and seen.disk.used >= limits.disk:
        found.append(f"disk: {seen.disk.mount} is {seen.disk.used:.0f} % full, images are removed from there on")
    if seen.full > 0:
        found.append(f"quota: {seen.pods} pods of {seen.quota}, out of rotation at {seen.full:.0%} of the looks")
    if seen.silent or seen.ill:
        found.append(f"the last look failed: {seen.error or ', '.join(seen.bad)}")
    return found
