"""``ssh``, ``kubeconfig``, ``logs``: getting at what runs on a node."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from binder_node.cli.options import NodeArgument, Output, OutputOption

app = typer.Typer()
PANEL = "On a node"


@app.command(
    rich_help_panel=PANEL,
    epilog="Examples:  binder-node ssh bids   ·   binder-node ssh bids -- systemctl status k3s",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def ssh(
    node: NodeArgument, command: Annotated[list[str] | None, typer.Argument(help="Run this, not a shell.")] = None
) -> None:
    """Log in, strictly: only the host key that was made for this node is taken."""
    import os

    from binder_node import remote
    from binder_node.cli.run import errors
    from binder_node.lifecycle import opened

    with errors():
        access, _ = opened.access_of(opened.open_spec(node, None))
        argv = remote.ssh_argv(access, *(command or []))
    os.execvp(argv[0], argv)


@app.command(
    rich_help_panel=PANEL,
    epilog="Examples:  binder-node kubeconfig bids > kubeconfig   ·   binder-node kubeconfig bids --tunnel   ·   "
    "binder-node kubeconfig bids --operator ada --file ada.yaml",
)
def kubeconfig(
    node: NodeArgument,
    tunnel: Annotated[bool, typer.Option("--tunnel", help="Keep a tunnel to the API open until Ctrl-C.")] = False,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Write there (0600) instead of stdout.")] = None,
    operator: Annotated[
        str,
        typer.Option(
            "--operator",
            metavar="NAME",
            help="One of kubernetes.operators: theirs, not the admin's.",
            show_default=False,
        ),
    ] = "",
    renew: Annotated[
        bool, typer.Option("--renew", help="Make a new token for the operator: the old one ends.")
    ] = False,
) -> None:
    """Fetch a fresh kubeconfig. The API is reached through ssh unless the inventory opens it.

    It is the admin's, for yourself. Others get one of their own, with --operator: it does not expire, and ends when
    their name is taken out of the inventory.
    """
    from binder_node.cli.run import errors
    from binder_node.errors import InputError, Problem
    from binder_node.lifecycle import opened
    from binder_node.lifecycle.reach import write_kubeconfig, write_operators

    with errors():
        if operator:
            write_operators(opened.open_spec(node, None), operator, renew=renew, file=file)
            return
        if renew:
            raise InputError(Problem("", 0, "--renew", "whose token?", "say --operator NAME"))
        write_kubeconfig(opened.open_spec(node, None), tunnel=tunnel, file=file)


@app.command(
    rich_help_panel=PANEL,
    epilog="Examples:  binder-node logs bids k3s   ·   binder-node logs bids binder -f",
)
def logs(
    node: NodeArgument,
    component: Annotated[
        str, typer.Argument(help="k3s, buildkit, minio, registry, firewall, watch, metrics; or hub, proxy, binder.")
    ],
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many of the last lines.")] = 200,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as they come, until Ctrl-C.")] = False,
) -> None:
    """Show the log of a component, wherever it runs: a unit of the host's, or a pod of the release's."""
    from binder_node.cli.run import errors
    from binder_node.lifecycle import opened
    from binder_node.lifecycle.reach import show_logs

    with errors():
        raise typer.Exit(show_logs(opened.open_spec(node, None), component, lines=lines, follow=follow))


@app.command(
    rich_help_panel=PANEL,
    epilog="Examples:  binder-node probe bids   ·   binder-node probe bids --size 4G -o json",
)
def probe(
    node: NodeArgument,
    size: Annotated[
        str, typer.Option("--size", help="How much to write: 4G goes in parts, as a large layer does.")
    ] = "4k",
    output: OutputOption = Output.text,
) -> None:
    """Write to the registry's bucket, read it back, delete it: small writes pass where large pushes fail."""
    from binder_node.cli.output import document, reporting, say
    from binder_node.cli.run import errors
    from binder_node.lifecycle import opened
    from binder_node.lifecycle.reach import probe_storage

    with errors():
        with reporting(Output.text) as report:
            found = probe_storage(opened.open_spec(node, None), size, report)
        if output is Output.text:
            times = f"written in {found.write:.2f} s, read in {found.read:.2f} s, deleted in {found.delete:.2f} s"
            say(f"{size}: {times}")
        else:
            document(found, output)
