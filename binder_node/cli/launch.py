"""``launch``: a Binder, as a user gets it, and code run in it."""

from __future__ import annotations

from typing import Annotated

import typer

from binder_node.cli.options import NodeArgument, Output, OutputOption

app = typer.Typer()


@app.command(
    rich_help_panel="On a node",
    epilog="Examples:  binder-node launch bids gh/binder-examples/requirements   ·   "
    "binder-node launch demo http://198.18.0.10/minimal.git --run 'print(6*7)'",
)
def launch(
    node: NodeArgument,
    repo: Annotated[str, typer.Argument(help="gh/ORG/NAME, or the URL of a git repository.")],
    ref: Annotated[str, typer.Option("--ref", help="Branch, tag or commit.")] = "HEAD",
    run: Annotated[str | None, typer.Option("--run", help="Python code to run in the launched server.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the server running.")] = False,
    output: OutputOption = Output.text,
) -> None:
    """Build and launch a repository, its log streamed. With --run, code runs there; its output is shown."""
    from binder_node.cli.output import reporting
    from binder_node.cli.run import errors
    from binder_node.lifecycle import opened
    from binder_node.lifecycle.launch import launch as launched

    with errors():
        found = opened.open_spec(node, None)
        with reporting(output) as report:
            result = launched(found, repo, ref, report, code=run, keep=keep)
        if output is Output.text and result.output is not None:
            typer.echo(result.output, nl=not result.output.endswith("\n"))
        if result.failed:
            raise typer.Exit(1)
