"""``eject``: everything of a node as plain files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from binder_node.cli.options import BundleOption, NodeArgument, Output, OutputOption, PinsOption, SourceOption

app = typer.Typer()


@app.command(
    rich_help_panel="A node",
    epilog="Examples:  binder-node eject bids ./bids-plain   ·   binder-node eject bids ./bids-plain -o json",
)
def eject(
    node: NodeArgument,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is new or empty.", show_default=False)],
    pins: PinsOption = None,
    source: SourceOption = "",
    bundle: BundleOption = None,
    output: OutputOption = Output.text,
) -> None:
    """Write a node as plain files, to run it without this toolkit: values, manifests, host files, README.

    The node's secrets are among them, in clear. No machine is touched.
    """
    from binder_node.cli.output import document, reporting, say
    from binder_node.cli.run import errors
    from binder_node.lifecycle import opened
    from binder_node.lifecycle.ejecting import eject as ejected

    with errors():
        found, order = opened.open_spec(node, pins), opened.sources(source, bundle)
        with reporting(Output.text) as report:
            done = ejected(found, folder, report, order)
        if output is not Output.text:
            document(done, output)
            return
        say(f"{done.node}: {done.files} files, {done.bytes / 1e6:.0f} MB, in {done.folder}; read its README.md")
        say("its secrets are among them, in clear: keep the folder as you keep a password")
