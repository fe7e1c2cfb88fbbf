"""``capacity``: what follows from loads of a node, those of ``saturate`` among them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from binder_node.cli.options import NodeArgument, Output, OutputOption

if TYPE_CHECKING:
    from binder_node.capacity.fit import Fit, Use
    from binder_node.capacity.machines import Choice
    from binder_node.lifecycle.opened import Opened

app = typer.Typer()

P95Option = Annotated[str, typer.Option(metavar="TIME", help="Wanted: 95 of 100 cached launches are ready in this.")]
FailuresOption = Annotated[float, typer.Option(help="Wanted: at most this share fails or is refused.", min=0, max=1)]


@app.command(
    rich_help_panel="On a node",
    epilog="Examples:  binder-node capacity bids load.json   ·   "
    "binder-node capacity bids steps/*.json --p95 10s --stay 20m --sessions 300",
)
def capacity(
    node: NodeArgument,
    loads: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="What `load --report` or `saturate --report` wrote (.json).")
    ],
    p95: P95Option = "15s",
    failures: FailuresOption = 0.01,
    stay: Annotated[str, typer.Option(metavar="TIME", help="How long people stay in a server, in the mean.")] = "20m",
    sessions: Annotated[
        int | None, typer.Option(help="Show which machines of its provider hold so many.", min=1, show_default=False)
    ] = None,
    output: OutputOption = Output.text,
) -> None:
    """Say how many sessions the node holds, by loads of it, and what to write into its inventory.

    Memory and cores of a session and a launch are fitted to what was seen; the inventory's sizing is held against it.
    Nothing is asked but the files, and prices with --sessions. The loads have to be of the node's own machine, or of
    one of its size.
    """
    from binder_node.capacity import fit, measured
    from binder_node.capacity.steps import Goal
    from binder_node.cli.run import errors
    from binder_node.federation.scenario import duration
    from binder_node.lifecycle import opened
    from binder_node.load import result

    with errors():
        goal, opening = Goal(duration(p95, "--p95"), failures), opened.open_spec(node, None)
        read = [(str(path), result.read(path)) for path in loads]
        machine = measured.machine(read)
        seen = [one for _, load in read for one in measured.moments(load)]
        found = fit.fit(machine, [measured.step(load) for _, load in read], seen, goal)
        use = fit.Use(duration(stay, "--stay"), opening.spec.binderhub.build_limit, int(opening.spec.buildkit.memory))
        _tell(opening, found, use, _choices(opening, found, use, sessions), output)


def _choices(opening: Opened, found: Fit, use: Use, sessions: int | None) -> list[Choice] | None:
    from datetime import UTC, datetime

    from binder_node.capacity.machines import choices
    from binder_node.cli.output import reporting
    from binder_node.lifecycle import prices

    if sessions is None:
        return None
    with reporting(Output.text) as report:
        shop = prices.shop_of(opening, report)
    return choices(found, use, shop.offers, sessions, datetime.now(UTC).date())


def _tell(opening: Opened, found: Fit, use: Use, machines: list[Choice] | None, output: Output) -> None:
    from dataclasses import asdict

    from binder_node.capacity import fit
    from binder_node.cli.output import document, say, table

    limits = fit.limits(found, use, pods=opening.spec.kubernetes.max_pods)
    proposal, rules = fit.propose(found, use), fit.rules(found, opening.spec, use)
    if output is not Output.text:
        fields = {"fit": asdict(found), "limits": limits, "proposal": proposal, "rules": rules, "machines": machines}
        document({"node": opening.spec.name, **fields}, output)
        return
    for line in _sentences(found):
        say(line)
    table("", ["what", "sessions"], [[one.what, str(one.sessions)] for one in limits])
    rows = [[one.key, one.says, one.measured, "holds" if one.holds else "does not hold"] for one in rules]
    table("", ["sizing", "says", "measured", ""], rows)
    if proposal is None:
        say("not enough was seen for a proposal: load the node at several rates, with sessions that stay")
    else:
        say(f"proposed, by {proposal.limit}:")
        say(f"  kubernetes: {{max_pods: {proposal.max_pods}}}")
        say(f"  binderhub: {{quota: {proposal.quota}, build_limit: {proposal.build_limit}}}")
    if machines is not None:
        shown = [
            [
                one.offer.type,
                one.offer.location,
                str(one.offer.cpus),
                fit.gb(one.offer.memory),
                str(one.limit.sessions),
                one.limit.what,
                f"{one.offer.monthly} {one.offer.currency}",
            ]
            for one in machines[:10]
        ]
        table("", ["type", "location", "cores", "memory", "sessions", "by", "a month"], shown)


def _sentences(found: Fit) -> list[str]:
    from binder_node.capacity.fit import gb

    told = [f"measured on {found.machine.cpus} cores and {gb(found.machine.memory)}"]
    if found.rate:
        told.append(f"{found.rate:.2f} launches a second were good" + (", and nothing was too much" * found.open))
    else:
        told.append("no load was as good as is wanted")
    if found.session is not None and found.idle is not None:
        told.append(f"memory: {gb(found.idle)} idle, {gb(found.session)} a session")
    if found.launch is not None and found.idle_cpu is not None:
        told.append(f"cores: {found.idle_cpu:.2f} idle, {found.launch:.2f} core-seconds a launch")
    return told
