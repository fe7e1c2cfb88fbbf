"""``pins outdated|update``: newer versions of what is pinned. Typer and the standard library only at import time."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from binder_node.cli.federation_check import PRIME
from binder_node.cli.options import Output, OutputOption, PinsOption
from binder_node.cli.upgrade import CHANNELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from binder_node.lifecycle.offering import Offers
    from binder_node.lifecycle.vendors import Places
    from binder_node.upgrades.numbers import Step

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
GITHUB, QUAY = "https://api.github.com", "https://quay.io"


class Within(StrEnum):
    """How far a version may go."""

    patch = "patch"
    minor = "minor"


ComponentsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[COMPONENT]...",
        help="k3s, buildkit, registry, chart, build-image, ... or a pin's name. Default: all.",
        show_default=False,
    ),
]
WithinOption = Annotated[
    Within | None,
    typer.Option(
        "--within",
        metavar="patch|minor",
        help="Only patch releases, or minor ones as well. Default: minor; K3s patch. Never a major one.",
        show_default=False,
    ),
]
PrimeOption = Annotated[
    str,
    typer.Option(
        "--prime",
        metavar="URL",
        help="The BinderHub whose chart and build image count, whatever is newer. Empty: nobody's.",
    ),
]
GitHubOption = Annotated[str, typer.Option("--github", metavar="URL", help="GitHub's API.")]
ChannelsOption = Annotated[str, typer.Option("--channels", metavar="URL", help="K3s's list of channels.")]
QuayOption = Annotated[str, typer.Option("--quay", metavar="URL", help="Quay, for tags of the build image.")]
MarkdownOption = Annotated[
    Path | None,
    typer.Option(
        "--markdown",
        metavar="FILE",
        help="Also write there, in Markdown, what changes and where its release notes are.",
        show_default=False,
    ),
]


@app.command(
    epilog="Examples:  binder-node pins outdated   ·   binder-node pins outdated k3s --within minor   ·   "
    "binder-node pins outdated -o json | jq '.components[] | select(.state == \"behind\")'",
)
def outdated(
    components: ComponentsArgument = None,
    within: WithinOption = None,
    prime: PrimeOption = PRIME,
    github: GitHubOption = GITHUB,
    channels: ChannelsOption = CHANNELS,
    quay: QuayOption = QUAY,
    output: OutputOption = Output.text,
    pins: PinsOption = None,
) -> None:
    """Show which pinned versions have newer ones, with their release notes and the change of the pins file.

    Writes nothing. Exits with 1 when something is behind, or when a feed did not answer. GITHUB_TOKEN, if it is set,
    is sent to GitHub's API: without it, that takes 60 requests an hour.
    """
    from binder_node.cli.output import document
    from binder_node.cli.run import errors

    with errors():
        offers = _offers(components, within, _places(prime, github, channels, quay), pins, output, change=False)
        if output is Output.text:
            _show(offers, written=False)
        else:
            document(_plain(offers), output)
        if offers.behind or offers.unknown:
            raise typer.Exit(1)


@app.command(
    epilog="Examples:  binder-node pins update   ·   binder-node pins update k3s registry --within patch   ·   "
    "binder-node pins update --markdown change.md",
)
def update(
    components: ComponentsArgument = None,
    within: WithinOption = None,
    markdown: MarkdownOption = None,
    prime: PrimeOption = PRIME,
    github: GitHubOption = GITHUB,
    channels: ChannelsOption = CHANNELS,
    quay: QuayOption = QUAY,
    output: OutputOption = Output.text,
    pins: PinsOption = None,
) -> None:
    """Write newer versions into the pins file, with the vendors' digests.

    That is --pins FILE, or in a checkout the built-in one. Never an older version; comments and all that is not meant
    stay. No node is touched: `upgrade` does that. Exits with 1 when a feed did not answer; the others are written.
    """
    from binder_node.cli.output import document
    from binder_node.cli.run import errors
    from binder_node.lifecycle import offering

    with errors():
        offers = _offers(components, within, _places(prime, github, channels, quay), pins, output, change=True)
        if offers.diff:
            offering.write(offers)
        if markdown is not None:
            from binder_node.upgrades.words import markdown as described

            markdown.write_text(described(offers.rows, offers.file.name), encoding="utf-8")
        if output is Output.text:
            _show(offers, written=True)
        else:
            document({**_plain(offers), "written": bool(offers.diff)}, output)
        if offers.unknown:
            raise typer.Exit(1)


def _places(prime: str, github: str, channels: str, quay: str) -> Places:
    import os

    from binder_node.lifecycle.vendors import Places
    from binder_node.secrets.masked import Masked

    token = os.environ.get("GITHUB_TOKEN", "").strip()
    return Places(prime.rstrip("/"), github, channels, quay, Masked(token) if token else None)


def _offers(
    components: Sequence[str] | None,
    within: Within | None,
    places: Places,
    pins: Path | None,
    output: Output,
    *,
    change: bool,
) -> Offers:
    from binder_node.artifacts.pins import BUILT_IN, load_pins
    from binder_node.cli.output import reporting
    from binder_node.events import silent
    from binder_node.lifecycle import offering

    found = load_pins(pins)
    file = offering.target(found) if change else found.overlay or BUILT_IN
    most: Step | None = None if within is None else "patch" if within is Within.patch else "minor"
    with reporting(Output.text) as told:
        report = told if output is Output.text else silent
        return offering.propose(found, components or (), most, places, report, file)


def _plain(offers: Offers) -> dict[str, Any]:
    return {
        "file": str(offers.file),
        "behind": offers.behind,
        "unknown": offers.unknown,
        "components": offers.rows,
        "diff": offers.diff,
    }


def _show(offers: Offers, *, written: bool) -> None:
    from binder_node.cli.output import diff, say, table
    from binder_node.upgrades.words import STATES, sentence, short

    rows = [[row.name, short(row.pinned), short(row.offered), STATES[row.state]] for row in offers.rows]
    table("", ["component", "pinned", "offered", "state"], rows)
    for row in offers.rows:
        for note in row.notes:
            say(f"{row.name} {short(note.version)}: {note.url}")
        if row.why and row.state != "unknown":  # that was told as it happened
            say(f"{row.name}: {row.why}")
    if offers.diff:
        diff(offers.diff)
    say(sentence(offers.rows, str(offers.file), written=written and bool(offers.diff)))
