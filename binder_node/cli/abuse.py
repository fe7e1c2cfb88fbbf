"""``abuse`` and ``explain``: who was cut on a node and why, whom a complaint is about, what became of a launch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from binder_node.cli.options import NodeArgument, Output, OutputOption

if TYPE_CHECKING:
    from binder_node.abuse.report import Asked, Cut, Report
    from binder_node.lifecycle.abuse import Explained

app = typer.Typer()
PANEL = "On a node"
HoursOption = Annotated[float, typer.Option("--hours", min=0.01, help="How far to look back.")]


@app.command(
    rich_help_panel=PANEL,
    epilog="Examples:  binder-node abuse bids   ·   binder-node abuse bids --hours 168 -o json | jq '.cuts[].repo'",
)
def abuse(node: NodeArgument, hours: HoursOption = 24, output: OutputOption = Output.text) -> None:
    """Show who was cut and why: repository, pod, address, counts; who asked for mail or banned networks."""
    from binder_node.cli.output import document
    from binder_node.cli.run import errors
    from binder_node.lifecycle import abuse as asking
    from binder_node.lifecycle import opened

    with errors():
        found = asking.told(opened.open_spec(node, None), hours)
        if output is Output.text:
            _show(found, hours)
        else:
            document(found, output)


def _show(found: Report, hours: float) -> None:
    from binder_node.abuse.report import COUNTED, WHY
    from binder_node.cli.output import say, table

    if found.cuts:
        rows = [
            [cut.at, _until(cut), WHY.get(cut.why, cut.why), _who(cut), cut.source, str(cut.packets)]
            for cut in found.cuts
        ]
        table("", ["cut", "until", "why", "who", "address", "refused"], rows)
    if found.asked:
        rows = [[one.at, WHY.get(one.why, one.why), one.to, _who(one), one.source] for one in found.asked]
        table("", ["asked", "for", "where", "who", "address"], rows)
    counted = [[COUNTED.get(name, name), str(count)] for name, count in found.counted.items() if count]
    if counted:
        table("", [f"packets refused since {found.since}", ""], counted)
    say(f"{found.node}: {len(found.cuts) or 'nobody'} cut in the last {hours:g} hours")


def _until(cut: Cut) -> str:
    return cut.until or f"{cut.left} s left"


def _who(one: Cut | Asked) -> str:
    return " ".join(filter(None, (one.repo, one.pod))) or one.kind or "unknown"


@app.command(
    rich_help_panel=PANEL,
    epilog="Examples:  binder-node explain bids gh/binder-examples/requirements   ·   "
    "binder-node explain bids jupyter-binder-2dexamples-2drequirements-abc123   ·   "
    "binder-node explain bids --to 203.0.113.9 --at 2026-11-21T20:00Z",
)
def explain(
    node: NodeArgument,
    launch: Annotated[
        str, typer.Argument(help="A pod's name, or part of a repository's URL.", show_default=False)
    ] = "",
    to: Annotated[
        str, typer.Option("--to", metavar="ADDRESS", help="Instead: who asked for this address?", show_default=False)
    ] = "",
    at: Annotated[
        str, typer.Option("--at", metavar="TIME", help="... around this time (UTC). Default: now.", show_default=False)
    ] = "",
    hours: HoursOption = 24,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many of the last lines.")] = 200,
    output: OutputOption = Output.text,
) -> None:
    """Show one launch's timeline, its pods long gone: build, kubelet, out-of-memory, cuts.

    Or, for a provider's complaint, which repository and pod asked for an address.
    """
    from binder_node.cli.output import document
    from binder_node.cli.run import errors
    from binder_node.errors import InputError, Problem
    from binder_node.lifecycle import abuse as asking
    from binder_node.lifecycle import opened

    with errors():
        if bool(launch) == bool(to):
            raise InputError(Problem("", 0, "LAUNCH", "what is to be explained?", "say a launch, or --to ADDRESS"))
        found = opened.open_spec(node, None)
        if to:
            suspects = asking.complained(found, to, at)
            if output is Output.text:
                _show_suspects(suspects, to)
            else:
                document({"node": found.spec.name, "to": to, "suspects": suspects}, output)
            return
        told = asking.explained(found, launch.removeprefix("gh/"), hours, lines)
        if output is Output.text:
            _show_launch(told)
        else:
            document(told, output)


def _show_suspects(found: list[Asked], to: str) -> None:
    from binder_node.cli.output import say, table

    if found:
        rows = [[one.at, one.to, _who(one), one.source, "refused" if one.why else ""] for one in found]
        table("", ["last asked", "where", "who", "address", ""], rows)
    else:
        say(f"nobody asked for {to} around then")


def _show_launch(found: Explained) -> None:
    from binder_node.cli.output import say, table
    from binder_node.lifecycle.abuse import MOST

    table("", ["at", "pod", "what"], [[line.at, line.pod, line.what] for line in found.timeline])
    if len(found.pods) > MOST:
        say(f"{len(found.pods)} pods; these are the last {MOST} of them: say a pod's name for another")
    for pod, text in found.logs.items():
        say(f"{pod}: the last lines of its log")
        for line in text:
            say(f"  {line}")
