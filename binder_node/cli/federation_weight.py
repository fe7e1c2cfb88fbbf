"""``federation ramp``, ``drain``, ``undrain``, ``follow``, ``warm``, ``token``: how much traffic, and when."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from binder_node.cli.federation_check import PRIME
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
PrimeOption = Annotated[
    str, typer.Option("--prime", metavar="URL", help="The prime's own address, or the redirector's: it answers for it.")
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
    launches: Annotated[int, typer.Option(min=1, help="Launches that a window must have seen to say anything.")] = 20,
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
    url: Annotated[
        str, typer.Option(metavar="URL", help="Look at this BinderHub alone: the machine and its disk are not seen.")
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
    from binder_node.events import Event
    from binder_node.federation.book import Checkout
    from binder_node.federation.ramp import Pace, fields
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
            limits = membership.limits_of(found, federation, failed=failed / 100, ready=ready, launches=launches)
            with membership.seen(found, url) as member:
                pace = Pace(window * 60, every)
                run = membership.ramp_of(
                    found, member, book, goal.weight, limits, pace, report, deploy=deploy, redirector=redirector
                )
                steps = run.run(watch=watch)
                if output is not Output.text:
                    report(Event("done", "ramp", f"{book.member}: {len(steps)} steps", fields(steps[-1])))
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
            most = left.most if math.isfinite(left.most) else None  # JSON has no endless number
            data = {"sessions": left.sessions, "likely": left.likely, "most": most, "diff": done.diff}
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


@app.command(
    rich_help_panel=PANEL,
    epilog="Examples:  binder-node federation follow bids   ·   binder-node federation follow bids --once "
    "--canary gh/binder-examples/r   ·   binder-node federation follow second --prime https://first.example.org",
)
def follow(
    node: NodeArgument,
    prime: PrimeOption = PRIME,
    canary: Annotated[
        list[str] | None,
        typer.Option(metavar="REPO", help="Built and launched before the member is back; may be said again."),
    ] = None,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks at the prime.")] = 30,
    once: Annotated[
        bool, typer.Option("--once", help="End when the node is as the prime, or a canary has failed.")
    ] = False,
    output: OutputOption = Output.text,
    pins: PinsOption = None,
    source: SourceOption = "",
    bundle: BundleOption = None,
) -> None:
    """Keep a node at the prime's versions: the redirector leaves out a member with any others.

    When they change, each canary is built with the node's own engine on the new build image, beside what runs. Then
    the release is upgraded, and each canary launched. The new versions are written to NODE.pins.toml beside the
    inventory. When a canary fails, the node stays what it was, out of rotation, and the canary is named; with --once
    this exits with 1.
    """
    from binder_node.binder.client import Binder
    from binder_node.cli.output import reporting
    from binder_node.cli.run import errors
    from binder_node.federation.follow import CANARIES
    from binder_node.lifecycle import following, membership, opened

    with errors():
        found, order = opened.open_spec(node, pins), opened.sources(source, bundle)
        with (
            reporting(output) as report,
            membership.reached(found) as member,
            Binder(prime) as asked,
        ):
            follower = following.Following(found, member, asked, order, report).follower(canary or CANARIES)
            look = follower.run(every, once=once)
        if look.what != "parity":
            raise typer.Exit(1)


@app.command(
    rich_help_panel=PANEL,
    epilog="Examples:  binder-node federation warm bids --top 100 --minutes 120   ·   "
    "binder-node federation warm bids --archive ./events --compare https://2i2c.mybinder.org",
)
def warm(
    node: NodeArgument,
    archive: Annotated[
        str, typer.Option(metavar="URL|DIR", help="The archive of launches, or a folder with its files.")
    ] = "https://archive.analytics.mybinder.org",
    days: Annotated[int, typer.Option(min=1, help="Days of it to look at.")] = 7,
    top: Annotated[int, typer.Option(min=1, help="Repositories to launch, the most launched first.")] = 50,
    parallel: Annotated[int, typer.Option(min=1, max=32, help="Launches at a time.")] = 2,
    minutes: Annotated[float, typer.Option(min=0.01, help="None is begun after so long.")] = 120,
    compare: Annotated[
        str, typer.Option(metavar="URL", help="Another member: asked whether what fails here works there.")
    ] = "",
    output: OutputOption = Output.text,
) -> None:
    """Launch the federation's most launched repositories once, so that a first weight starts no build storm.

    Exits with 1 when one fails here and not at the other member.
    """
    import contextlib

    from binder_node.binder.client import Binder
    from binder_node.cli.output import document, reporting, table
    from binder_node.cli.run import errors
    from binder_node.events import silent
    from binder_node.federation.warm import Warmer, summary
    from binder_node.lifecycle import membership, opened, warming

    with errors():
        found = opened.open_spec(node, None)
        with (
            reporting(Output.text) as told,
            membership.reached(found) as member,
            Binder(compare) if compare else contextlib.nullcontext() as other,
        ):
            report = told if output is Output.text else silent
            wanted = warming.most_launched(archive, days, top, report)
            done = Warmer(member.binder, other, parallel, minutes * 60, report).run(wanted)
        counts = summary(done)
        if output is Output.text:
            table("", list(counts), [[str(value) for value in counts.values()]])
        else:
            document({**counts, "launches": done.replayed}, output)
        if counts["failed_here_alone"]:
            raise typer.Exit(1)


@app.command(
    rich_help_panel=PANEL,
    epilog="Examples:  binder-node federation token bids   ·   "
    "binder-node federation token second --prime https://first.binder.example.org",
)
def token(node: NodeArgument, prime: PrimeOption = PRIME, output: OutputOption = Output.text) -> None:
    """Check that a node takes the build tokens that the prime mints: launches from the front page need it.

    A node with another build_token_secret refuses them while its /health says ok. Exits with 1 then.
    """
    from binder_node.binder.client import Binder
    from binder_node.cli.output import document, say
    from binder_node.cli.run import errors
    from binder_node.federation import tokens
    from binder_node.lifecycle import membership, opened

    with errors():
        found = opened.open_spec(node, None)
        with membership.reached(found) as member, Binder(prime) as asked:
            finding = tokens.check(asked, member.binder, member.secret)
        if output is not Output.text:
            document({"node": found.spec.name, "ok": finding.ok, "why": finding.why, "remedy": finding.remedy}, output)
        elif finding.ok:
            say(f"{found.spec.name}: takes the prime's build tokens")
        else:
            say(f"{found.spec.name}: {finding.why} -> {finding.remedy}")
        if not finding.ok:
            raise typer.Exit(1)


@app.command(
    rich_help_panel=PANEL,
    epilog="Example:  binder-node federation redirector federation.yaml > config.json",
)
def redirector(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The federation's values, or a redirector's config.")],
) -> None:
    """Print the redirector's config.json for a federation of your own. Refuses what the redirector would die of."""
    from binder_node.cli.run import errors
    from binder_node.federation.config import read
    from binder_node.federation.own import redirector as made

    with errors():
        typer.echo(made(read(file)), nl=False)
