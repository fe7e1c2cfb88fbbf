"""What a node does on timers, as a table: what is written down of each, and whether it is as it should be. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from binder_node.host import backup, banned, events, pods, retention
from binder_node.host.observe import Seen
from binder_node.spec.model import Spec

# A run that was missed is made up for by the next; so long after that one was due, somebody should know. Seconds.
LATE = 3600.0


@dataclass(frozen=True, slots=True)
class Job:
    """``every`` is seconds from one run to the next; ``log`` its component, for `binder-node logs`."""

    name: str
    about: str
    unit: str
    timer: str
    every: float
    log: str

    @property
    def allowed(self) -> float:
        """Seconds since the last run that ended well, after which it is late."""
        return 2 * self.every + LATE


def jobs(spec: Spec) -> tuple[Job, ...]:
    """Those of this node. A new one is a row here."""
    own = []
    if not spec.central:
        own = [
            Job("uses", "record of which images are used", retention.USES_UNIT, retention.USES_TIMER,
                retention.EVERY_USES, "retention"),
            Job("retention", "removal of images that nobody uses", retention.UNIT, retention.TIMER, retention.EVERY,
                "retention"),
            Job("events", "archive of launches", events.UNIT, events.TIMER, events.EVERY, "events"),
        ]  # fmt: skip
        if spec.binderhub.sweep:
            own.append(Job("pods", "removal of pods that serve nobody", pods.UNIT, pods.TIMER, pods.EVERY, "pods"))
    if spec.abuse.banned_url is not None:
        own.append(Job("banned", "list of who is banned", banned.UNIT, banned.TIMER, banned.EVERY, "banned"))
    if spec.backup.hours:
        every = spec.backup.hours * 3600
        own.append(Job("backup", "backup", backup.UNIT, backup.TIMER, every, "backup"))
    return tuple(own)


@dataclass(frozen=True, slots=True)
class Ran:
    """What on_node/record.py wrote of a job's last run; ``ended`` None: it never ran. Times are UTC."""

    job: str
    result: str = ""
    ended: datetime | None = None
    seconds: float = 0.0
    said: str = ""
    succeeded: datetime | None = None
    failures: int = 0

    @property
    def well(self) -> bool:
        return self.result == "success"


def ran(name: str, found: Mapping[str, Any]) -> Ran:
    """From the file's content; of one that is not as written, that it never ran."""
    try:
        return Ran(
            name,
            str(found["result"]),
            datetime.fromisoformat(found["ended"]),
            float(found["seconds"]),
            str(found["said"]),
            datetime.fromisoformat(found["succeeded"]) if found["succeeded"] else None,
            int(found["failures"]),
        )
    except (KeyError, ValueError, TypeError):
        return Ran(name)


def last_runs(spec: Spec, seen: Seen) -> list[Ran]:
    """Of every job of the node; empty for a machine that was not seen."""
    return [ran(job.name, seen.jobs.get(job.name, {})) for job in jobs(spec)] if seen.exists else []
