"""``upgrade``: the versions of a running node."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from binder_node.cli.options import BundleOption, NodeArgument, Output, OutputOption, PinsOption, SourceOption

if TYPE_CHECKING:
    from binder_node.lifecycle.opened import Opened
    from binder_node.lifecycle.upgrading import Outcome, Row

app = typer.Typer()


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
    channels: Annotated[str, typer.Option(metavar="URL", help="Where --patch looks. Default: K3s's own list.")] = "",
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
    repository: Annotated[
        str,
        typer.Option(
            "--repository",
            metavar="URL",
            envvar="BINDER_NODE_SMOKE_REPOSITORY",
            help="Prove by the deep checks: they build a new branch of this git repository.",
        ),
    ] = "",
    push_to: Annotated[
        str,
        typer.Option(
            "--push-to",
            metavar="URL",
            envvar="BINDER_NODE_SMOKE_PUSH_TO",
            help="Where that branch is pushed, if by another URL.",
        ),
    ] = "",
    output: OutputOption = Output.text,
    pins: PinsOption = None,
    source: SourceOption = "",
    bundle: BundleOption = None,
) -> None:
    """Bring a running node to the pinned versions, one component at a time.

    Each is proven by what it reports and by `smoke`; one that fails goes back by itself, its version is held in
    NODE.held.toml, and this exits with 1. Killed anywhere, the same command goes on.
    """
    from binder_node.cli.output import document, reporting
    from binder_node.cli.run import errors
    from binder_node.events import Event, silent
    from binder_node.lifecycle import opened, pinning, upgrade_ways, upgrading
    from binder_node.lifecycle.lock import locked
    from binder_node.lifecycle.proving import Proof

    with errors():
        asked = upgrading.Asked(_names(components or [], patch), again, now, _words(accept), builds, settle)
        found, order = opened.open_spec(node, pins), opened.sources(source, bundle)
        if show:
            with reporting(Output.text) as told:
                report = told if output is Output.text else silent
                rows = upgrading.Upgrading(
                    found, order, asked, Proof(found, repository, push_to, report), report
                ).look()
            if output is Output.text:
                _show(found, rows)
            else:
                document({"node": found.spec.name, "components": rows}, output)
            return
        with reporting(output) as report:
            if not upgrading.in_time(found, report, patch=patch and not now, wait=wait):
                return
            with locked(found.runtime, found.spec.name, "upgrade"):
                for name, version in _wanted(found, to or [], patch, channels):
                    file, diff = pinning.pin(found, name, version)
                    report(Event("change", "upgrade", f"{name} {version} pinned in {file.name}", {"diff": diff}))
                found = opened.open_spec(node, pins)
                ways = upgrade_ways.ways(found, order, Proof(found, repository, push_to, report), report)
                outcome = upgrading.Upgrading(found, asked, ways, report).run()
            if output is not Output.text:
                report(Event("failed" if outcome.failed else "done", "upgrade", _sentence(outcome), asdict(outcome)))
        if output is Output.text:
            _tell(outcome)
        if outcome.failed:
            raise typer.Exit(1)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _names(said: list[str], patch: bool) -> tuple[str, ...]:
    """The components to upgrade. Raises InputError for one that there is not."""
    from binder_node.errors import InputError, Problem
    from binder_node.upgrades.components import NAMES

    if unknown := [name for name in said if name not in NAMES]:
        raise InputError(Problem("", 0, "COMPONENT", f"{', '.join(unknown)}: no component", f"say {', '.join(NAMES)}"))
    return ("k3s",) if patch else tuple(said)


def _wanted(found: Opened, to: list[str], patch: bool, channels: str) -> list[tuple[str, str]]:
    """What is to be pinned first: component and version."""
    from binder_node.cli.output import say
    from binder_node.errors import InputError, Problem
    from binder_node.lifecycle.pinning import newest_k3s
    from binder_node.upgrades.releases import CHANNELS

    wanted = [tuple(word.split("=", 1)) for word in to]
    if wrong := [word for word in to if not all(word.partition("="))]:
        raise InputError(Problem("", 0, "--to", f"{wrong[0]!r} names no version", "like k3s=v1.35.9+k3s1"))
    if patch:
        pinned, newest = newest_k3s(found, channels or CHANNELS)
        if not newest:
            say(f"{found.spec.name}: {pinned} is K3s's newest patch release")
        else:
            wanted.append(("k3s", newest))
    return [(name, version) for name, version in wanted]


def _show(found: Opened, rows: list[Row]) -> None:
    from binder_node.cli.output import say, table

    shown = [[row.component, row.runs, row.pinned, row.why or "as pinned"] for row in rows]
    table("", ["component", "runs", "pinned", "state"], shown)
    if window := found.spec.kubernetes.upgrade_window:
        say(f"K3s may be restarted {window} (UTC)")


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
