"""The release alone, made what inventory and pins say: for changes that touch nothing else of a node."""

from __future__ import annotations

from binder_node.artifacts.store import Sources
from binder_node.cluster.release import ReleaseStage
from binder_node.errors import InputError, Problem, StepError
from binder_node.events import Reporter, quiet
from binder_node.lifecycle.opened import Opened, access_of, open_node, open_spec
from binder_node.lifecycle.stages import apply_all, look
from binder_node.lifecycle.versions import note_release


def release(opened: Opened, sources: Sources, report: Reporter) -> int:
    """Read inventory and pins anew and make the release so; the number of its changes.

    Raises:
        InputError: they are not valid.
        StepError, DeadlineError: a step failed; the same call goes on from there.
    """
    found = open_spec(str(opened.inventory), opened.pins.overlay)
    stage = _stage(found, sources, report)

    def tell(changes: object) -> None:
        del changes  # the caller tells what it is about

    count = apply_all([look(stage, report, exists=True)], report, tell)
    if stage.access is not None:
        note_release(stage.access, found.pins, stage.node.artifacts)
    return count


def refuse_other_changes(opened: Opened, sources: Sources, report: Reporter) -> None:
    """Raise StepError where the release is not as inventory and pins say now: more would change than is meant."""
    name = opened.spec.name
    others = look(_stage(opened, sources, report), report, exists=True).changes
    if others:
        why = f"the release has {len(others)} other changes to make: {others[0].what}"
        raise StepError(name, "change the release", why, f"see `binder-node plan {name}`, run `up` first")


def deployed_here(opened: Opened, option: str, right: str) -> None:
    """Raise InputError at ``option`` where the release is the federation's: nothing is deployed from here then."""
    if opened.spec.central:
        raise InputError(Problem("", 0, option, f"{opened.spec.name} is deployed by its federation", right))


def _stage(opened: Opened, sources: Sources, report: Reporter) -> ReleaseStage:
    access, address = access_of(opened)
    return ReleaseStage(open_node(opened, quiet(report), sources=sources), access, address)
