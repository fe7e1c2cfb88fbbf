"""``saturate``: the rate of launches that a node can take, found by loading it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from binder_node.cli.capacity import FailuresOption, P95Option
from binder_node.cli.options import NodeArgument, Output, OutputOption

if TYPE_CHECKING:
    from binder_node.capacity.steps import Goal
    from binder_node.lifecycle.saturating import Found

app = typer.Typer()


@app.command(
    rich_help_panel="On a node",
    epilog="Examples:  binder-node saturate bids --repo gh/binder-examples/requirements   ·   "
    "binder-node saturate bids --repo gh/org/a --repo gh/org/b --p95 10s --for 2m --report steps",
)
def saturate(
    node: NodeArgument,
    repo: Annotated[list[str], typer.Option(metavar="REPO", help="Repository whose image is there; again for more.")],
    p95: P95Option = "15s",
    failures: FailuresOption = 0.01,
    start: Annotated[str, typer.Option(metavar="RATE", help="First rate of launches: 0.5/s, 6/m.")] = "0.3/s",
    length: Annotated[str, typer.Option("--for", metavar="TIME", help="How long users come in each step.")] = "1m",
    stay: Annotated[str, typer.Option(metavar="TIME", help="Mean time in the server.")] = "10s",
    steps: Annotated[int, typer.Option(help="Steps at most.", min=1)] = 12,
    seed: Annotated[int, typer.Option(help="Another one is another load of the same kind.", min=0)] = 0,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write each step's load there, for `capacity`.", show_default=False),
    ] = None,
    output: OutputOption = Output.text,
) -> None:
    """Find the rate of launches at which a node still does what is wanted: load it step by step.

    Says what the cores were busy with, by part. Only a node of your own is asked. Launch the repositories once before:
    a build says nothing of how fast servers start. Ends with code 1 when even the least rate is too much.
    """
    from binder_node.binder.repo import parse_repo
    from binder_node.capacity.steps import Goal
    from binder_node.cli.output import document, reporting
    from binder_node.cli.run import errors
    from binder_node.federation.scenario import duration
    from binder_node.lifecycle import loading, opened, saturating
    from binder_node.load.words import rate

    with errors():
        goal = Goal(duration(p95, "--p95"), failures)
        pace = saturating.Pace(
            start=rate(start, "--start"),
            seconds=duration(length, "--for"),
            stay=duration(stay, "--stay"),
            steps=steps,
            seed=seed,
        )
        popularity = {parse_repo(one): 1.0 for one in repo}
        own = loading.own(opened.open_spec(node, None))
        with reporting(Output.text) as told:
            found = saturating.saturate(own, popularity, goal, pace, told)
        if report is not None:
            _write(found, report)
        if output is Output.text:
            _show_steps(found, goal)
        else:
            document(_plain(found), output)
        if not found.bounds.good:
            raise typer.Exit(1)


def _write(found: Found, folder: Path) -> None:
    from binder_node.errors import InputError, Problem
    from binder_node.load import result

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(Problem(str(folder), 0, "--report", f"cannot be made: {error.strerror}", "")) from None
    for number, one in enumerate(found.tried, 1):
        result.write(one.result, folder / f"step-{number:02d}.json")


def _show_steps(found: Found, goal: Goal) -> None:
    import math

    from binder_node.capacity.steps import good, why_not
    from binder_node.cli.output import say, table

    rows = []
    for one in found.tried:
        step = one.step
        verdict = "good" if good(step, goal) else why_not(step, goal)
        busy = f"{one.spent.cpu:.0%}"
        p95 = "" if step.p95 is None else f"{step.p95:.1f}"
        rows.append([f"{step.rate:.2f}", str(len(step.ready)), p95, busy, str(step.sessions or 0), verdict])
    table("", ["launches/s", "ready", "p95 s", "cores busy", "sessions", ""], rows)
    if found.tried:
        last = max(found.tried, key=lambda one: len(one.step.ready))
        each = max(1, len(last.step.ready))
        used = "  ".join(f"{name} {seconds / each:.2f}" for name, seconds in last.spent.parts.items())
        say(f"core-seconds a launch at {last.step.rate:.2f}/s: {used}; this program itself {last.own / each:.2f}")
    beyond = "" if math.isinf(found.bounds.bad) else f", {found.bounds.bad:.2f} is too much"
    say(f"{found.bounds.good:.2f} launches a second are good{beyond}")


def _plain(found: Found) -> dict[str, Any]:
    import math
    from dataclasses import asdict

    return {
        "good": found.bounds.good,
        "bad": None if math.isinf(found.bounds.bad) else found.bounds.bad,
        "steps": [
            {
                **asdict(one.step),
                "p95": one.step.p95,
                "spent": asdict(one.spent),
                "wanted": one.wanted,
                "own": one.own,
            }
            for one in found.tried
        ],
    }
