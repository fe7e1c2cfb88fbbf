"""``load``: simulated users, and what a node or a federation made of them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from binder_node.cli.options import Output, OutputOption, complete_node

if TYPE_CHECKING:
    from binder_node.load.result import Result
    from binder_node.load.words import Wishes

app = typer.Typer()

WHO, USERS, BOUNDS, SHOWN = "Who comes", "What they do", "Bounds", "Result"


def _option(help: str, *names: str, panel: str, metavar: str = "", **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, metavar=metavar or None, **more)


@app.command(
    rich_help_panel="On a node",
    epilog="Examples:  binder-node load bids --repo gh/binder-examples/requirements --rate 6/m --for 10m "
    "--report load   ·   binder-node load bids --replay events-2026-11-20.jsonl --speed 24 --for 1h --report day   ·   "
    "binder-node load bids gesis --redirector https://binder.example.org --repo gh/org/name --rate 1/s --for 5m   ·   "
    "binder-node load --compare before.json after.json --report difference",
)
def load(
    nodes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NODE]...",
            help="A node of yours; with --redirector all behind it, with --by-name all of one name.",
            autocompletion=complete_node,
            show_default=False,
        ),
    ] = None,
    redirector: Annotated[
        str,
        typer.Option(metavar="URL", help="Users come to this redirector of yours, not to a node.", show_default=False),
    ] = "",
    by_name: Annotated[
        bool,
        typer.Option("--by-name", help="Go where DNS leads, which has to be NODE; else to its machine's own address."),
    ] = False,
    repo: Annotated[
        list[str] | None,
        _option(
            "Repository, gh/ORG/NAME or a URL; again for more, the most popular first.",
            "--repo",
            panel=WHO,
            metavar="REPO",
            show_default=False,
        ),
    ] = None,
    popular: Annotated[
        Path | None,
        _option(
            "Repositories and how popular they are, from launches of the public archive.",
            "--popular",
            panel=WHO,
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    skew: Annotated[float, _option("Of --repo the n-th is asked for 1/n^SKEW as often.", panel=WHO, min=0)] = 1.0,
    rate: Annotated[str, _option("Users that come, at random (Poisson): 0.5/s, 6/m, 400/h.", panel=WHO)] = "6/m",
    replay: Annotated[
        list[Path] | None,
        _option(
            "In place of --rate: launches of the public archive, when they were. Again for more days.",
            "--replay",
            panel=WHO,
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    speed: Annotated[float, _option("With --replay: 60 plays an hour in a minute.", panel=WHO, min=0.01)] = 1.0,
    scale: Annotated[float, _option("With --replay: times that many launches.", panel=WHO, min=0.01)] = 1.0,
    seed: Annotated[int, _option("Another one is another load of the same kind.", panel=WHO, min=0)] = 0,
    stay: Annotated[str, _option("Mean time in the server (exponential).", panel=USERS)] = "5m",
    pause: Annotated[str, _option("Mean time between two cells.", panel=USERS)] = "30s",
    cells: Annotated[
        Path | None,
        _option(
            "Python file whose cells (parted by # %%) they run.",
            "--cells",
            panel=USERS,
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    closing: Annotated[
        float,
        _option("Share that only closes the tab: its server stays until it is culled.", panel=USERS, min=0, max=1),
    ] = 0.0,
    patience: Annotated[str, _option("How long they wait for a server, builds included.", panel=USERS)] = "70m",
    length: Annotated[str, _option("No user comes later; those who are there go home.", "--for", panel=BOUNDS)] = "10m",
    users: Annotated[
        int | None, _option("Users that come at most.", "--users", panel=BOUNDS, min=1, show_default=False)
    ] = None,
    at_once: Annotated[int, _option("Users at once; further ones are held back.", panel=BOUNDS, min=1)] = 500,
    grace: Annotated[str, _option("Time for launches under way at the end.", panel=BOUNDS)] = "2m",
    may_fail: Annotated[
        float, _option("Share of visits that may fail before the exit code is 1.", panel=SHOWN, min=0, max=1)
    ] = 0.0,
    report: Annotated[
        Path | None,
        _option("Write NAME.html and NAME.json.", "--report", panel=SHOWN, metavar="NAME", show_default=False),
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        _option(
            "Set two reports (.json) side by side; nothing is launched.",
            "--compare",
            panel=SHOWN,
            metavar="A B",
            show_default=False,
        ),
    ] = None,
    output: OutputOption = Output.text,
) -> None:
    """Send simulated users to a node: they launch, run cells, and leave. Tells how it went.

    Times to a ready server by cached or built, failures by cause, and the node's CPU, memory, disk and pods meanwhile.
    Only nodes of your own are asked: their secrets are here and their machines let you in. Ends with code 1 when
    more failed than --may-fail; a refusal by quota or rate limit (429, 503) is no failure.
    """
    from binder_node.cli.run import INTERRUPTED, errors
    from binder_node.load.words import Wishes

    with errors():
        if compare is not None:
            _compare(*compare, report, output)
            return
        wishes = Wishes(
            repo=repo or (),
            popular=popular,
            skew=skew,
            rate=rate,
            replay=replay or (),
            speed=speed,
            scale=scale,
            seed=seed,
            stay=stay,
            pause=pause,
            cells=cells,
            closing=closing,
            patience=patience,
            length=length,
            users=users,
            at_once=at_once,
            grace=grace,
        )
        result = _played(nodes or [], redirector, by_name, wishes, output)
        failing = _tell(result, report, output)
        if result.stopped == "interrupted":
            raise typer.Exit(INTERRUPTED)
        if failing > may_fail:
            raise typer.Exit(1)


def _played(names: list[str], redirector: str, by_name: bool, wishes: Wishes, output: Output) -> Result:
    """The load, shown while it runs. Raises InputError, StepError."""
    from binder_node.cli.load_table import showing
    from binder_node.errors import InputError, Problem
    from binder_node.lifecycle import loading, opened
    from binder_node.load.words import drawn

    plan = drawn(wishes)
    if not names:
        raise InputError(Problem("", 0, "NODE", "no node is named", "name one of yours, or all behind --redirector"))
    if len(names) > 1 and not (redirector or by_name):
        raise InputError(Problem("", 0, "NODE", "more than one node", "say the --redirector that they are behind"))
    nodes = [loading.own(opened.open_spec(name, None)) for name in names]
    if redirector:
        target = loading.federation_target(redirector, nodes)
    else:
        target = loading.named_target(nodes) if by_name else loading.node_target(nodes[0])
    asked = loading.Asked(plan.limits, plan.patience, wishes.plain)
    with showing(output is Output.text, target.name, len(plan.arrivals), plan.limits.seconds) as screen:
        return loading.play(target, nodes, plan.arrivals, asked, heard=screen.heard, sampled=screen.sampled)


def _tell(result: Result, report: Path | None, output: Output) -> float:
    """Show and write what was found; the share that failed."""
    from binder_node.cli.load_table import tell
    from binder_node.cli.output import document, say
    from binder_node.load import numbers
    from binder_node.load import report as reports
    from binder_node.load import result as results

    found = numbers.summary(result.visits, result.arriving)
    if output is Output.text:
        tell(result, found)
    else:
        document(
            {"target": result.target, "stopped": result.stopped, "seconds": result.seconds, **asdict(found)}, output
        )
    if report is not None:
        page, data = named(report)
        results.write(result, data)
        results.put(page, reports.html(result))
        if output is Output.text:
            say(f"report: {page} and {data}")
    return found.failing


def named(report: Path) -> tuple[Path, Path]:
    """The files of a report: its page and its data.

    >>> [path.name for path in named(Path("load.html"))], [path.name for path in named(Path("v1.2"))]
    (['load.html', 'load.json'], ['v1.2.html', 'v1.2.json'])
    """
    base = report.with_suffix("") if report.suffix in (".html", ".json") else report
    return base.with_name(f"{base.name}.html"), base.with_name(f"{base.name}.json")


def _compare(before: Path, after: Path, report: Path | None, output: Output) -> None:
    from binder_node.cli.output import document, say, table
    from binder_node.load import compare as comparing
    from binder_node.load import report as reports
    from binder_node.load import result as results

    first, second = results.read(before), results.read(after)
    rows = comparing.rows(first, second)
    if output is Output.text:
        table(f"{before} and {after}", ["", "before", "after", "change"], [list(row.texts) for row in rows])
        for warning in comparing.unlike(first, second):
            say(f"not alike: {warning}")
    else:
        document({"unlike": list(comparing.unlike(first, second)), "rows": [asdict(row) for row in rows]}, output)
    if report is not None:
        page = named(report)[0]
        results.put(page, reports.comparison(first, second))
        if output is Output.text:
            say(f"report: {page}")
