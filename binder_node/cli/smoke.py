"""``smoke``: prove a running node."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from binder_node.cli.options import NodeArgument, Output, OutputOption, PinsOption, PushToOption, RepositoryOption

if TYPE_CHECKING:
    from binder_node.smoke.run import Summary

app = typer.Typer()


@app.command(
    rich_help_panel="A node",
    epilog="Examples:  binder-node smoke bids   ·   binder-node smoke bids --deep --junit smoke.xml   ·   "
    "binder-node smoke bids --only k3s,machine.swap -o json",
)
def smoke(
    node: NodeArgument,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also the checks that write to the node or launch on it.")
    ] = False,
    only: Annotated[
        str, typer.Option("--only", metavar="NAMES", help="These layers or checks, and what they need: k3s,...")
    ] = "",
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML there.", show_default=False)
    ] = None,
    repository: RepositoryOption = "",
    push_to: PushToOption = "",
    output: OutputOption = Output.text,
    pins: PinsOption = None,
) -> None:
    """Check a running node, layer by layer, and say of each failure why and what to do.

    Writes nothing unless --deep. A check that stands on a failed one is not run: the first failure is the cause.
    """
    from binder_node.cli.output import document
    from binder_node.cli.run import errors
    from binder_node.cli.smoke_table import showing
    from binder_node.lifecycle import opened
    from binder_node.smoke.run import run

    with errors():
        found = opened.open_spec(node, pins)
        with showing(output is Output.text) as watcher:
            summary = run(
                found.spec.name,
                node,
                watcher,
                deep=deep,
                only=only,
                junit=junit,
                pins=pins,
                repository=repository,
                push_to=push_to,
            )
        if output is not Output.text:
            document(fields(summary), output)
        if not summary.ok:
            raise typer.Exit(1)


def fields(summary: Summary) -> dict[str, Any]:
    """The document of ``-o json``."""
    return {
        "node": summary.node,
        "ok": summary.ok,
        "seconds": summary.seconds,
        "deep_left_out": summary.deep_left_out,
        "checks": [
            {
                "id": result.check.id,
                "layer": result.check.layer,
                "about": result.check.about,
                "outcome": result.outcome,
                "seconds": result.seconds,
                "reason": result.reason,
                "remedy": result.remedy,
                "because": list(result.because),
                "traceback": result.traceback,
                "guide": list(result.check.guide),
            }
            for result in summary.results
        ],
    }
