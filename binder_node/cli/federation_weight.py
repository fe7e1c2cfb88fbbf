"""``federation ramp``, ``drain``, ``undrain``, ``follow``, ``warm``, ``token``: how much traffic, and when."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from binder_node.cli.options import NodeArgument, Output, OutputOption, PinsOption

if TYPE_CHECKING:
    from binder_node.federation.ramp import Step
    from binder_node.federation.steps import Target

app = typer.Typer()
PANEL = "Weight"
CheckoutOption = Annotated[
    Path,
    typer.Option(
        "--checkout",
        metavar="DIR",
        help="A checkout of the federation's repository, or its file with the hosts.",
        show_default=False,
    ),
]


@app.command(
    rich_help_panel=PANEL,
    epilog="Examples:  binder-node federation ramp bids --checkout ../mybinder.org-deploy --plan   ·   "
    "binder-node federation ramp bids --checkout ../mybinder.org-deploy   ·   binder-node federation ramp bids "
    "--checkout . --watch --deploy ./deploy.sh --redirector https://mybinder.org",
)
def ramp(
    node: NodeArgument,
    checkout: CheckoutOption,
    target: Annotated[
        int, typer.Option(min=0, max=100, help="Weight to end at; 0: the inventory's, or the other members' median.")
    ] = 0,
    window: Annotated[float, typer.Option(min=0.01, help="Minutes that a step is watched before the next.")] = 1440,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks at the member.")] = 60,
    failed: Annotated[float, typer.Option(min=0, max=100, help="Percent of launches that may fail.")] = 5,
    ready: Annotated[float, typer.Option(min=1, help="Seconds within which 95 of 100 launches are to be ready.")] = 60,
    plan: Annotated[bool, typer.Option("--plan", help="Show the steps, and do nothing.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on, step by step, to the target or to a step back.")
    ] = False,
    deploy: Annotated[
        str, typer.Option(metavar="COMMAND", help="Run in the checkout after each change: it brings it into force.")
    ] = "",
    redirector: Annotated[
        str, typer.Option(metavar="URL", help="Wait until this redirector routes by a weight before watching it.")
    ] = "",
    output: OutputOption = Output.text,
    pins: PinsOption = None,
) -> None:
    """Raise a member's weight by a step when its own numbers allow it, and take the step back when they do not.

    Each run watches the member at its weight for a window and writes the next weight into the checkout, as a change to
    review. Exits with 1 when a step was taken back. With -o json one event a line, each decision with its numbers.
    """
    from binder_node.cli.output import reporting
    from binder_node.cli.run import errors
    from binder_node.federation.book import Checkout
    from binder_node.federation.ramp import Pace
    from binder_node.lifecycle import membership, opened

    with errors():
        found = opened.open_spec(node, pins)
        book = Checkout(checkout, membership.member_of(found))
        federation = book.federation()
        with reporting(output) as report:
            goal = membership.target_of(found, federation, target, report)
            if plan:
                _show_plan(book.member, round(federation.member(book.member).weight), goal, output)
                return
            limits = membership.limits_of(found, federation, failed=failed / 100, ready=ready)
            with membership.reached(found) as member:
                pace = Pace(window * 60, every)
                run = membership.ramp_of(
                    found, member, book, goal.weight, limits, pace, report, deploy=deploy, redirector=redirector
                )
                steps = run.run(watch=watch)
        if output is Output.text:
            _show_steps(steps)
        if steps[-1].decision.what == "back":
            raise typer.Exit(1)


def _show_plan(member: str, now: int, goal: Target, output: Output) -> None:
    from binder_node.cli.output import document, say
    from binder_node.federation.steps import steps

    planned = steps(now, goal.weight)
    if output is Output.text:
        say(f"{member}: from {now} to {goal.weight} ({goal.why})")
        say(f"steps: {' -> '.join(str(step) for step in [now, *planned])}")
    else:
        document({"member": member, "weight": now, "target": goal.weight, "why": goal.why, "steps": planned}, output)


def _show_steps(steps: list[Step]) -> None:
    from binder_node.cli.output import diff

    for step in steps:
        diff(step.diff)
