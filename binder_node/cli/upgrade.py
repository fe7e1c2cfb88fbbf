"""``upgrade``: the versions of a running node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from binder_node.cli.options import (
    BundleOption,
    NodeArgument,
    Output,
    OutputOption,
    PinsOption,
    PushToOption,
    RepositoryOption,
    SourceOption,
)

if TYPE_CHECKING:
    from binder_node.artifacts.store import Sources
    from binder_node.events import Reporter
    from binder_node.lifecycle.opened import Opened
    from binder_node.lifecycle.upgrade_ways import Ways
    from binder_node.lifecycle.upgrading import Asked, Outcome

app = typer.Typer()
# Where K3s says which release is the newest of each minor one (https://docs.k3s.io/upgrades/manual).
CHANNELS = "https://update.k3s.io/v1-release/channels"


@app.command(
    rich_help_panel="A node",
    epilog="Examples:  binder-node upgrade bids --show   ·   binder-node upgrade bids registry buildkit   ·   "
    "binder-node upgrade bids --to k3s=v1.35.9+k3s1 --now   ·   binder-node upgrade bids --patch",
)
def upgrade(
    node: NodeArgument,
    components: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="COMPONENT", help="registry, minio, buildkit, k3s, chart. Default: all.", show_default=False
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Show what runs and what is pinned, and do nothing.")] = False,
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to", metavar="COMPONENT=VERSION", help="Pin this version for the node first; may be said again."
        ),
    ] = None,
    patch: Annotated[
        bool,
        typer.Option("--patch", help="Pin K3s's newest patch release first, and upgrade K3s alone, in its window."),
    ] = False,
    channels: Annotated[str, typer.Option(metavar="URL", help="Where --patch looks.")] = CHANNELS,
    again: Annotated[
        bool, typer.Option("--again", help="Also what failed before in the version that is pinned.")
    ] = False,
    now: Annotated[bool, typer.Option("--now", help="K3s outside of kubernetes.upgrade_window, too.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for K3s's window to open.")] = False,
    accept: Annotated[
        str, typer.Option(metavar="CHECKS", help="Checks that may fail, before and after: machine.clock,...")
    ] = "",
    settle: Annotated[float, typer.Option(min=0, help="Seconds until a check that still fails counts as failed.")] = 90,
    builds: Annotated[float, typer.Option(min=0, help="Seconds that builds under way have to end.")] = 600,
    repository: RepositoryOption = "",
    push_to: PushToOption = "",
    output: OutputOption = Output.text,
    pins: PinsOption = None,
    source: SourceOption = "",
    bundle: BundleOption = None,
) -> None:
    """Bring a running node to the pinned versions, one component at a time.

    Each is proven by what it reports and by `smoke`, with --repository also by its deep checks; one that fails goes
    back by itself, its version is held in NODE.held.toml, and this exits with 1. Killed anywhere, the same command
    goes on.
    """
    from binder_node.cli.run import errors
    from binder_node.lifecycle import opened, upgrading
    from binder_node.words import words

    with errors():
        versions = _versions(to or [])
        names = _names([*(components or []), *(versions if not components else {}), *(["k3s"] if patch else [])])
        asked = upgrading.Asked(names, again, now, words(accept), builds, settle)
        found, order = opened.open_spec(node, pins), opened.sources(source, bundle)
        ways = partial(_ways, order=order, repository=repository, push_to=push_to)
        if show:
            _show(found, asked, ways, output)
        else:
            outcome = _upgrade(found, asked, ways, output, versions, channels if patch else "", wait=wait)
            if outcome is not None and outcome.failed:
                raise typer.Exit(1)


def _ways(found: Opened, report: Reporter, order: Sources, repository: str, push_to: str) -> Ways:
    from binder_node.lifecycle import upgrade_ways
    from binder_node.lifecycle.proving import Proof

    return upgrade_ways.ways(found, order, Proof(found, repository, push_to, report), report)


def _show(found: Opened, asked: Asked, ways: Callable[[Opened, Reporter], Ways], output: Output) -> None:
    from binder_node.cli.output import document, reporting, say, table
    from binder_node.events import silent
    from binder_node.lifecycle.upgrading import Upgrading

    with reporting(Output.text) as told:
        report = told if output is Output.text else silent
        rows = Upgrading(found, asked, ways(found, report), report).look()
    if output is not Output.text:
        document({"node": found.spec.name, "components": rows}, output)
        return
    shown = [[row.component, row.runs, row.pinned, row.why or "as pinned"] for row in rows]
    table("", ["component", "runs", "pinned", "state"], shown)
    if window := found.spec.kubernetes.upgrade_window:
        say(f"K3s may be restarted {window} (UTC)")


def _upgrade(
    found: Opened,
    asked: Asked,
    ways: Callable[[Opened, Reporter], Ways],
    output: Output,
    versions: dict[str, str],
    channels: str,
    *,
    wait: bool,
) -> Outcome | None:
    """Pin what is to be pinned first, and upgrade; None where it was not the time for it."""
    from binder_node.cli.output import reporting
    from binder_node.events import Event
    from binder_node.lifecycle import opened, pinning, upgrading
    from binder_node.lifecycle.lock import locked

    with reporting(output) as report:
        if not upgrading.in_time(found, report, patch=bool(channels) and not asked.now, wait=wait):
            return None
        with locked(found.runtime, found.spec.name, "upgrade"):
            newest = {"k3s": pinning.newest_k3s(found, channels, report)} if channels else {}
            for name, version in (versions | newest).items():
                file, diff = pinning.pin(found, name, version)
                if diff:
                    report(Event("change", "upgrade", f"{name} {version} pinned in {file.name}", {"diff": diff}))
            found = opened.open_spec(str(found.inventory), found.pins.overlay)
            outcome = upgrading.Upgrading(found, asked, ways(found, report), report).run()
        if output is not Output.text:
            report(Event("failed" if outcome.failed else "done", "upgrade", _sentence(outcome), asdict(outcome)))
    if output is Output.text:
        _tell(outcome)
    return outcome


def _names(said: list[str]) -> tuple[str, ...]:
    """The components to upgrade. Raises InputError for one that there is not."""
    from binder_node.errors import InputError, Problem
    from binder_node.upgrades.components import NAMES

    if unknown := [name for name in said if name not in NAMES]:
        raise InputError(Problem("", 0, "COMPONENT", f"{', '.join(unknown)}: no component", f"say {', '.join(NAMES)}"))
    return tuple(dict.fromkeys(said))


def _versions(to: list[str]) -> dict[str, str]:
    """Versions to be pinned first, by component. Raises InputError for what names none."""
    from binder_node.errors import InputError, Problem

    if wrong := [word for word in to if not all(word.partition("="))]:
        raise InputError(Problem("", 0, "--to", f"{wrong[0]!r} names no version", "like k3s=v1.35.9+k3s1"))
    return {name: version for name, _, version in (word.partition("=") for word in to)}


def _sentence(outcome: Outcome) -> str:
    parts = [f"{item.component} {item.old} -> {item.new}" for item in outcome.done]
    if outcome.failed:
        parts.append(f"{outcome.failed.component} {outcome.failed.new} went back to {outcome.failed.old}")
    return f"{outcome.node}: {', '.join(parts) or 'nothing to upgrade'}, {outcome.seconds:.0f} s"


def _tell(outcome: Outcome) -> None:
    from binder_node.cli.output import say

    for name, why in outcome.left.items():
        say(f"{name} was left: {why}")
    if outcome.failed:
        say(f"{outcome.failed.component} {outcome.failed.new} failed: {outcome.failed.why}")
    say(_sentence(outcome))
