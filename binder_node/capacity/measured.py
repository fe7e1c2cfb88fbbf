"""A load's document as steps and moments: what :mod:`binder_node.capacity` reckons with. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from binder_node.capacity.fit import Machine, Seen
from binder_node.capacity.steps import Step
from binder_node.errors import InputError, Problem
from binder_node.load import numbers
from binder_node.load.result import Result


def step(result: Result) -> Step:
    """The load as one step: launches of images that were there, and what became of everybody else.

    A launch that had to be built says nothing of how fast servers start; its failure counts, as anybody's does.
    """
    sent = [visit for visit in result.visits if visit.outcome not in ("held", "cut")]
    samples = [sample for machine in result.machines for sample in machine.samples if sample.at <= result.arriving]
    return Step(
        rate=round(len(sent) / result.arriving, 4) if result.arriving else 0.0,
        seconds=result.arriving,
        ready=tuple(visit.ready for visit in sent if visit.ready is not None and visit.kind == "cached"),
        refused=sum(visit.outcome == "refused" for visit in sent),
        failed=sum(visit.outcome in ("failed", "lost") for visit in sent),
        # The first sample is of the time before anybody came.
        cpu=round(sum(one.cpu for one in samples[1:]) / len(samples[1:]), 4) if samples[1:] else None,
        memory=max((one.memory for one in samples), default=None),
        sessions=numbers.peak(sent),
    )


def moments(result: Result) -> list[Seen]:
    """What was seen of the one node, sample by sample."""
    return [
        Seen(sample.users, sample.memory, sample.cpu * machine.cpus, sample.builds or 0)
        for machine in result.machines
        for sample in machine.samples
        if sample.users is not None
    ]


def machine(results: Sequence[tuple[str, Result]]) -> Machine:
    """The one machine that all loads were of; each comes with its file's name.

    Raises:
        InputError: no load watched its node, or they are of machines of different sizes.
    """
    sizes: dict[Machine, str] = {}
    for file, result in results:
        for one in result.machines:
            if one.cpus and one.memory:
                sizes.setdefault(Machine(one.cpus, one.memory), file)
    if not sizes:
        files = ", ".join(file for file, _ in results)
        raise InputError(Problem(files, 0, "machines", "nobody looked at the node meanwhile", "load a node, not a URL"))
    if len(sizes) > 1:
        file = list(sizes.values())[1]
        right = "give loads of one node, or of nodes of one size"
        raise InputError(Problem(file, 0, "machines", "is of a machine of another size than the others", right))
    return next(iter(sizes))
