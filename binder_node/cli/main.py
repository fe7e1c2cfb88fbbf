"""The command line's root. Command modules import typer and the standard library only: starting costs no SDK."""

from __future__ import annotations

import os
import signal
from typing import Annotated

import typer

from binder_node.cli.lazy import LazyGroup, lazy, nothing

app = typer.Typer(
    name="binder-node",
    help="A mybinder.org federation member on one cheap machine: bring it up, check it, launch on it.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,  # locals hold secrets
    context_settings={"help_option_names": ["-h", "--help"]},
)


def show_version(asked: bool) -> None:
    """Callback of ``--version``: it is answered before a command is missed."""
    if asked:
        from binder_node import __version__

        typer.echo(f"binder-node {__version__}")
        raise typer.Exit


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", envvar="BINDER_NODE_DEBUG", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=show_version)
    ] = False,
) -> None:
    del version
    if debug:
        os.environ["BINDER_NODE_DEBUG"] = "1"


# Every command by its panel and the module beside this one that has it. Its line stands here too, for building all the
# options of all the commands takes longer than the rest of the root's --help (a test compares the lines).
COMMANDS = {
    ("Inventories", "spec"): {
        "init": "Write an annotated inventory for a new node, complete with every key and its default.",
        "check": "Check an inventory: every mistake at once, with its line; then what follows from the machine's size.",
    },
    ("Prices", "cost"): {
        "cost": "Show what a month of the node costs, made or not: at live prices, or as its inventory says (`cost`).",
        "offers": "Show the machines that can be ordered now and are large enough, the cheapest first.",
        "leftovers": "Show what carries binder-node's labels and belongs to no inventory: it may cost money.",
    },
    ("A node", "node"): {
        "plan": "Show what `up` would change, stage by stage: files as diffs, secrets masked. Touches nothing.",
        "up": "Make the node what its inventory says, from wherever it is. Killed anywhere, the same command goes on.",
        "destroy": "Take the machine away, and what was made for it. Shows what goes and what stays, and asks.",
        "unlock": "Break the lock of a run that is stuck. The lock of a run that has ended is free by itself.",
    },
    ("A node", "status"): {
        "status": "Show every stage as it is, certificates, what timers did last, and where a rotation stands.",
    },
    ("A node", "rotate"): {
        "rotate": "Bring up a node's next generation beside it, move launches over, drain the old one, remove it.",
    },
    ("A node", "upgrade"): {
        "upgrade": "Bring a running node to the pinned versions, one component at a time.",
    },
    ("A node", "smoke"): {
        "smoke": "Check a running node, layer by layer, and say of each failure why and what to do.",
    },
    ("A node", "backup"): {
        "backup": "Have the node make a backup now: hub's database, certificates, K3s's state, secrets.",
    },
    ("A node", "eject"): {
        "eject": "Write a node as plain files, to run it without this toolkit: values, manifests, host files, README.",
    },
    ("On a node", "launch"): {
        "launch": "Build and launch a repository, its log streamed. With --run, code runs there; its output is shown.",
    },
    ("On a node", "load"): {
        "load": "Send simulated users to a node: they launch, run cells, and leave. Tells how it went.",
    },
    ("On a node", "saturate"): {
        "saturate": "Find the rate of launches at which a node still does what is wanted: load it step by step.",
    },
    ("On a node", "capacity"): {
        "capacity": "Say how many sessions the node holds, by loads of it, and what to write into its inventory.",
    },
    ("On a node", "events"): {
        "events": "Launches of the last days, the repositories launched most, and what failed and why.",
    },
    ("On a node", "abuse"): {
        "abuse": "Show who was cut and why: repository, pod, address, counts; who asked for mail or banned networks.",
        "explain": "Show one launch's timeline, its pods long gone: build, kubelet, out-of-memory, cuts.",
    },
    ("On a node", "alerts"): {
        "alerts": "Show what is wrong with a node by its own measurements, and what to do first.",
    },
    ("On a node", "access"): {
        "ssh": "Log in, strictly: only the host key that was made for this node is taken.",
        "kubeconfig": "Fetch a fresh kubeconfig. The API is reached through ssh unless the inventory opens it.",
        "logs": "Show the log of a component, wherever it runs: a unit of the host's, or a pod of the release's.",
        "probe": "Write to the registry's bucket, read it back, delete it: small writes pass where large pushes fail.",
    },
}

for (panel, module), lines in COMMANDS.items():
    for name, line in lines.items():
        app.command(name, cls=lazy(module), help=line, rich_help_panel=panel)(nothing)
for name, about in (
    ("artifacts", "The pinned files a node is made of."),
    ("pins", "Newer versions of what is pinned, offered as a change of the pins file."),
    ("secrets", "A node's secrets, by their names: no value is ever shown."),
    ("federation", "Membership: health as the redirector sees it, weights, joining and leaving."),
):
    app.add_typer(typer.Typer(cls=LazyGroup, no_args_is_help=True), name=name, help=about)


def run() -> None:
    """Entry point of the ``binder-node`` script. A polite ``kill`` ends it as Ctrl-C does: what is open is closed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app()
