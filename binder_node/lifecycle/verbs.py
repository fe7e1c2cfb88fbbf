"""The verbs: plan, up, status, destroy. Each is the same walk over the same stages."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from binder_node.changes import Change
from binder_node.cluster import served
from binder_node.cluster.tls import trust
from binder_node.errors import StepError
from binder_node.events import Event, Reporter, step
from binder_node.lifecycle.prices import price
from binder_node.lifecycle.stages import Inspected, apply_all, later_stages, look, look_at_all
from binder_node.names.base import zone_of
from binder_node.names.stage import NamesStage
from binder_node.node import Access, Node
from binder_node.providers import provider_for
from binder_node.providers.base import KEEP, NOTHING, Kept, Provider
from binder_node.providers.offers import Bill
from binder_node.spec.model import S3Storage

if TYPE_CHECKING:
    from binder_node.host.restore import Restore


@dataclass(frozen=True, slots=True)
class Plan:
    """What ``up`` would do, stage by stage; ``bill`` is a month's, where a price is known."""

    node: str
    stages: list[tuple[str, list[Change]]]
    bill: Bill | None = None

    @property
    def count(self) -> int:
        return sum(len(changes) for _, changes in self.stages)


@dataclass(slots=True)
class Timed:
    """A reporter that also keeps each stage's seconds, in order; of the steps inside one nothing is added again."""

    report: Reporter
    seconds: dict[str, float] = field(default_factory=dict)

    def __call__(self, event: Event, /) -> None:
        if event.kind == "done" and event.data.get("whole"):
            self.seconds[event.stage] = self.seconds.get(event.stage, 0.0) + float(event.data["seconds"])
        self.report(event)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What ``up`` did: number of changes, seconds by stage (looking included) and in all."""

    node: str
    changes: int
    seconds: float
    stages: dict[str, float]
    address: str
    url: str


def url_of(node: Node) -> str:
    """BinderHub's public address."""
    return node.spec.url(node.spec.names.binder)


def _machine(node: Node, report: Reporter) -> tuple[Provider, Inspected]:
    provider = provider_for(node)
    return provider, look(provider, report, exists=True)


def plan(node: Node, report: Reporter) -> Plan:
    """Every stage's changes; touches nothing.

    Raises:
        StepError, DeadlineError: something that is there could not be looked at.
    """
    provider, machine = _machine(node, report)
    access = provider.access(machine.seen)
    found = [machine, *_later(node, provider, machine, access, report)]
    stages = [(inspected.stage.name, inspected.changes) for inspected in found]
    return Plan(node.spec.name, stages, price(node.spec, provider, report))


def _later(
    node: Node,
    provider: Provider,
    machine: Inspected,
    access: Access | None,
    report: Reporter,
    restore: Restore | None = None,
) -> list[Inspected]:
    """What comes after the machine. One that lets us in is looked at, whatever it lacks itself."""
    stages = later_stages(node, access, provider.address(machine.seen), restore)
    return look_at_all(stages, report, exists=access is not None)


def up(node: Node, report: Reporter, restore: Restore | None = None, *, through: str = "") -> Outcome:
    """Make the node what its Spec says, from wherever it is; a second call changes nothing. A bare machine is made from
    the backup ``restore``, where there is one. ``through`` names the last stage to do; empty: all.

    Raises:
        InputError: a token is missing; nothing was touched.
        StepError, DeadlineError: a step failed; the same call goes on from there.
    """
    zone_of(node)  # its token is there, before anything is made
    began = time.monotonic()
    timed = Timed(report)

    def tell(changes: list[Change]) -> None:
        for change in changes:
            timed(Event("change", change.stage, f"{change.action} {change.what}", {"action": change.action}))

    provider, machine = _machine(node, timed)
    done = apply_all([machine], timed, tell)
    if done:
        machine = look(provider, timed, exists=True)
        if machine.changes:
            left = ", ".join(change.what for change in machine.changes)
            raise StepError(node.spec.name, "make the machine", f"it still lacks: {left}")
    access = provider.access(machine.seen)
    if access is None:
        raise StepError(node.spec.name, "reach the machine", "it does not answer ssh", "look at its console")
    later = _later(node, provider, machine, access, timed, restore)
    names = [inspected.stage.name for inspected in later]
    done += apply_all(later[: names.index(through) + 1] if through else later, timed, tell)
    return Outcome(
        node.spec.name,
        done,
        round(time.monotonic() - began, 2),
        {stage: round(seconds, 2) for stage, seconds in timed.seconds.items()},
        provider.address(machine.seen),
        url_of(node),
    )


