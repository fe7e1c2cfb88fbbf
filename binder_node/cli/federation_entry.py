"""``federation register``, ``leave``, ``export``: membership as changes to a checkout of the federation's files."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from binder_node.cli.options import NodeArgument, Output, OutputOption, PinsOption

if TYPE_CHECKING:
    from binder_node.federation.carry import Carried

app = typer.Typer()
PANEL = "Membership"


class Phase(StrEnum):
    """What leaving does, in this order."""

    prime = "prime"
    quota = "quota"
    weight = "weight"
    remove = "remove"


CheckoutOption = Annotated[
    Path,
    typer.Option("--checkout", metavar="DIR", help="A checkout of the federation's repository.", show_default=False),
]
GuideOption = Annotated[
    Path | None,
    typer.Option("--guide", metavar="DIR", help="A checkout of the user guide's repository.", show_default=False),
]
ConfigOption = Annotated[
    str, typer.Option("--config", metavar="PATH", help="Of the redirector's values, in the checkout.")
]
BranchOption = Annotated[
    str,
    typer.Option("--branch", metavar="NAME", help="Commit the change on this branch; made if new.", show_default=False),
]
ShowOption = Annotated[bool, typer.Option("--show", help="Show the change, and write nothing.")]
CONFIG = "config/prod.yaml"


@app.command(
    rich_help_panel=PANEL,
    epilog="Examples:  binder-node federation register bids --checkout ../mybinder.org-deploy --show   ·   "
    "binder-node federation register bids --checkout ../mybinder.org-deploy --guide ../mybinder.org-user-guide "
    "--weight 5 --branch join-bids",
)
def register(
    node: NodeArgument,
    checkout: CheckoutOption,
    guide: GuideOption = None,
    weight: Annotated[
        float | None,
        typer.Option(
            "--weight", min=0, help="To begin with; 0: none before its ramp. Default: 10.", show_default=False
        ),
    ] = None,
    branch: BranchOption = "",
    show: ShowOption = False,
    config: ConfigOption = CONFIG,
    output: OutputOption = Output.text,
    pins: PinsOption = None,
) -> None:
    """Make a node a member: the redirector's host entry, and every other place where the federation names its members.

    Writes the change into the checkout and prints it as a diff; all other bytes stay. A second run changes nothing.
    """
    from binder_node.cli.run import errors
    from binder_node.federation.carry import Checkouts, carry
    from binder_node.federation.entry import entry
    from binder_node.federation.register import register as make
    from binder_node.lifecycle import opened

    with errors():
        found = opened.open_spec(node, pins)
        own = entry(found.spec, found.pins.entries["k3s"].version)
        done = carry(
            Checkouts.at(checkout, guide, config),
            own.name,
            lambda files, pages: make(files, pages, own, weight, config),
            branch=branch,
            show=show,
        )
        _tell(done, output, f"{own.name}: a member already; nothing to change", show)


@app.command(
    rich_help_panel=PANEL,
    epilog="Examples:  binder-node federation leave bids --checkout ../mybinder.org-deploy --branch leave-bids   ·   "
    "binder-node federation leave bids --checkout ../mybinder.org-deploy --phase remove --show",
)
def leave(
    node: NodeArgument,
    checkout: CheckoutOption,
    guide: GuideOption = None,
    phase: Annotated[
        Phase | None,
        typer.Option(
            "--phase", help="All phases up to this one, in one change. Default: the next.", show_default=False
        ),
    ] = None,
    prime: Annotated[
        str,
        typer.Option(
            "--prime", metavar="MEMBER", help="Who becomes prime. Default: the heaviest other.", show_default=False
        ),
    ] = "",
    branch: BranchOption = "",
    show: ShowOption = False,
    config: ConfigOption = CONFIG,
    output: OutputOption = Output.text,
    pins: PinsOption = None,
) -> None:
    """Take a member out, one phase a run: another prime, quota 0, weight 0, removal. Deploy each before the next.

    The redirector's file never has a null host nor a prime without weight; after the last phase it is as it was before
    `register`.
    """
    from binder_node.cli.run import errors
    from binder_node.federation.carry import Checkouts, carry
    from binder_node.federation.entry import entry
    from binder_node.federation.leave import exported
    from binder_node.federation.leave import leave as make
    from binder_node.lifecycle import opened

    with errors():
        found = opened.open_spec(node, pins)
        own = entry(found.spec, found.pins.entries["k3s"].version)
        done = carry(
            Checkouts.at(checkout, guide, config),
            own.name,
            lambda files, pages: make(files, pages, own, phase.value if phase else None, prime, config),
            branch=branch,
            show=show,
            also=exported(own.name),
        )
        _tell(done, output, f"{own.name}: nothing to change", show)


@app.command(
    rich_help_panel=PANEL,
    epilog="Examples:  binder-node federation export bids --checkout ../mybinder.org-deploy --show   ·   "
    "binder-node federation export bids --checkout ../mybinder.org-deploy --branch join-bids",
)
def export(
    node: NodeArgument,
    checkout: CheckoutOption,
    branch: BranchOption = "",
    show: ShowOption = False,
    output: OutputOption = Output.text,
    pins: PinsOption = None,
) -> None:
    """Write the files of a member that its federation deploys: its values, the kubelet's file, the upgrade plan, and a
    template of its secrets.

    For inventories with `deploy: federation`. Writes only where git-crypt has its key, and never a secret.
    """
    from binder_node.cli.run import errors
    from binder_node.federation.carry import Checkouts, carry
    from binder_node.federation.export import template_path
    from binder_node.federation.register import own_values
    from binder_node.lifecycle import opened
    from binder_node.lifecycle.exporting import exporter

    with errors():
        found = opened.open_spec(node, pins)
        where, name = Checkouts.at(checkout, None, CONFIG), found.spec.federation.member
        paths, make = exporter(found, filled=where.main.has(f"secrets/{own_values(name)}"))
        done = carry(where, name, make, branch=branch, show=show, secret=template_path(name), also=paths)
        _tell(done, output, f"{name}: its files are as the inventory says; nothing to change", show)


def _tell(done: Carried, output: Output, nothing: str, show: bool) -> None:
    from binder_node.cli.output import document, say

    made = done.made
    if output is not Output.text:
        shown = {
            "change": made.what,
            "files": [*made.files, *made.guide],
            "diff": done.diff,
            "notes": made.notes,
            "commits": done.commits,
        }
        document(shown, output)
        return
    sys.stdout.write(done.diff)
    sys.stdout.flush()
    for note in made.notes:
        say(f"  {note}")
    if made.empty:
        say(nothing)
        return
    count = len(made.files) + len(made.guide)
    say(f"{made.what}: {count} file{'' if count == 1 else 's'} {'would change' if show else 'changed'}")
    for folder, commit in done.commits.items():
        say(f"{folder}: committed as {commit[:12]}")
