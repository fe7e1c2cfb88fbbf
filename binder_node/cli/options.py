"""Arguments and options that many commands share, so that they read and complete the same everywhere.

Imported by every command module at start: typer and the standard library only.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Output(StrEnum):
    """How a command tells what it found: text for people on stderr and stdout, the others on stdout for machines."""

    text = "text"
    json = "json"
    yaml = "yaml"


def complete_node(incomplete: str) -> list[str]:
    """Names of the inventories in the usual folder, for shell completion."""
    return sorted(path.stem for path in Path("inventories").glob("*.yaml") if path.stem.startswith(incomplete))


NodeArgument = Annotated[
    str,
    typer.Argument(
        metavar="NODE",
        help="A node's name (inventories/NODE.yaml) or the path of an inventory.",
        autocompletion=complete_node,
        show_default=False,
    ),
]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="text for people, json or yaml for machines.")]
PinsOption = Annotated[
    Path | None,
    typer.Option(
        "--pins",
        envvar="BINDER_NODE_PINS",
        metavar="FILE",
        help="A TOML file that replaces or adds pins.",
        show_default=False,
    ),
]
SourceOption = Annotated[
    str,
    typer.Option(
        "--source",
        envvar="BINDER_NODE_SOURCE",
        metavar="NAMES",
        help="Where artifacts come from, best first: release,module,bundle. Default: as the pins say.",
        show_default=False,
    ),
]
FingerprintOption = Annotated[
    str,
    typer.Option(
        "--host-key-fingerprint",
        metavar="SHA256:...",
        help="Confirms the host key of a machine that you have ssh to; remembered in known_hosts.",
        show_default=False,
    ),
]
EraseOption = Annotated[
    str,
    typer.Option(
        "--erase-disk",
        metavar="ID",
        help="Lose all that is on the data disk; ID is machine.data_disk, once more.",
        show_default=False,
    ),
]
BundleOption = Annotated[
    Path | None,
    typer.Option(
        "--bundle",
        envvar="BINDER_NODE_BUNDLE",
        metavar="DIR",
        help="A folder made by `artifacts bundle`.",
        show_default=False,
    ),
]
RestoreOption = Annotated[
    bool, typer.Option("--restore", help="Make a bare machine from the newest backup in the bucket.")
]
RestoreFromOption = Annotated[
    str,
    typer.Option(
        "--restore-from",
        metavar="FILE|NAME",
        help="From this backup: a file that `backup --file` wrote, or a name of `backup --list`.",
        show_default=False,
    ),
]
RepositoryOption = Annotated[
    str,
    typer.Option(
        "--repository",
        metavar="URL",
        envvar="BINDER_NODE_SMOKE_REPOSITORY",
        help="Git repository of which the deep checks build a new branch, as BinderHub clones it.",
    ),
]
PushToOption = Annotated[
    str,
    typer.Option(
        "--push-to",
        metavar="URL",
        envvar="BINDER_NODE_SMOKE_PUSH_TO",
        help="Where that branch is pushed, if by another URL: git@github.com:ORG/NAME.git.",
    ),
]
