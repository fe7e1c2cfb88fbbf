"""The stages of a node in their order, and the one walk over them that every verb shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from binder_node.changes import Change, Stage
from binder_node.errors import BinderNodeError
from binder_node.events import Event, Reporter, step
from binder_node.node import Access, Node

if TYPE_CHECKING:
    from binder_node.host.restore import Restore


@dataclass(frozen=True, slots=True)
class Inspected:
    """One stage as it is: what it saw and what it would change, or why it could not be looked at."""

    stage: Stage[Any]
    seen: Any
    changes: list[Change]
    error: BinderNodeError | None = None


def later_stages(node: Node, access: Access | None, address: str, restore: Restore | None = None) -> list[Stage[Any]]:
    """Everything after the machine, in the order in which it is applied; ``restore`` is what it is made from."""
    from binder_node.cluster.engine.files import engine_files
    from binder_node.cluster.manifests import manifests
    from binder_node.cluster.operators import AccessStage
    from binder_node.cluster.release import ReleaseStage
    from binder_node.cluster.tls import authority
    from binder_node.host.stage import HostStage
    from binder_node.names.stage import NamesStage
    from binder_node.storage.backups import BackupStage
    from binder_node.storage.stage import StorageStage

    names: list[Stage[Any]] = [] if node.spec.dns.kind == "none" else [NamesStage(node, address)]
    spec = node.spec
    # A central deploy brings its own namespace, ingress and certificates, and builds with its own daemon.
    own, engine = (
        ("", {}) if spec.central else (manifests(spec, address, authority(spec), _cryptnono(node)), engine_files(spec))
    )
    release: list[Stage[Any]] = [] if spec.central else [ReleaseStage(node, access, address)]
    return [
        *names,
        HostStage(node, access, address, own, engine, restore),
        StorageStage(node, access),
        *([BackupStage(node, access)] if spec.backup.hours else []),
        AccessStage(node, access),
        *release,
    ]


def _cryptnono(node: Node) -> tuple[bytes, str] | None:
    """Its chart and the version, where the inventory wants it."""
    from binder_node.cluster.cryptnono import CHART

    if not node.spec.abuse.cryptnono:
        return None
    chart = node.artifacts[CHART]
    return chart.path.read_bytes(), chart.version


def look(stage: Stage[Any], report: Reporter, *, exists: bool) -> Inspected:
    """One stage inspected; on a machine that does not exist it is what it would be on a bare one."""
    if not exists:
        seen = stage.nothing()
        return Inspected(stage, seen, stage.changes(seen))
    with step(report, stage.name, f"look at {stage.name}", whole=True):
        seen = stage.inspect(report)
    return Inspected(stage, seen, stage.changes(seen))


def look_at_all(stages: Sequence[Stage[Any]], report: Reporter, *, exists: bool) -> list[Inspected]:
    """All stages inspected side by side.

    A stage that cannot be looked at because an earlier one is not there yet (no MinIO before the host is made) shows
    as on a bare machine. When no earlier stage has anything to do, the error is the operator's to see.
    """

    def quietly(stage: Stage[Any]) -> Inspected:
        try:
            return look(stage, _without_failures(report), exists=exists)
        except BinderNodeError as error:
            bare = stage.nothing()
            return Inspected(stage, bare, stage.changes(bare), error)

    with ThreadPoolExecutor(max_workers=len(stages) or 1) as pool:
        found = list(pool.map(quietly, stages))
    for index, inspected in enumerate(found):
        if inspected.error is not None and not any(earlier.changes for earlier in found[:index]):
            raise inspected.error
    return found


def _without_failures(report: Reporter) -> Reporter:
    def filtered(event: Event, /) -> None:
        if event.kind != "failed":
            report(event)

    return filtered


def apply_all(found: Sequence[Inspected], report: Reporter, tell: Callable[[list[Change]], None]) -> int:
    """Apply the stages' changes in order; returns how many there were.

    After a stage has changed something, the later ones are looked at again: what was seen of them is stale.
    """
    done = 0
    for inspected in found:
        current = look(inspected.stage, report, exists=True) if done or inspected.error else inspected
        if not current.changes:
            continue
        tell(current.changes)
        with step(report, current.stage.name, _summary(current.changes), changes=len(current.changes), whole=True):
            current.stage.apply(current.seen, report)
        done += len(current.changes)
    return done


def _summary(changes: list[Change]) -> str:
    count = len(changes)
    return changes[0].what if count == 1 else f"{count} changes"
