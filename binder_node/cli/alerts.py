"""``alerts``: what is wrong with a node now, by its own word, and a trial of whether it reaches anybody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from binder_node.cli.options import NodeArgument, Output, OutputOption

if TYPE_CHECKING:
    from binder_node.lifecycle.alerting import Told

app = typer.Typer()
PANEL = "On a node"


@app.command(
    rich_help_panel=PANEL,
    epilog="Examples:  binder-node alerts bids   ·   binder-node alerts bids --test   ·   "
    "binder-node alerts bids -o json | jq '.alerts[].says'",
)
def alerts(
    node: NodeArgument,
    test: Annotated[
        bool, typer.Option("--test", help="Tell a trial to everybody, and see whether it gets out.")
    ] = False,
    output: OutputOption = Output.text,
) -> None:
    """Show what is wrong with a node by its own measurements, and what to do first."""
    from binder_node.cli.output import document
    from binder_node.cli.run import errors
    from binder_node.errors import StepError
    from binder_node.lifecycle import alerting, opened

    with errors():
        found = alerting.look(opened.open_spec(node, None), trial=test)
        if output is Output.text:
            _show(found)
        else:
            document(found, output)
        if failed := [f"{way}: {how}" for way, how in found.tried.items() if how != "sent"]:
            remedy = f"binder-node logs {found.node} metrics has the other side's words; then `binder-node secrets set`"
            raise StepError(found.node, "tell a trial", ", ".join(failed), remedy)


def _show(found: Told) -> None:
    from binder_node.cli.output import say, table

    if found.alerts:
        rows = [[one.state, one.severity, one.name, one.since[:16], one.says, one.do] for one in found.alerts]
        table("", ["", "", "alert", "since", "what is wrong", "what to do first"], rows)
    for what, why in found.blind.items():
        say(f"nothing is measured of {what}: {why}")
    for rule in found.broken:
        say(f"a rule is broken: {rule}")
    firing = sum(one.state == "firing" for one in found.alerts)
    to = f"told by {', '.join(found.to)}" if found.to else "nobody is told (alerts.to)"
    switch = "the dead-man's switch is fed" if found.deadman and found.alive else "no dead-man's switch"
    wrong = {0: "nothing is wrong", 1: "1 alert"}.get(firing, f"{firing} alerts")
    say(f"{found.node}: {wrong}; {to}; {switch}")
    for way, how in found.tried.items():
        say(f"trial by {way}: {how}")
