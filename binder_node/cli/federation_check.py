"""``federation check``: members as the redirector sees them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from binder_node.cli.options import Output, OutputOption, complete_node

if TYPE_CHECKING:
    from binder_node.events import Reporter
    from binder_node.federation.ask import Checked, Way
    from binder_node.federation.config import Federation

app = typer.Typer()

STAGE = "federation"
# Every path but /build is answered by the prime there, so that its /versions are the prime's.
PRIME = "https://mybinder.org"

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="The federation: its chart's values (config/prod.yaml) or the redirector's config.json.",
        show_default=False,
    ),
]


@app.command(
    epilog="Examples:  binder-node federation check bids   ·   "
    "binder-node federation check --config mybinder.org-deploy/config/prod.yaml   ·   "
    "binder-node federation check --config config/prod.yaml --member bids-ovh --watch   ·   "
    "binder-node federation check bids --direct -o json | jq .members",
)
def check(
    node: Annotated[
        str | None,
        typer.Argument(
            metavar="[NODE]",
            help="A node's name or inventory: it is checked, whether it is a member yet or not. Without it: --config.",
            autocompletion=complete_node,
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
    member: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this one of --config. Can be given again.", show_default=False),
    ] = None,
    prime: Annotated[
        str, typer.Option(metavar="URL", help="Without --config: whose versions a node is held against.")
    ] = PRIME,
    direct: Annotated[
        bool, typer.Option("--direct", help="Ask the node's machine by its address, in place of what DNS says.")
    ] = False,
    redirector: Annotated[
        str,
        typer.Option(metavar="URL", help="Ask a running redirector, too, whom it sends people to.", show_default=False),
    ] = "",
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on in the redirector's own rhythm; a line for each change.")
    ] = False,
    seconds: Annotated[
        float | None, typer.Option("--for", help="With --watch: end after this many seconds.", show_default=False)
    ] = None,
    output: OutputOption = Output.text,
) -> None:
    """Show which members the redirector sends people to, and why not: by its own rules, requests and timeouts.

    Versions have to be the prime's, every check of /health good, ten pods free below the quota, and the last of five
    attempts answered in time. Exits with 1 when NODE is out, or without NODE one that has a weight. With
    --watch -o json, one event a line.
    """
    from binder_node.cli.output import document, reporting
    from binder_node.cli.run import errors
    from binder_node.errors import InputError, Problem
    from binder_node.federation import ask

    with errors():
        if seconds is not None and not watch:
            raise InputError(Problem("", 0, "--for", "has no meaning without --watch", "say both"))
        if redirector and watch:
            raise InputError(Problem("", 0, "--redirector", "is asked once", "leave --watch out"))
        if member and config is None:
            raise InputError(Problem("", 0, "--member", "has no meaning without --config", "say both"))
        federation, names, way = _asked(node, config, member or [], prime, direct)
        if watch:
            with reporting(output) as report:
                found = _watch(federation, names, way, seconds, report)
        else:
            found = ask.check(federation, names, way=way)
            active = ask.active_hosts(redirector) if redirector else None
            if output is Output.text:
                _show(federation, found, active)
            else:
                document(_document(federation, found, active, _well(found, node, names)), output)
        if not _well(found, node, names):
            raise typer.Exit(1)


def _well(found: Sequence[Checked], node: str | None, names: Sequence[str]) -> bool:
    """Whether ``node``, the first of ``names``, is in; without it, whether all that have a weight are."""
    counted = [one for one in found if (one.member.weight if node is None else one.member.name == names[0])]
    return all(one.verdict.inside for one in counted)


def _asked(
    node: str | None, config: Path | None, members: list[str], prime: str, direct: bool
) -> tuple[Federation, list[str], Way]:
    """The federation, the names in it that are asked about, and how to reach them. Raises InputError."""
    from binder_node.errors import InputError, Problem
    from binder_node.federation import config as configs
    from binder_node.federation.ask import Way

    if node is None and config is None:
        raise InputError(Problem("", 0, "NODE", "neither a node nor --config", "say whom to check"))
    federation = configs.read(config) if config is not None else None
    if node is None:
        assert federation is not None
        names = [federation.member(name).name for name in members] or [one.name for one in federation.members]
        return federation, names, Way()
    candidate, way = _candidate(node, direct)
    federation = configs.joined(federation or configs.around(prime), candidate)
    own = configs.same(federation, candidate).name
    beside = [federation.member(name).name for name in members] if config is not None else [federation.prime.name]
    return federation, [own, *beside], way


def _candidate(node: str, direct: bool) -> tuple[Any, Way]:
    from binder_node.cluster.tls import trust
    from binder_node.federation.ask import Way
    from binder_node.federation.config import member_at
    from binder_node.lifecycle import opened

    found = opened.open_spec(node, None)
    spec = found.spec
    addresses = {spec.names.binder: opened.access_of(found)[1]} if direct else {}
    member = member_at(spec.federation.member or spec.name, spec.url(spec.names.binder), spec.federation.weight)
    return member, Way(addresses, trust(spec))


def _watch(
    federation: Federation, names: Sequence[str], way: Way, seconds: float | None, report: Reporter
) -> tuple[Checked, ...]:
    from binder_node.events import Event
    from binder_node.federation import ask

    last: dict[str, Checked] = {}

    def seen(found: Checked) -> None:
        before = last.get(found.member.name)
        last[found.member.name] = found
        changed = before is None or before.verdict != found.verdict
        kind: Any = "progress" if not changed else "done" if found.verdict.inside else "warn"
        report(Event(kind, STAGE, _sentence(found), {**_row(found, None), "changed": changed}))

    with suppress(KeyboardInterrupt):  # the usual end of watching
        ask.watch(federation, names, seen, seconds=seconds, way=way)
    return tuple(last.values())


def _sentence(found: Checked) -> str:
    pods = f", {_pods(found)} pods" if found.pods else ""
    if found.verdict.inside:
        return f"{found.member.name} is in{pods}"
    return f"{found.member.name} is out: {'; '.join(found.verdict.reasons)}"


def _state(found: Checked) -> str:
    if not found.verdict.inside:
        return "out"
    return "in" if found.member.weight else "in, no weight"


def _pods(found: Checked) -> str:
    if found.pods is None:
        return ""
    pods, quota = found.pods
    return f"{pods}" if quota is None else f"{pods} of {quota}"


def _show(federation: Federation, found: Sequence[Checked], active: Sequence[str] | None) -> None:
    from binder_node.cli.output import say, table

    columns = ["member", "weight", "", "pods", "slowest", *(["redirector"] if active is not None else [])]
    rows = []
    for one in found:
        name = f"{one.member.name}{' (prime)' if one.member.prime else ''}"
        row = [name, f"{one.member.weight:g}", _state(one), _pods(one), f"{one.slowest:.2f} s"]
        if active is not None:
            row.append("in" if one.member.name in active else "out")
        rows.append(row)
    table("", columns, rows)
    for one in found:
        for reason in one.verdict.reasons:
            say(f"{one.member.name} is out: {reason}")
    rules = federation.rules
    say(
        f"as the redirector looks: every {rules.period:g} s, {rules.failed_period:g} s after a failure; "
        f"{rules.timeout:g} s for an answer; {rules.headroom} pods kept free"
    )


def _document(
    federation: Federation, found: Sequence[Checked], active: Sequence[str] | None, well: bool
) -> dict[str, Any]:
    return {
        "ok": well,  # as the exit code
        "config": federation.file,
        "prime": federation.prime.name,
        "rules": federation.rules,
        "members": [_row(one, active) for one in found],
    }


def _row(found: Checked, active: Sequence[str] | None) -> dict[str, Any]:
    pods, quota = found.pods or (None, None)
    member, verdict = found.member, found.verdict
    row = {
        "name": member.name,
        "url": member.url,
        "prime": member.prime,
        "weight": member.weight,
        "inside": verdict.inside,
        "cause": verdict.cause,
        "reasons": list(verdict.reasons),
        "pods": pods,
        "quota": quota,
        "attempts": len(found.attempts),
        "took": round(found.seconds, 3),
        "slowest": round(found.slowest, 3),
    }
    return row if active is None else {**row, "redirector": member.name in active}
