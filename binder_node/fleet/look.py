"""What one look at a node tells, and which looks are kept. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field

# Looks are kept for a week: all of the last two hours, then one in five minutes, and after a day one in half an hour:
# some 700 a node, 150 kB of a page.
KEEP_SECONDS = 7 * 86400.0
SPACING = ((2 * 3600.0, 0.0), (86400.0, 300.0), (KEEP_SECONDS, 1800.0))


class Look(BaseModel):
    """A look at one node. ``at``: seconds since 1970; ``took``: seconds. What could not be seen is None.

    ``troubles``: parts that could not be looked at, and why. ``changes``: how many `up` would make, by stage.
    ``inside``: the redirector would send people there, and ``reasons`` why not. ``pods`` count against ``quota``;
    ``answer`` is the slowest of BinderHub's answers in seconds. ``cpu`` is the busy share of all cores, 0 to 1; bytes
    for memory and disk. ``certificate``: whole days that the first to end still has. ``backup``: hours since the last.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    node: str
    at: float
    took: float = 0.0
    url: str = ""
    troubles: tuple[str, ...] = ()
    changes: Mapping[str, int] = Field(default_factory=dict)
    inside: bool | None = None
    reasons: tuple[str, ...] = ()
    pods: int | None = None
    quota: int | None = None
    answer: float | None = None
    cpu: float | None = None
    cpus: int | None = None
    memory: int | None = None
    memory_all: int | None = None
    disk: int | None = None
    disk_all: int | None = None
    users: int | None = None
    builds: int | None = None
    certificate: int | None = None
    backup: float | None = None
    rotation: str = ""

    @property
    def wanted(self) -> int:
        """How many changes `up` would make."""
        return sum(self.changes.values())

    @property
    def well(self) -> bool:
        """All of it was seen and is as wanted, and people are sent there."""
        return not self.troubles and not self.wanted and self.inside is not False

    @property
    def state(self) -> str:
        """In a few words."""
        if self.inside is False:
            return "out"
        if self.troubles:
            return "not all seen"
        return f"{self.wanted} change{'' if self.wanted == 1 else 's'} wanted" if self.wanted else "well"

    @property
    def why(self) -> tuple[str, ...]:
        """What keeps it from being well, a sentence each."""
        stages = ", ".join(f"{stage} {count}" for stage, count in self.changes.items() if count)
        out = [f"out: {reason}" for reason in self.reasons]
        return (*out, *self.troubles, *([f"`up` would change: {stages}"] if stages else []))


def kept(looks: Iterable[Look], now: float) -> list[Look]:
    """Those that stay in a page, oldest first: fewer the older they are. Of each node the newest stays in any case."""
    last: dict[str, float] = {}
    found = []
    for look in sorted(looks, key=lambda one: one.at, reverse=True):
        before = last.get(look.node)
        spacing = next((space for age, space in SPACING if now - look.at <= age), None)
        if before is None or (spacing is not None and before - look.at >= spacing):
            last[look.node] = look.at
            found.append(look)
    return found[::-1]


def rows(looks: Sequence[Look]) -> list[list[str]]:
    """A line a node: :data:`COLUMNS`."""
    return [
        [
            look.node,
            look.state,
            _of(look.pods, look.quota),
            "" if look.users is None else f"{look.users} + {look.builds or 0}",
            "" if look.cpu is None else f"{look.cpu:.0%}",
            _share(look.memory, look.memory_all),
            _share(look.disk, look.disk_all),
            "" if look.answer is None else f"{look.answer:.2f} s",
            "" if look.certificate is None else f"{look.certificate} d",
            "" if look.backup is None else f"{look.backup:.1f} h ago",
        ]
        for look in looks
    ]


COLUMNS = ("node", "state", "pods", "users + builds", "CPU", "memory", "disk", "answers in", "certificate", "backup")


def _of(value: int | None, most: int | None) -> str:
    if value is None:
        return ""
    return f"{value}" if most is None else f"{value} of {most}"


def _share(value: int | None, most: int | None) -> str:
    return "" if value is None or not most else f"{value / most:.0%}"


def sentence(looks: Sequence[Look]) -> str:
    """How all of them are, in a line."""
    well = sum(look.well for look in looks)
    return f"{well} of {len(looks)} node{'' if len(looks) == 1 else 's'} well"
