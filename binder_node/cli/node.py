"""``plan``, ``up``, ``destroy``, ``unlock``: the verbs over a whole node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from binder_node.cli.options import (
    BundleOption,
    EraseOption,
    FingerprintOption,
    NodeArgument,
    Output,
    OutputOption,
    PinsOption,
    RestoreFromOption,
    RestoreOption,
    SourceOption,
)

if TYPE_CHECKING:
    from binder_node.changes import Change
    from binder_node.events import Reporter
    from binder_node.host.restore import Restore
    from binder_node.lifecycle.opened import Opened
    from binder_node.lifecycle.verbs import Doomed, Outcome, Plan
    from binder_node.node import Node

app = typer.Typer()
PANEL = "A node"


@contextmanager
def looking(
    name: str,
    output: Output,
    pins: Path | None,
    source: str,
    bundle: Path | None,
    fingerprint: str = "",
    erase: str = "",
) -> Iterator[tuple[Node, Reporter]]:
    """The node opened for looking only: no more is written than a host key that was confirmed just now, and only
    people are told of progress."""
    from binder_node.cli.output import reporting
    from binder_node.cli.run import confirm_host_key
    from binder_node.events import silent
    from binder_node.lifecycle import opened, trust

    found, order = opened.may_erase(opened.open_spec(name, pins), erase), opened.sources(source, bundle)
    found = trust.confirmed(found, fingerprint, confirm_host_key())
    with reporting(Output.text) as told:
        report = told if output is Output.text else silent
        yield opened.open_node(found, report, sources=order, write=False), report


@app.command(
    rich_help_panel=PANEL,
    epilog="Examples:  binder-node plan bids   ·   binder-node plan inventories/bids.yaml -o json   ·   "
    "binder-node plan bids --host-key-fingerprint SHA256:...",
)
def plan(
    node: NodeArgument,
    output: OutputOption = Output.text,
    pins: PinsOption = None,
    source: SourceOption = "",
    bundle: BundleOption = None,
    fingerprint: FingerprintOption = "",
    erase_disk: EraseOption = "",
) -> None:
    """Show what `up` would change, stage by stage: files as diffs, secrets masked. Touches nothing."""
    from binder_node.cli.output import document
    from binder_node.cli.run import errors
    from binder_node.lifecycle import verbs

    with errors():
        with looking(node, output, pins, source, bundle, fingerprint, erase_disk) as (opened, report):
            made = verbs.plan(opened, report)
        if output is Output.text:
            _show_plan(made)
        else:
            from binder_node.cli.cost import fields

            stages = [{"stage": name, "changes": changes} for name, changes in made.stages]
            bill = fields(made.bill) if made.bill else None
            document({"node": made.node, "count": made.count, "cost": bill, "stages": stages}, output)


def _show_plan(made: Plan) -> None:
    from binder_node.cli.output import diff, say

    for name, changes in made.stages:
        say(f"{name}: {len(changes) or 'no'} change{'' if len(changes) == 1 else 's'}")
        for change in changes:
            say(f"  {change.action} {change.what}")
            if change.diff:
                diff(change.diff)
    say(f"{made.node}: {made.count or 'no'} change{'' if made.count == 1 else 's'} in all")
    if made.bill:
        from binder_node.cli.cost import sentence

        say(f"{made.node}: {sentence(made.bill)}")


@app.command(
    rich_help_panel=PANEL,
    epilog="Examples:  binder-node up bids   ·   binder-node up bids -o json | jq .message   ·   "
    "binder-node up bids --restore   ·   binder-node up bids --erase-disk /dev/disk/by-id/scsi-0HC_Volume_1234",
)
def up(
    node: NodeArgument,
    output: OutputOption = Output.text,
    pins: PinsOption = None,
    source: SourceOption = "",
    bundle: BundleOption = None,
    fingerprint: FingerprintOption = "",
    erase_disk: EraseOption = "",
    restore: RestoreOption = False,
    restore_from: RestoreFromOption = "",
) -> None:
    """Make the node what its inventory says, from wherever it is. Killed anywhere, the same command goes on.

    With -o json one event a line is written to stdout while it runs; the last one carries the outcome.
    """
    from binder_node.cli.output import reporting
    from binder_node.cli.run import confirm_host_key, errors
    from binder_node.events import Event
    from binder_node.lifecycle import opened, trust, verbs
    from binder_node.lifecycle.lock import locked

    with errors():
        found, order = opened.may_erase(opened.open_spec(node, pins), erase_disk), opened.sources(source, bundle)
        found = trust.confirmed(found, fingerprint, confirm_host_key())
        with (
            reporting(output) as report,
            locked(found.runtime, found.spec.name, "up"),
            _backup(found, restore_from, report) if restore or restore_from else nullcontext() as backup,
        ):
            outcome = verbs.up(opened.open_node(found, report, sources=order), report, backup)
            if output is not Output.text:
                report(Event("done", "up", _sentence(outcome), _fields(outcome)))
        if output is Output.text:
            _show_outcome(outcome)


def _backup(found: Opened, which: str, report: Reporter) -> AbstractContextManager[Restore]:
    from binder_node.lifecycle.backups import restored

    return restored(found, which, report)


def _fields(outcome: Outcome) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(outcome)


def _sentence(outcome: Outcome) -> str:
    count = outcome.changes
    what = f"{count} change{'' if count == 1 else 's'}" if count else "nothing to change"
    return f"{outcome.node}: {what}, {outcome.seconds:.1f} s; {outcome.url} at {outcome.address}"


def _show_outcome(outcome: Outcome) -> None:
    from binder_node.cli.output import say, table

    if outcome.changes:
        rows = [[stage, f"{seconds:.1f}"] for stage, seconds in outcome.stages.items()]
        table("", ["stage", "seconds"], [*rows, ["in all", f"{outcome.seconds:.1f}"]])
    say(_sentence(outcome))


@app.command(
    rich_help_panel=PANEL,
    epilog="Examples:  binder-node destroy bids   ·   binder-node destroy bids --show -o json   ·   "
    "binder-node destroy bids --all --yes bids",
)
def destroy(
    node: NodeArgument,
    yes: Annotated[
        str | None, typer.Option("--yes", metavar="NODE", help="The node's name, instead of asking.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also the address and the volume, which outlive a machine.")
    ] = False,
    bucket: Annotated[
        bool, typer.Option("--bucket", help="Also the bucket elsewhere, with every image in it.")
    ] = False,
    show: Annotated[bool, typer.Option("--show", help="Show what would go, and do nothing.")] = False,
    output: OutputOption = Output.text,
    pins: PinsOption = None,
) -> None:
    """Take the machine away, and what was made for it. Shows what goes and what stays, and asks.

    The inventory and the secrets stay.
    """
    from binder_node.cli.output import document, reporting, say
    from binder_node.cli.run import confirm, errors, refuse_unasked
    from binder_node.lifecycle import opened, verbs
    from binder_node.lifecycle.lock import locked
    from binder_node.providers.base import KEEP, NOTHING

    with errors():
        found = opened.open_spec(node, pins)
        name, keep = found.spec.name, NOTHING if everything else KEEP
        if show:
            with reporting(Output.text) as report:
                doomed = verbs.doomed(opened.open_unseen(found), report, keep, bucket=bucket)
            if output is Output.text:
                _show_doomed(name, doomed)
            else:
                document({"node": name, "gone": _whats(doomed.gone), "kept": _whats(doomed.kept)}, output)
            return
        question = f"This takes {name} away, with its machine and all that is stored on it."
        refuse_unasked(question, name, yes)
        with locked(found.runtime, name, "destroy"):
            bare = opened.open_unseen(found)
            with reporting(Output.text) as report:
                doomed = verbs.doomed(bare, report, keep, bucket=bucket)
            _show_doomed(name, doomed)
            if not doomed.gone:
                return
            confirm(question, name, yes)
            with reporting(Output.text) as report:
                verbs.destroy(bare, report, keep, bucket=bucket)
        say(f"{name}: gone; its inventory and secrets are still here")


def _whats(changes: list[Change]) -> list[str]:
    return [change.what for change in changes]


def _show_doomed(name: str, doomed: Doomed) -> None:
    from binder_node.cli.output import say

    for text, changes in (("goes", doomed.gone), ("stays", doomed.kept)):
        for what in _whats(changes):
            say(f"  {text:<5} {what}")
    if not doomed.gone:
        say(f"{name}: nothing to take away")


@app.command(
    rich_help_panel=PANEL,
    epilog="Example:  binder-node unlock bids",
)
def unlock(
    node: NodeArgument,
    yes: Annotated[
        str | None, typer.Option("--yes", metavar="NODE", help="The node's name, instead of asking.")
    ] = None,
) -> None:
    """Break the lock of a run that is stuck. The lock of a run that has ended is free by itself."""
    import time

    from binder_node.cli.output import say
    from binder_node.cli.run import confirm, errors
    from binder_node.lifecycle import lock, opened

    with errors():
        found = opened.open_spec(node, None)
        name = found.spec.name
        held = lock.holder(found.runtime)
        if held is None:
            say(f"{name}: not locked")
            return
        confirm(f"{name} is locked: {held.describe(time.time())}. It goes on if it still runs.", name, yes)
        lock.break_lock(found.runtime)
        say(f"{name}: lock broken")
