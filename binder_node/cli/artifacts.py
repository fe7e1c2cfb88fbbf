"""``artifacts list|fetch|build|bundle|verify``. Typer and the standard library only at import time."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from binder_node.cli.options import BundleOption, Output, OutputOption, PinsOption, SourceOption

if TYPE_CHECKING:
    from binder_node.artifacts.model import Artifact
    from binder_node.artifacts.store import Store

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")


class Arch(StrEnum):
    """The node's processor."""

    amd64 = "amd64"
    arm64 = "arm64"


def complete_pin(incomplete: str) -> list[str]:
    """Names in the built-in pins, for shell completion."""
    from binder_node.artifacts.pins import load_pins

    return [name for name in load_pins().entries if name.startswith(incomplete)]


NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME]...",
        help="Names of artifacts. Default: all that a node and its operator need.",
        autocompletion=complete_pin,
        show_default=False,
    ),
]
ArchOption = Annotated[Arch, typer.Option("--arch", help="The node's processor.")]


def _store(pins: Path | None, source: str, bundle: Path | None, arch: Arch) -> Store:
    from binder_node.artifacts.cache import Cache
    from binder_node.artifacts.pins import load_pins
    from binder_node.artifacts.store import Store
    from binder_node.lifecycle import opened

    return Store(Cache(), load_pins(pins), opened.sources(source, bundle), arch.value)


def _chosen(store: Store, names: list[str] | None) -> list[str]:
    return names or list(store.pins.needed("node", "operator"))


@app.command(
    name="list",
    epilog="Examples:  binder-node artifacts list   ·   binder-node artifacts list k3s -o json | jq '.[].source'",
)
def list_(
    names: NamesArgument = None,
    output: OutputOption = Output.text,
    pins: PinsOption = None,
    source: SourceOption = "",
    bundle: BundleOption = None,
    arch: ArchOption = Arch.amd64,
) -> None:
    """Show what is pinned, where it would come from, and whether it is in the cache. Fetches nothing."""
    from binder_node.cli.output import document, table
    from binder_node.cli.run import errors

    with errors():
        store = _store(pins, source, bundle, arch)
        rows = store.describe(names or list(store.pins.entries))
        if output is not Output.text:
            document(rows, output)
            return
        columns = ["name", "version", "needed by", "from", "cached", "MB"]
        table("", columns, [_row(row) for row in rows])


def _row(row: Mapping[str, Any]) -> list[str]:
    size = f"{row['size'] / 1e6:.1f}" if row["cached"] else ""
    return [row["name"], row["version"], row["needed"], row["source"] or "nowhere", _yes(row["cached"]), size]


def _yes(value: bool) -> str:
    return "yes" if value else "no"


@app.command(
    epilog="Examples:  binder-node artifacts fetch   ·   binder-node artifacts fetch k3s helm --source release,module"
)
def fetch(
    names: NamesArgument = None,
    output: OutputOption = Output.text,
    pins: PinsOption = None,
    source: SourceOption = "",
    bundle: BundleOption = None,
    arch: ArchOption = Arch.amd64,
) -> None:
    """Get everything a node is made of into the cache, each file under its digest. A download cut off is resumed.

    With -o json one event a line is written to stdout while it runs; the last one carries the artifacts.
    """
    from binder_node.cli.run import errors

    with errors():
        store = _store(pins, source, bundle, arch)
        _ensure(store, _chosen(store, names), output)


@app.command(
    epilog="Examples:  binder-node artifacts build registry   ·   binder-node artifacts build --arch arm64",
)
def build(
    names: NamesArgument = None,
    output: OutputOption = Output.text,
    pins: PinsOption = None,
    arch: ArchOption = Arch.amd64,
) -> None:
    """Build what is written in Go from its module, into the cache: a build of the same pin is not made twice.

    Without names: everything that has a module. Needs the `go` command.
    """
    from binder_node.cli.run import errors

    with errors():
        store = _store(pins, "module", None, arch)
        default = [name for name in _chosen(store, None) if store.pins.entries[name].module is not None]
        _ensure(store, names or default, output)


def _ensure(store: Store, names: list[str], output: Output) -> None:
    from binder_node.cli.output import reporting
    from binder_node.events import Event

    with reporting(output) as report:
        made = store.ensure(names, report)
        if output is not Output.text:
            report(Event("done", "artifacts", _sentence(made, store), {"artifacts": _plain(made)}))
    if output is Output.text:
        _show(made, _sentence(made, store))


def _sentence(made: Mapping[str, Artifact], store: Store) -> str:
    megabytes = sum(artifact.size for artifact in made.values()) / 1e6
    return f"{len(made)} artifacts, {megabytes:.0f} MB, in {store.cache.root}"


def _plain(made: Mapping[str, Artifact]) -> list[dict[str, Any]]:
    from dataclasses import asdict

    return [{**asdict(artifact), "path": str(artifact.path)} for artifact in made.values()]


def _show(made: Mapping[str, Artifact], sentence: str) -> None:
    from binder_node.cli.output import say, table

    rows = [[a.name, a.version, a.sha256[:16], f"{a.size / 1e6:.1f}"] for a in made.values()]
    table("", ["name", "version", "sha256", "MB"], rows)
    say(sentence)


@app.command(
    epilog="Examples:  binder-node artifacts bundle /media/usb   ·   binder-node up bids --bundle /media/usb",
)
def bundle(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder to write; made when missing.", show_default=False)
    ],
    names: NamesArgument = None,
    output: OutputOption = Output.text,
    pins: PinsOption = None,
    source: SourceOption = "",
    arch: ArchOption = Arch.amd64,
) -> None:
    """Write everything into one folder, with digests, for an operator's machine that has no internet."""
    from binder_node.cli.output import reporting
    from binder_node.cli.run import errors
    from binder_node.events import Event

    with errors():
        store = _store(pins, source, None, arch)
        with reporting(output) as report:
            made = store.bundle(_chosen(store, names), folder, report)
            megabytes = sum(artifact.size for artifact in made.values()) / 1e6
            sentence = f"{folder}: {len(made)} artifacts, {megabytes:.0f} MB; use it by --bundle {folder}"
            if output is not Output.text:
                data = {"folder": str(folder), "artifacts": _plain(made)}
                report(Event("done", "artifacts", sentence, data))
        if output is Output.text:
            _show(made, sentence)


@app.command(
    epilog="Examples:  binder-node artifacts verify   ·   binder-node artifacts verify -o json",
)
def verify(output: OutputOption = Output.text) -> None:
    """Hash every file in the cache. A damaged one is removed (the next command makes it anew); exits with 1 then."""
    from binder_node.artifacts.cache import Cache
    from binder_node.cli.output import document, say
    from binder_node.cli.run import errors

    with errors():
        cache = Cache()
        checked = []
        for seen in cache.verify():
            checked.append(seen)
            if output is Output.text:
                say(f"{'ok     ' if seen.good else 'damaged'} {seen.sha256[:16]} {seen.path.name}")
        bad = [seen for seen in checked if not seen.good]
        if output is Output.text:
            removed = f", {len(bad)} damaged and removed: the next command makes them anew" if bad else ", all good"
            say(f"{cache.root}: {len(checked)} files, {sum(s.size for s in checked) / 1e6:.0f} MB{removed}")
        else:
            document({"cache": str(cache.root), "ok": not bad, "files": checked}, output)
        if bad:
            raise typer.Exit(1)
