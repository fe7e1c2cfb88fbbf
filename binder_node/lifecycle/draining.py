"""``drain`` and ``undrain``: the quota in a node's inventory or in the federation's checkout; its sessions' end."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from binder_node import remote
from binder_node.artifacts.store import Sources
from binder_node.cluster.kube import sudo
from binder_node.errors import DeadlineError, StepError
from binder_node.events import Event, Reporter, step
from binder_node.federation import checkout, drain
from binder_node.federation.book import Checkout, put, read
from binder_node.federation.drain import Left
from binder_node.federation.measured import health
from binder_node.federation.yamltext import Text, scalar
from binder_node.lifecycle.membership import Reached
from binder_node.lifecycle.opened import Opened
from binder_node.lifecycle.releasing import deployed_here, refuse_other_changes, release
from binder_node.spec.model import Spec

STAGE = "drain"
# A new BinderHub is up by the end of the release's stage; its predecessor may answer for some seconds more.
QUOTA_SECONDS = 60.0
# So many answers in a row, a second apart: a BinderHub that goes serves for five more (values/base.yaml, preStop).
AGREEING = 6
# So many looks at the sessions may fail one after the other.
LOOKS = 5
# In whichever namespace: a federation's deploy has its own.
SESSIONS = "k3s kubectl get pods -A -l app=jupyterhub,component=singleuser-server -o json --request-timeout=20s"


@dataclass(frozen=True, slots=True)
class Set:
    """A quota that was written: the file, its diff (empty: it was so already), and whether it is in force."""

    file: Path
    diff: str
    deployed: bool


def drain_here(opened: Opened, sources: Sources, report: Reporter) -> Set:
    """Quota 0 in the inventory and in the running BinderHub.

    Raises:
        InputError: the inventory's quota cannot be edited.
        StepError: the release has other changes to make first, or this one failed; the same call goes on.
    """
    return _here(opened, drain.drained, sources, report)


def undrain_here(opened: Opened, quota: int | None, sources: Sources, report: Reporter) -> Set:
    """The quota as it was before :func:`drain_here`, or ``quota``. Raises as that does."""
    return _here(opened, partial(drain.undrained, quota=quota), sources, report)


def drain_checkout(book: Checkout) -> Set:
    """Quota 0 in the member's values in a checkout. Raises InputError."""
    return _in_checkout(book, drain.drained)


def undrain_checkout(book: Checkout, quota: int | None) -> Set:
    """The quota as it was before :func:`drain_checkout`, or ``quota``. Raises InputError."""
    return _in_checkout(book, partial(drain.undrained, quota=quota))


def _in_checkout(book: Checkout, edit: Callable[[str, str, tuple[str | int, ...]], str]) -> Set:
    file, old = book.values, read(book.values)
    key = next((key for key in checkout.QUOTAS if scalar(Text(old, str(file)), key) is not None), checkout.QUOTAS[0])
    return Set(file, put(file, old, edit(old, str(file), key)), deployed=False)


def _here(opened: Opened, edit: Callable[[str, str], str], sources: Sources, report: Reporter) -> Set:
    deployed_here(opened, "--checkout", "name the federation's checkout: its deploy has the quota")
    old = read(opened.inventory)
    new = edit(old, str(opened.inventory))
    if new != old:
        # A drain changes the quota and nothing else.
        refuse_other_changes(opened, sources, report)
    written = put(opened.inventory, old, new)
    release(opened, sources, report)
    return Set(opened.inventory, written, deployed=True)


def await_quota(member: Reached, drained: bool, report: Reporter) -> None:
    """Wait until /health tells the new quota, by which the redirector goes. Raises DeadlineError."""
    name, deadline, last, agreed = member.node.spec.name, time.monotonic() + QUOTA_SECONDS, "", 0
    with step(report, STAGE, "wait for /health to tell the quota"):
        while True:
            try:
                quota = health(member.binder.health()).quota
                agreed, last = (agreed + 1 if (quota == 0) is drained else 0), f"it tells {quota}"
                if agreed == AGREEING:
                    return
            except (StepError, ValueError) as error:  # a request that met the BinderHub that goes
                agreed, last = 0, str(error)
            if time.monotonic() > deadline:
                what = f"/health to tell {'quota 0' if drained else 'a quota'}"
                raise DeadlineError(name, what, QUOTA_SECONDS, last)
            time.sleep(1)


def sessions_left(member: Reached) -> Left:
    """The node's sessions now, and when the last one will have ended. Raises StepError."""
    done = remote.run(member.access, f"{sudo(member.access)}{SESSIONS}", timeout=30, check=False)
    if done.code:
        raise StepError(member.access.name, "count the sessions", done.stderr, "is K3s up?")
    return drain.left(drain.sessions(json.loads(done.stdout), datetime.now(UTC)), max_age(member.node.spec))


def max_age(spec: Spec) -> float:
    """The culler's longest age of a session in seconds, by the values of the release; 0: it ends none for its age."""
    from binder_node.cluster import values

    cull: dict[str, object] = {}
    for found in values.read(spec).values():
        hub = found.get("jupyterhub")
        cull |= (hub.get("cull") or {}) if isinstance(hub, dict) else {}
    if cull.get("enabled") is False:
        return 0.0
    age = cull.get("maxAge", drain.MAX_AGE)
    return float(age) if isinstance(age, int | float) else drain.MAX_AGE


def wait_empty(member: Reached, every: float, seconds: float, report: Reporter) -> Left:
    """Wait until the last session has ended, telling how many are left; at most ``seconds``.

    It takes hours: a look that fails, as one does while K3s restarts, is made again.

    Raises:
        StepError: :data:`LOOKS` looks in a row failed.
        DeadlineError: some are left.
    """
    deadline, failed = time.monotonic() + seconds, 0
    while True:
        try:
            found = sessions_left(member)
        except StepError as error:
            failed, last = failed + 1, str(error)
            if failed == LOOKS:
                raise
            report(Event("warn", STAGE, last))
        else:
            failed, last = 0, sentence(found)
            if not found.sessions:
                return found
            report(Event("progress", STAGE, last, {"sessions": found.sessions, "likely": found.likely}))
        if time.monotonic() > deadline:
            raise DeadlineError(member.node.spec.name, "the last session's end", seconds, last)
        time.sleep(min(every, max(0.1, deadline - time.monotonic())))


def sentence(found: Left) -> str:
    """``12 sessions left; the last one likely ends in 2.1 h, in 5.5 h at the latest``"""
    if not found.sessions:
        return "no sessions left"
    count = f"{found.sessions} session{'' if found.sessions == 1 else 's'} left"
    latest = f"in {_span(found.most)} at the latest" if math.isfinite(found.most) else "and none for its age"
    return f"{count}; the last one likely ends in {_span(found.likely)}, {latest}"


def _span(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
