"""``federation ramp``, ``drain``, ``undrain``, ``follow``, ``warm``, ``token``: how much traffic, and when."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from binder_node.cli.options import BundleOption, NodeArgument, Output, OutputOption, PinsOption, SourceOption

if TYPE_CHECKING:
    from binder_node.federation.ramp import Step
    from binder_node.federation.steps import Target
    from binder_node.lifecycle.draining import Set

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
SomeCheckoutOption = Annotated[
    Path | None,
    typer.Option(
        "--checkout",
        metavar="DIR",
        help="Write the quota into this checkout of the federation's repository instead of the inventory: for members "
        "that the federation deploys.",
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


@app.command(
    rich_help_panel=PANEL,
    epilog="Examples:  binder-node federation drain bids   ·   binder-node federation drain bids --wait 360   ·   "
    "binder-node federation drain bids --checkout ../mybinder.org-deploy",
)
def drain(
    node: NodeArgument,
    checkout: SomeCheckoutOption = None,
    wait: Annotated[float, typer.Option(min=0, help="Minutes to wait for the last session's end; 0: not at all.")] = 0,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks while waiting.")] = 30,
    output: OutputOption = Output.text,
    pins: PinsOption = None,
    source: SourceOption = "",
    bundle: BundleOption = None,
) -> None:
    """Take a member out of rotation by quota 0: the redirector leaves it out on its own, sessions go on to their end.

    Tells how many sessions are left, and when the last one will have ended.
    """
    from binder_node.cli.output import reporting
    from binder_node.cli.run import errors
    from binder_node.events import Event
    from binder_node.federation.book import Checkout
    from binder_node.lifecycle import draining, membership, opened
    from binder_node.lifecycle.lock import locked

    with errors():
        found, order = opened.open_spec(node, pins), opened.sources(source, bundle)
        with reporting(output) as report:
            if checkout is not None:
                done = draining.drain_checkout(Checkout(checkout, membership.member_of(found)))
            else:
                with locked(found.runtime, found.spec.name, "drain"):
                    done = draining.drain_here(found, order, report)
            _show_set(done, output)
            with membership.reached(found) as member:
                if done.deployed:
                    draining.await_quota(member, True, report)
                left = draining.wait_empty(member, every, wait * 60, report) if wait else draining.sessions_left(member)
            data = {"sessions": left.sessions, "likely": left.likely, "most": left.most, "diff": done.diff}
            report(Event("done", "drain", f"{found.spec.name}: {draining.sentence(left)}", data))


@app.command(
    rich_help_panel=PANEL,
    epilog="Examples:  binder-node federation undrain bids   ·   binder-node federation undrain bids --quota 120",
)
def undrain(
    node: NodeArgument,
    checkout: SomeCheckoutOption = None,
    quota: Annotated[
        int | None, typer.Option(min=1, help="The quota to have; default: what it was before `drain`.")
    ] = None,
    output: OutputOption = Output.text,
    pins: PinsOption = None,
    source: SourceOption = "",
    bundle: BundleOption = None,
) -> None:
    """Put the quota back that `drain` took away: the redirector takes the member in again on its own."""
    from binder_node.cli.output import reporting
    from binder_node.cli.run import errors
    from binder_node.events import Event
    from binder_node.federation.book import Checkout
    from binder_node.lifecycle import draining, membership, opened
    from binder_node.lifecycle.lock import locked

    with errors():
        found, order = opened.open_spec(node, pins), opened.sources(source, bundle)
        with reporting(output) as report:
            if checkout is not None:
                done = draining.undrain_checkout(Checkout(checkout, membership.member_of(found)), quota)
            else:
                with locked(found.runtime, found.spec.name, "undrain"):
                    done = draining.undrain_here(found, quota, order, report)
                with membership.reached(found) as member:
                    draining.await_quota(member, False, report)
            _show_set(done, output)
            report(Event("done", "drain", f"{found.spec.name}: {'in force' if done.deployed else 'written'}"))


def _show_set(done: Set, output: Output) -> None:
    from binder_node.cli.output import diff

    if output is Output.text:
        diff(done.diff)
