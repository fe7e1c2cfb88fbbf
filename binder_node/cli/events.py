"""``events``: what was launched on a node, how often, and what failed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from binder_node.cli.options import NodeArgument, Output, OutputOption

if TYPE_CHECKING:
    from binder_node.lifecycle.events import Told

app = typer.Typer()


@app.command(
    rich_help_panel="On a node",
    epilog="Examples:  binder-node events bids   ·   binder-node events bids --days 30 --plot launches.svg   ·   "
    "binder-node events bids --bucket --days 365 -o json   ·   binder-node events bids --archive",
)
def events(
    node: NodeArgument,
    days: Annotated[int, typer.Option("--days", min=1, max=3660, help="So many days, today among them.")] = 7,
    top: Annotated[int, typer.Option("--top", min=0, max=1000, help="So many repositories and reasons.")] = 10,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Write a plot, as SVG.", show_default=False)
    ] = None,
    bucket: Annotated[
        bool, typer.Option("--bucket", help="From the archive: of every machine that was this node; no failures.")
    ] = False,
    archive: Annotated[bool, typer.Option("--archive", help="Have the node archive what it has, first.")] = False,
    output: OutputOption = Output.text,
) -> None:
    """Launches of the last days, the repositories launched most, and what failed and why."""
    from binder_node import files
    from binder_node.cli.output import document, reporting
    from binder_node.cli.run import errors
    from binder_node.errors import InputError, Problem
    from binder_node.launches.plot import picture
    from binder_node.lifecycle import opened
    from binder_node.lifecycle.events import of_bucket, of_node

    with errors():
        found = opened.open_spec(node, None)
        if bucket and archive:
            raise InputError(Problem("", 0, "--archive", "is for the node's own log", "leave out one of the two"))
        if plot is not None and not plot.parent.is_dir():
            raise InputError(Problem(str(plot), 0, "--plot", "its folder is not there", "make it, or write elsewhere"))
        with reporting(Output.text) as report:
            told = of_bucket(found, days) if bucket else of_node(found, days, report, archive=archive)
        if plot is not None:
            title = f"{found.spec.name}, {told.log.first} to {told.log.last}"
            files.replace(plot, picture(told.log, title).encode(), 0o644)
        if output is Output.text:
            _show(found.spec.name, told, top)
        else:
            document(fields(found.spec.name, told, top), output)


def fields(node: str, told: Told, top: int) -> dict[str, Any]:
    """The document for machines."""
    log = told.log
    return {
        "node": node,
        "first": log.first.isoformat(),
        "last": log.last.isoformat(),
        "launches": log.launches,
        "failures": log.failed_launches if log.reasons else None,
        "days": [{"day": str(day), "launches": launched, "failures": failed} for day, launched, failed in log.by_day()],
        "repositories": [{"repository": name, "launches": count} for name, count in log.top(top)],
        "reasons": [
            {"message": message, "failures": count, "repositories": many, "phase": phase}
            for message, count, many, phase in log.top_reasons(top)
        ],
        "archived": told.archived or None,
        "archive_error": told.error or None,
        "waiting": list(told.waiting),
    }


def _show(node: str, told: Told, top: int) -> None:
    from binder_node.cli.output import say, table

    log = told.log
    failed = f", {log.failed_launches} failures" if log.reasons else ""
    say(f"{node}: {log.launches} launches{failed} from {log.first} to {log.last}")
    rows = [[str(day), str(launched), *([str(bad)] if log.reasons else [])] for day, launched, bad in log.by_day()]
    table("", ["day", "launches", *(["failures"] if log.reasons else [])], rows)
    if log.repositories and top:
        table("", ["repository", "launches"], [[name, str(count)] for name, count in log.top(top)])
    if log.failures and top:
        reasons = [[message, phase, str(count), str(many)] for message, count, many, phase in log.top_reasons(top)]
        table("", ["failed because", "at", "failures", "repositories"], reasons)
    if told.error:
        say(f"the archive is behind: {told.error}; what it lacks is on the node: {', '.join(told.waiting)}")
    elif told.archived:
        say(f"archived {told.archived}")
