"""The command line's root. Command modules import typer and the standard library only: starting costs no SDK."""

from __future__ import annotations

import os
import signal
from typing import Annotated

import typer

from binder_node.cli import access, backup, capacity, cost, launch, load, node, rotate, smoke, spec, upgrade
from binder_node.cli.lazy import LazyGroup

app = typer.Typer(
    name="binder-node",
    help="A mybinder.org federation member on one cheap machine: bring it up, check it, launch on it.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,  # locals hold secrets
    context_settings={"help_option_names": ["-h", "--help"]},
)


def show_version(asked: bool) -> None:
    """Callback of ``--version``: it is answered before a command is missed."""
    if asked:
        from binder_node import __version__

        typer.echo(f"binder-node {__version__}")
        raise typer.Exit


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", envvar="BINDER_NODE_DEBUG", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=show_version)
    ] = False,
) -> None:
    del version
    if debug:
        os.environ["BINDER_NODE_DEBUG"] = "1"


for module in (spec, cost, node, rotate, upgrade, smoke, backup, launch, load, capacity, access):
    for command in module.app.registered_commands:
        app.registered_commands.append(command)
for name, about in (
    ("artifacts", "The pinned files a node is made of."),
    ("secrets", "A node's secrets, by their names: no value is ever shown."),
    ("federation", "Membership: health as the redirector sees it, weights, joining and leaving."),
):
    app.add_typer(typer.Typer(cls=LazyGroup, no_args_is_help=True), name=name, help=about)


def run() -> None:
    """Entry point of the ``binder-node`` script. A polite ``kill`` ends it as Ctrl-C does: what is open is closed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app()
