"""``rotate``: a node replaced by another while people work on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from binder_node.cli.options import (
    BundleOption,
    FingerprintOption,
    NodeArgument,
    Output,
    OutputOption,
    PinsOption,
    PushToOption,
    RepositoryOption,
    SourceOption,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from binder_node.events import Reporter
    from binder_node.lifecycle.standing import Pair
    from binder_node.rotation.timeline import Timeline

app = typer.Typer()


@app.command(
    rich_help_panel="A node",
    epilog="Examples:  binder-node rotate bids-1 --dry-run   ·   binder-node rotate bids-1 --set machine.memory=192G "
    "--set 'provider.types=[ccx63]'   ·   binder-node rotate bids-1 --yes bids-1   ·   binder-node rotate bids-1 "
    "--abort",
)
def rotate(
    node: NodeArgument,
    to: Annotated[
        str, typer.Option(metavar="NAME", help="The new node's name. Default: the next number.", show_default=False)
    ] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="What is other on the new node; may be said again."),
    ] = None,
    yes: Annotated[
        str | None, typer.Option("--yes", metavar="NODE", help="The old node's name, instead of asking.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show steps, times and costs, and do nothing.")] = False,
    abort: Annotated[
        bool, typer.Option("--abort", help="Go back: names to the old node, and the new one away.")
    ] = False,
    now: Annotated[
        bool,
        typer.Option("--now", help="Neither drain the node that goes nor wait for its sessions: they are lost."),
    ] = False,
    images: Annotated[int, typer.Option(min=0, help="Images launched most that are pulled beforehand.")] = 20,
    days: Annotated[int, typer.Option(min=1, help="Days of launches to look at for that.")] = 7,
    deep: Annotated[
        bool, typer.Option("--deep/--no-deep", help="Whether the checks of the new node build and launch.")
    ] = True,
    repository: RepositoryOption = "",
    push_to: PushToOption = "",
    wait: Annotated[
        float | None,
        typer.Option(min=0, help="Minutes to wait for the last session. Default: the hub's limit.", show_default=False),
    ] = None,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks while waiting.")] = 30,
    everything: Annotated[
        bool, typer.Option("--all", help="At its end also the old node's address and volume.")
    ] = False,
    output: OutputOption = Output.text,
    pins: PinsOption = None,
    source: SourceOption = "",
    bundle: BundleOption = None,
    fingerprint: FingerprintOption = "",
) -> None:
    """Bring up a node's next generation beside it, move launches over, drain the old one, remove it.

    The new node has the old one's inventory but for what --set says, its secrets and its bucket, and a hub's name of
    its own. Killed anywhere, the same command goes on, here or on another computer with the same checkout. --abort goes
    back at any point before the old node is taken away.
    """
    from binder_node.cli.output import document, reporting, say
    from binder_node.cli.run import confirm, confirm_host_key, errors, refuse_unasked
    from binder_node.events import Event
    from binder_node.lifecycle import opened, rotating, trust
    from binder_node.lifecycle.replacing import Steps, Wishes
    from binder_node.lifecycle.standing import pair_of
    from binder_node.providers.base import KEEP, NOTHING
    from binder_node.rotation.successor import next_name, setting

    with errors():
        pair = pair_of(node, to, pins, next_name)
        old, new = pair.old.stem, pair.new.stem
        wishes = Wishes(
            settings=tuple(setting(text) for text in settings or ()),
            days=days,
            images=images,
            wait=None if wait is None else wait * 60,
            every=every,
            keep=NOTHING if everything else KEEP,
            smoke=_smoke(pins, deep=deep, repository=repository, push_to=push_to),
            confirm=lambda one: trust.confirmed(one, fingerprint, confirm_host_key()),
        )
        if pair.over:
            say(f"{old}: has been replaced; its inventory is in {pair.old.parent / 'retired'}")
            return
        question = _question(old, new, abort=abort, now=now)
        if not dry_run:
            refuse_unasked(question, old, yes)
        with reporting(Output.text) as told:
            found = None if abort or not pair.old.exists() else rotating.planned(pair, wishes, told, deep=deep)
        if dry_run:
            _show(pair, found, output, document)
            return
        if output is Output.text:
            _show(pair, found, output, document)
        confirm(question, old, yes)
        with reporting(output) as report, rotating.both_locked(pair, "rotate"):
            steps = Steps(pair, wishes, opened.sources(source, bundle), report)
            made = rotating.Rotation(steps, abort=abort, now=now).run()
            if output is not Output.text:
                data = {"old": old, "new": new, "abort": abort, "steps": [f"{one.step} {one.on}" for one in made]}
                report(Event("done", "rotate", _sentence(old, new, abort=abort), data))
        if output is Output.text:
            say(_sentence(old, new, abort=abort))


def _question(old: str, new: str, *, abort: bool, now: bool) -> str:
    goes, stays = (new, old) if abort else (old, new)
    end = "at once, with all sessions on it" if now else "once its last session has ended"
    return f"This moves launches to {stays}, and takes {goes} away with its machine {end}; it begins with {old}."


def _sentence(old: str, new: str, *, abort: bool) -> str:
    return f"{old}: serves as before; {new} is gone" if abort else f"{old}: {new} has taken its place"


def _smoke(pins: Path | None, *, deep: bool, repository: str, push_to: str) -> Callable[[Path, Reporter], list[str]]:
    """What checks a node and says what is wrong."""

    def checked(inventory: Path, report: Reporter) -> list[str]:
        from binder_node.smoke.run import run
        from binder_node.smoke.told import Told

        found = run(
            inventory.stem,
            str(inventory),
            Told(report, "rotate"),
            deep=deep,
            pins=pins,
            repository=repository,
            push_to=push_to,
        )
        bad = [one for one in found.results if one.outcome not in ("ok", "skipped", "blocked")]
        return [f"{one.check.id}: {one.reason} -> {one.remedy}" for one in bad]

    return checked


def _show(pair: Pair, found: Timeline | None, output: Output, document: Callable[..., None]) -> None:
    """The timeline, for people or machines; nothing of a rotation that has no old node any more."""
    from binder_node.cli.output import say, table
    from binder_node.rotation.timeline import span

    if found is None:
        return
    if output is not Output.text:
        costs = {"likely": found.cost(), "most": found.cost(most=True)}
        bill = found.new.offer.currency if found.new else ""
        told = [
            {"step": p.step.value, "what": p.what, "likely": p.likely, "most": _finite(p.most)} for p in found.phases
        ]
        document({"old": pair.old.stem, "new": pair.new.stem, "phases": told, "cost": costs, "currency": bill}, output)
        return
    rows = [[phase.what, span(phase.likely), span(phase.most)] for phase in found.phases]
    table("", ["step", "likely", "at most"], [*rows, ["in all", span(found.likely), span(found.most)]])
    likely, most = found.cost(), found.cost(most=True)
    if likely is None or found.new is None or found.old is None:
        say("what both machines cost for that time is not known: see `binder-node cost`")
        return
    currency = found.new.offer.currency
    say(
        f"a month without VAT: {pair.old.stem} {found.old.fixed} {currency}, {pair.new.stem} {found.new.fixed} "
        f"{currency}; both side by side: {likely} {currency} more, {most} at most"
    )


def _finite(seconds: float) -> float | None:
    """JSON has no infinity."""
    return None if seconds == float("inf") else seconds