def status(node: Node, report: Reporter) -> dict[str, Any]:
    """Every stage as it is, and the certificates that the node shows: ``{"node", "url", "address", "certificates":
    [{"name", "expires", "days", "issuer", "trouble"}], "jobs": [{"job", "result", "ended", "seconds", "said",
    "succeeded", "failures"}], "stages": {name: {"ok", "changes", "seen"}}}``; ``jobs`` are what timers started last."""
    from binder_node.host.jobs import last_runs
    from binder_node.host.observe import Seen

    provider, machine = _machine(node, report)
    access = provider.access(machine.seen)
    found = [machine, *_later(node, provider, machine, access, report)]
    address = provider.address(machine.seen)
    shown = served.look(node.spec, address, trust(node.spec)) if access is not None else []
    for warning in filter(None, (item.warning for item in shown)):
        report(Event("warn", "release", warning))
    return {
        "node": node.spec.name,
        "url": url_of(node),
        "address": address,
        "certificates": shown,
        "jobs": [run for one in found if isinstance(one.seen, Seen) for run in last_runs(node.spec, one.seen)],
        "stages": {
            inspected.stage.name: {
                "ok": not inspected.changes,
                "changes": [f"{change.action} {change.what}" for change in inspected.changes],
                "seen": inspected.seen,
            }
            for inspected in found
        },
    }


@dataclass(frozen=True, slots=True)
class Doomed:
    """What ``destroy`` takes away, in its order, and what it leaves though it is the node's."""

    gone: list[Change]
    kept: list[Change]


def doomed(node: Node, report: Reporter, keep: frozenset[Kept] = KEEP, *, bucket: bool = False) -> Doomed:
    """A look at what :func:`destroy` would do; touches nothing.

    Raises:
        StepError: it could not be looked at, or something is protected.
    """
    provider = provider_for(node)
    gone = provider.doomed(report, keep)
    everything = gone if keep == NOTHING else provider.doomed(report, NOTHING)
    kept = [change for change in everything if change not in gone]
    storage = node.spec.storage
    if isinstance(storage, S3Storage):
        what = f"bucket {storage.bucket} at {storage.endpoint}"
        if bucket:
            gone = [*gone, Change("storage", "delete", f"{what}, with every image in it")]
        else:
            kept.append(Change("storage", "delete", what))
    return Doomed([*_doomed_names(node, report), *gone], kept)


def _doomed_names(node: Node, report: Reporter) -> list[Change]:
    try:
        return NamesStage(node, "").doomed(report)
    except StepError as error:
        # Destroy goes on without them, too, and fails for them at its end.
        report(Event("warn", "names", f"the records could not be looked at: {error}"))
        return []


def destroy(node: Node, report: Reporter, keep: frozenset[Kept] = KEEP, *, bucket: bool = False) -> None:
    """Walk back: the names that lead to the machine, then it and everything on it, but for ``keep``.

    With ``bucket`` also one that lies elsewhere. The inventory and its secrets stay.

    Raises:
        StepError, DeadlineError: something could not be removed; the same call goes on from there.
    """
    left: StepError | None = None
    try:
        # First: a name that leads to an address which others are given next is theirs.
        NamesStage(node, "").destroy(report)
    except StepError as error:
        # A machine costs money; the same call looks for its names again.
        report(Event("warn", "names", f"the records stay for now: {error}"))
        left = error
    with step(report, "machine", f"destroy {node.spec.name}"):
        provider_for(node).destroy(report, keep)
    if bucket and isinstance(node.spec.storage, S3Storage):
        from binder_node.storage.bucket import remove
        from binder_node.storage.stage import StorageStage

        def tell(count: int) -> None:
            report(Event("progress", "storage", f"{count} objects are gone"))

        with (
            step(report, "storage", f"remove bucket {node.spec.storage.bucket}"),
            StorageStage(node, None).endpoint() as endpoint,
        ):
            remove(endpoint, tell)
    if left is not None:
        raise left
