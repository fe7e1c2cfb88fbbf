"""``backup``: what a node keeps outside of the registry's bucket, now instead of by its timer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from binder_node.cli.options import NodeArgument, Output, OutputOption

if TYPE_CHECKING:
    from binder_node.storage.backups import Backup

app = typer.Typer()


@app.command(
    rich_help_panel="A node",
    epilog="Examples:  binder-node backup bids   ·   binder-node backup bids --list -o json   ·   "
    "binder-node backup bids --file bids.age",
)
def backup(
    node: NodeArgument,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", metavar="FILE", help="Copy it there too, encrypted as it is.", show_default=False),
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="Show those that there are, and make none.")] = False,
    name: Annotated[
        str,
        typer.Option(
            "--name", metavar="NAME", help="With --file: this one of the list; make none.", show_default=False
        ),
    ] = "",
    output: OutputOption = Output.text,
) -> None:
    """Have the node make a backup now: hub's database, certificates, K3s's state, secrets.

    Its timer does so anyway. It is encrypted on the node for those who can read the node's secrets, and lies in a
    bucket. `up --restore` makes a bare machine from it.
    """
    from binder_node.cli.output import document, reporting, say
    from binder_node.cli.run import errors
    from binder_node.errors import InputError, Problem
    from binder_node.lifecycle import backups, opened

    with errors():
        if name and file is None:
            raise InputError(Problem("", 0, "--name", "needs --file", "say where to, or leave it out"))
        found = opened.open_spec(node, None)
        if listing:
            _show(found.spec.name, backups.there(found), output)
            return
        with reporting(Output.text) as report:
            made = None if name else backups.make(found, report)
            if file is not None:
                backups.fetch(found, name or (made.backup.name if made else ""), file, report)
        told: dict[str, Any] = {"node": found.spec.name, "file": str(file) if file else None}
        if made is not None:
            told |= {**_fields(made.backup), "where": made.where}
        if output is Output.text:
            what = f"{made.backup.name}, {made.backup.size / 1e6:.1f} MB, in {made.where}" if made else name
            say(f"{found.spec.name}: {what}{f'; copied to {file}' if file else ''}")
        else:
            document(told, output)


def _show(node: str, found: list[Backup], output: Output) -> None:
    from binder_node.cli.output import document, say, table

    if output is not Output.text:
        document({"node": node, "backups": [_fields(one) for one in found]}, output)
        return
    if not found:
        say(f"{node}: there is no backup")
        return
    table("", ["backup", "MB"], [[one.name, f"{one.size / 1e6:.1f}"] for one in found])


def _fields(found: Backup) -> dict[str, Any]:
    return {"name": found.name, "taken": found.taken.isoformat(), "bytes": found.size}
