"""``federation simulate``: weights, losses and quotas, tried before anybody feels them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from binder_node.cli.options import Output, OutputOption

if TYPE_CHECKING:
    from binder_node.federation.config import Federation
    from binder_node.federation.demand import Arrival
    from binder_node.federation.simulate import Result, Scenario

app = typer.Typer()

DEMAND, CHANGES, SHOWN = "Demand", "What happens", "Result"


def _many(help: str, metavar: str, *, flag: str = "", panel: str = CHANGES) -> Any:
    names = [flag] if flag else []
    return typer.Option(*names, metavar=metavar, help=help, rich_help_panel=panel, show_default=False)


def _demand(help: str, **limits: Any) -> Any:
    return typer.Option(help=help, rich_help_panel=DEMAND, **limits)


SPAN = "NAME@TIME[-TIME]"


@app.command(
    epilog="Examples:  binder-node federation simulate --config config/prod.yaml --add new=20 --quota new=60   ·   "
    "binder-node federation simulate --config config/prod.yaml --weight bids-ovh=80 --plot weights.svg   ·   "
    "binder-node federation simulate --config config/prod.yaml --ask --lose hetzner-2i2c@9h-12h   ·   "
    "binder-node federation simulate --config config/prod.yaml --demand events-2026-11-20.jsonl -o json",
)
def simulate(
    config: Annotated[
        Path,
        typer.Option(metavar="FILE", help="The federation: its chart's values, or the redirector's config.json."),
    ],
    demand: Annotated[
        list[Path] | None,
        _many("Launches of the public archive (events-*.jsonl). Can be given again.", "FILE", panel=DEMAND),
    ] = None,
    scale: Annotated[float, _demand("With --demand: times that many launches.", min=0.01)] = 1.0,
    hours: Annotated[float, _demand("Without --demand: how long requests are made up.", min=0.01)] = 24.0,
    per_hour: Annotated[float, _demand("Requests an hour, in the mean of a day.", min=1)] = 600.0,
    swing: Annotated[float, _demand("By how much of it a day goes up and down.", min=0, max=1)] = 0.4,
    repositories: Annotated[int, _demand("Repositories: the n-th is asked for 1/n as often.", min=1)] = 1000,
    returning: Annotated[float, _demand("Share that comes again, with its cookie.", min=0, max=1)] = 0.1,
    session: Annotated[str, _demand("Mean time of a session.")] = "30m",
    build: Annotated[str, _demand("Mean time of a build.")] = "2m",
    fresh: Annotated[float, _demand("Share of launches that need a build anywhere.", min=0, max=1)] = 0.1,
    quota: Annotated[list[str] | None, _many("A member's quota.", "NAME=N", panel="Members")] = None,
    pods: Annotated[list[str] | None, _many("Pods that run there at the start.", "NAME=N", panel="Members")] = None,
    cold: Annotated[
        list[str] | None, _many("It has no image yet: it builds each repository once.", "NAME", panel="Members")
    ] = None,
    ask: Annotated[
        bool, typer.Option("--ask", help="Ask the members for quota and pods of now.", rich_help_panel="Members")
    ] = False,
    weight: Annotated[
        list[str] | None, _many("Another weight, from the start or from a time on.", "NAME=N[@TIME]")
    ] = None,
    add: Annotated[list[str] | None, _many("A new member with this weight, cold.", "NAME=WEIGHT")] = None,
    lose: Annotated[list[str] | None, _many("It answers nothing any more; its sessions are gone.", SPAN)] = None,
    hub_down: Annotated[list[str] | None, _many("Its hub does not answer.", SPAN, flag="--hub-down")] = None,
    drain: Annotated[list[str] | None, _many("Its quota is 0.", SPAN)] = None,
    lag: Annotated[list[str] | None, _many("Its versions are not the prime's.", SPAN)] = None,
    redirectors: Annotated[int, typer.Option(help="Redirectors, each with its own view.", min=1)] = 2,
    seed: Annotated[int, typer.Option(help="Another one is another day of the same kind.", min=0)] = 0,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a picture (SVG).", rich_help_panel=SHOWN)
    ] = None,
    output: OutputOption = Output.text,
) -> None:
    """Play the redirector's choice over hours: who gets how much, what is refused, what a weight or a loss changes.

    By its real rules: weights, cookies, checks and their times, quotas and the pods kept free. With anything that
    happens (--weight, --add, --lose, --hub-down, --drain, --lag), the day without it is shown beside.
    """
    from binder_node.cli.run import errors
    from binder_node.federation import config as configs

    with errors():
        federation = configs.read(config)
        members = _Members(quota or [], pods or [], cold or [], ask, add or [])
        events = _Events(weight or [], lose or [], hub_down or [], drain or [], lag or [])
        before, after = _scenarios(federation, members, events)
        shape = {"per_hour": per_hour, "swing": swing, "repositories": repositories, "returning": returning}
        arrivals = _arrivals(demand or [], scale, hours, seed, shape)
        played = _Played(arrivals, session, build, fresh, redirectors, seed)
        _tell(played(before) if after is not None else None, played(after or before), plot, output)


@dataclass(frozen=True, slots=True)
class _Members:
    quota: list[str]
    pods: list[str]
    cold: list[str]
    ask: bool
    add: list[str]


@dataclass(frozen=True, slots=True)
class _Events:
    weight: list[str]
    lose: list[str]
    hub_down: list[str]
    drain: list[str]
    lag: list[str]


@dataclass(frozen=True, slots=True)
class _Case:
    """A federation, what its members can take, and what happens."""

    federation: Federation
    capacities: dict[str, Any]
    changes: tuple[Any, ...] = field(default=())


def _scenarios(federation: Federation, members: _Members, events: _Events) -> tuple[_Case, _Case | None]:
    """The federation as it is; and as it is to be, where something is. Raises InputError."""
    from binder_node.federation import scenario as words

    grown = words.added(members.add, federation)
    capacities = _capacities(federation, grown, members)
    before = _Case(federation, {one.name: capacities[one.name] for one in federation.members})
    weighed, changes = words.weights(events.weight, grown)
    for text in events.lose:
        changes += words.spell(words.span(text, grown, "--lose"), "lost")
    for text in events.hub_down:
        changes += words.spell(words.span(text, grown, "--hub-down"), "hub down")
    for text in events.drain:
        span = words.span(text, grown, "--drain")
        changes += words.drained(span, capacities[span.member].quota)
    for text in events.lag:
        changes += words.lag(words.span(text, grown, "--lag"))
    after = _Case(weighed, capacities, changes)
    return before, after if changes or weighed != federation else None


def _capacities(federation: Federation, grown: Federation, members: _Members) -> dict[str, Any]:
    from binder_node.errors import InputError, Problem
    from binder_node.federation import ask, scenario
    from binder_node.federation.simulate import Capacity

    known = [one.name for one in grown.members]
    if unknown := [name for name in members.cold if name not in known]:
        raise InputError(Problem("", 0, "--cold", repr(unknown[0]), f"there is no such member: {', '.join(known)}"))
    quotas = dict[str, int | None](scenario.numbers(members.quota, grown, "--quota"))
    pods = scenario.numbers(members.pods, grown, "--pods")
    if members.ask:
        for found in ask.check(federation):
            if found.pods is not None:
                pods.setdefault(found.member.name, found.pods[0])
                quotas.setdefault(found.member.name, found.pods[1])
    old = {one.name for one in federation.members}
    return {
        name: Capacity(quotas.get(name), pods.get(name, 0), name in members.cold or name not in old) for name in known
    }


def _arrivals(files: list[Path], scale: float, hours: float, seed: int, shape: dict[str, Any]) -> list[Arrival]:
    from binder_node.federation import demand
    from binder_node.files import text

    if not files:
        return demand.synthetic(hours=hours, seed=seed, **shape)
    events: list[tuple[float, str]] = []
    for file in files:
        events += demand.launches(text(file, "name a readable file").split("\n"), str(file))
    return demand.spread(events, scale=scale, seed=seed)


@dataclass(frozen=True, slots=True)
class _Played:
    """Plays a case on the same requests each time."""

    arrivals: list[Arrival]
    session: str
    build: str
    fresh: float
    redirectors: int
    seed: int

    def __call__(self, case: _Case) -> tuple[Scenario, Result]:
        from binder_node.federation import simulate as playing
        from binder_node.federation.scenario import duration

        times = {"session": duration(self.session, "--session"), "build": duration(self.build, "--build")}
        load = playing.Load(fresh=self.fresh, **times)
        more = {"redirectors": self.redirectors, "seed": self.seed}
        scenario = playing.Scenario(case.federation, self.arrivals, case.capacities, load, case.changes, **more)
        return scenario, playing.simulate(scenario)


def _tell(
    before: tuple[Scenario, Result] | None, after: tuple[Scenario, Result], plot: Path | None, output: Output
) -> None:
    from binder_node.cli.output import document, say
    from binder_node.federation.plot import svg

    scenario, result = after
    if plot is not None:
        quotas = {name: capacity.quota for name, capacity in scenario.capacities.items()}
        title = f"{result.requests} requests, {result.refused} refused, {result.failed} failed"
        _written(plot, svg(result, quotas, title))
    if output is not Output.text:
        document({"before": before and _plain(*before), "after": _plain(*after)}, output)
        return
    if before is not None:
        _show("as it is", *before)
        _show("with what happens", *after)
    else:
        _show("", *after)
    if plot is not None:
        say(f"picture: {plot}")


def _written(file: Path, text: str) -> None:
    from binder_node.errors import InputError, Problem

    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(Problem(str(file), 0, "--plot", f"cannot be written: {error.strerror}", "")) from None


def _rows(scenario: Scenario, result: Result) -> list[dict[str, Any]]:
    weights = {member.name: member.weight for member in scenario.federation.members}
    rows = []
    for tally in result.tallies:
        rows.append(
            {
                "name": tally.name,
                "weight": weights[tally.name],
                "quota": scenario.capacities[tally.name].quota,
                "requests": tally.requests,
                "share": round(result.share(tally.name), 4),
                "by_cookie": tally.by_cookie,
                "refused": tally.refused,
                "failed": tally.failed,
                "builds": tally.builds,
                "peak": tally.peak,
                "drops": tally.drops,
                "out_seconds": round(tally.out, 1),
            }
        )
    return rows


def _plain(scenario: Scenario, result: Result) -> dict[str, Any]:
    series = {tally.name: {"sent": tally.sent, "pods": tally.pods, "inside": tally.inside} for tally in result.tallies}
    return {
        "seconds": round(result.seconds, 1),
        "requests": result.requests,
        "refused": result.refused,
        "failed": result.failed,
        "members": _rows(scenario, result),
        "step": round(result.step, 1),
        "series": {"lost": result.lost, "members": series},
    }


# Narrow enough for 80 columns.
COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "member": lambda row: row["name"],
    "weight": lambda row: f"{row['weight']:g}",
    "share": lambda row: f"{row['share'] * 100:.1f}%",
    "sent": lambda row: str(row["requests"]),
    "refused": lambda row: str(row["refused"]),
    "failed": lambda row: str(row["failed"]),
    "builds": lambda row: str(row["builds"]),
    "peak": lambda row: str(row["peak"]) if row["quota"] is None else f"{row['peak']} of {row['quota']}",
    "out": lambda row: f"{row['out_seconds'] / 3600:.1f}h",
}


def _show(title: str, scenario: Scenario, result: Result) -> None:
    from binder_node.cli.output import say, table

    rows = [[cell(row) for cell in COLUMNS.values()] for row in _rows(scenario, result)]
    table(title, list(COLUMNS), rows)
    lost = (result.refused + result.failed) / max(result.requests, 1) * 100
    hours = result.seconds / 3600
    say(f"{result.requests} requests in {hours:.1f} h: {result.refused} refused, {result.failed} failed ({lost:.1f} %)")
