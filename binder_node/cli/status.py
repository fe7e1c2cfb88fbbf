"""``status``: one node, stage by stage, or several side by side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from binder_node.cli.federation_check import PRIME
from binder_node.cli.node import looking
from binder_node.cli.options import BundleOption, Output, OutputOption, PinsOption, SourceOption, complete_node

if TYPE_CHECKING:
    from binder_node.cluster.served import Served
    from binder_node.host.jobs import Ran
    from binder_node.lifecycle.rotating import Standing
    from binder_node.storage.backups import Seen as Backups

app = typer.Typer()


@app.command(
    rich_help_panel="A node",
    epilog="Examples:  binder-node status bids   ·   binder-node status bids -o yaml   ·   "
    "binder-node status --all --watch   ·   binder-node status bids gesis --watch --every 300 --html nodes.html",
)
def status(
    nodes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NODE]...",
            help="A node's name or inventory. Several, or --all: a line for each, side by side.",
            autocompletion=complete_node,
            show_default=False,
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every node of inventories/.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again.")] = False,
    every: Annotated[float, typer.Option(metavar="SECONDS", min=5, help="With --watch: from look to look.")] = 60,
    seconds: Annotated[
        float | None, typer.Option("--for", help="With --watch: end after this many seconds.", show_default=False)
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also write a page with plots, which keeps the looks of a week; written before, it goes on.",
            show_default=False,
        ),
    ] = None,
    prime: Annotated[
        str, typer.Option(metavar="URL", help="Whose versions members of a federation have to have.")
    ] = PRIME,
    output: OutputOption = Output.text,
    pins: PinsOption = None,
    source: SourceOption = "",
    bundle: BundleOption = None,
) -> None:
    """Show every stage as it is, certificates, what timers did last, and where a rotation stands.

    Of several nodes: a line each, with health as the redirector sees it, pods, CPU, memory and disk. Exits with 1 when
    a stage is not as wanted; of several, when one is not well. With --watch -o json, an event a node and look.
    """
    from binder_node.cli.run import errors
    from binder_node.errors import InputError, Problem

    with errors():
        if seconds is not None and not watch:
            raise InputError(Problem("", 0, "--for", "has no meaning without --watch", "say both"))
        if everything or watch or html is not None or len(nodes or []) > 1:
            from binder_node.cli.status_all import show
            from binder_node.lifecycle import opened
            from binder_node.lifecycle.looking import Asked, inventories

            names = _several(nodes or [], inventories if everything else None)
            asked = Asked(names, pins, opened.sources(source, bundle), prime)
            show(asked, output, every=every if watch else None, seconds=seconds, html=html)
        else:
            [node] = _several(nodes or [], None)
            _status(node, output, pins, source, bundle)


def _several(nodes: list[str], every: Callable[[], list[str]] | None) -> list[str]:
    """The nodes to look at: those named, or every one. Raises InputError for both, and for none."""
    from binder_node.errors import InputError, Problem

    if every is None:
        if not nodes:
            raise InputError(Problem("", 0, "NODE", "no node is named", "say one, several, or --all"))
        return list(dict.fromkeys(nodes))
    if nodes:
        raise InputError(Problem("", 0, "--all", "has no meaning beside names", "say one of the two"))
    return every()


def _status(node: str, output: Output, pins: Path | None, source: str, bundle: Path | None) -> None:
    from binder_node.cli.output import document, say, table
    from binder_node.lifecycle import verbs

    with looking(node, output, pins, source, bundle) as (opened, report):
        seen = verbs.status(opened, report)
        stands = _rotation(node, pins) if opened.spec.replaces or opened.successor else None
    if stands is not None:
        seen["rotation"] = stands
    stages: dict[str, Any] = seen["stages"]
    if output is Output.text:
        rows = [
            [name, "as it should be" if stage["ok"] else _wanted(len(stage["changes"]))]
            for name, stage in stages.items()
        ]
        table("", ["stage", "state"], rows)
        if seen["certificates"]:
            table("", ["certificate", "state"], [[item.name, _shown(item)] for item in seen["certificates"]])
        if seen["jobs"]:
            table("", ["on a timer", "last run"], [[run.job, _last_run(run)] for run in seen["jobs"]])
        if "backup" in stages:
            say(_last_backup(stages["backup"]["seen"]))
        say(f"{seen['url']} at {seen['address']}")
        if stands is not None:
            say(f"rotation from {stands.old} to {stands.new}: {stands.sentence} (next: {stands.step})")
    else:
        document(seen, output)
    if not all(stage["ok"] for stage in stages.values()):
        raise typer.Exit(1)


def _last_run(run: Ran) -> str:
    from datetime import UTC, datetime

    if run.ended is None:
        return "none yet"
    hours = (datetime.now(UTC) - run.ended).total_seconds() / 3600
    how = run.said if run.well else f"failed ({run.result}): {run.said}"
    return f"{hours:.1f} hours ago, {how}" if how else f"{hours:.1f} hours ago"


def _last_backup(seen: Backups) -> str:
    from datetime import UTC, datetime

    if seen.last is None:
        return "no backup yet" if seen.looked else "backups: not known, their bucket does not answer"
    hours = (datetime.now(UTC) - seen.last.taken).total_seconds() / 3600
    return f"last backup {hours:.1f} hours ago, {seen.last.size / 1e6:.1f} MB, {seen.count} kept"


def _rotation(node: str, pins: Path | None) -> Standing | None:
    from binder_node.lifecycle import rotating
    from binder_node.spec.load import find

    return rotating.standing(find(node), pins)


def _shown(served: Served) -> str:
    lasts = f"{served.days} days, from {served.issuer}" if served.days is not None else ""
    return ", ".join(filter(None, (lasts, served.trouble)))


def _wanted(count: int) -> str:
    return f"{count} change{'' if count == 1 else 's'} wanted"
