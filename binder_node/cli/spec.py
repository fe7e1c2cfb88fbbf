"""``init`` and ``check``: inventories. Typer and the standard library only at import time."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from binder_node.cli.options import NodeArgument, Output, OutputOption

if TYPE_CHECKING:
    from binder_node.errors import InputError
    from binder_node.spec.load import Inventory

app = typer.Typer()
PANEL = "Inventories"


class ProviderKind(StrEnum):
    """Where the machine comes from."""

    local = "local"
    ssh = "ssh"
    hetzner = "hetzner"
    openstack = "openstack"


class StorageKind(StrEnum):
    """Where the registry's bucket is."""

    node = "node"
    s3 = "s3"


@app.command(
    rich_help_panel=PANEL,
    epilog="Examples:  binder-node init bids --cpus 24 --memory 192G --disk 960G --binder bids.mybinder.org   ·   "
    "binder-node init bids --provider ssh --address 203.0.113.10 --user ubuntu --data-disk auto   ·   "
    "binder-node init bids --provider hetzner --type ccx63 --cpus 48 --memory 192G --disk 960G",
)
def init(
    name: Annotated[str, typer.Argument(metavar="NODE", help="The new node's name, like bids-1.", show_default=False)],
    provider: Annotated[
        ProviderKind, typer.Option(help="A machine made here, one you have, or one at a cloud.")
    ] = ProviderKind.local,
    folder: Annotated[Path, typer.Option("--dir", help="Where inventories are.")] = Path("inventories"),
    binder: Annotated[str, typer.Option(help="BinderHub's host name. Default: NODE.test", show_default=False)] = "",
    cpus: Annotated[int, typer.Option(help="The machine's cores.")] = 2,
    memory: Annotated[str, typer.Option(help="The machine's RAM.")] = "12G",
    disk: Annotated[str, typer.Option(help="Size of the filesystem for images, caches and databases.")] = "40G",
    address: Annotated[str, typer.Option(help="The machine's address (ssh).", show_default=False)] = "",
    host_key: Annotated[
        str, typer.Option(help="Its public host key, one line (ssh).", metavar="KEY", show_default=False)
    ] = "",
    fingerprint: Annotated[
        str, typer.Option(help="Or that key's fingerprint (ssh).", metavar="SHA256:...", show_default=False)
    ] = "",
    user: Annotated[str, typer.Option(help="Login: root, or one with sudo without a password.")] = "root",
    data_disk: Annotated[
        str, typer.Option(help="An extra disk: auto, or its stable name.", metavar="ID", show_default=False)
    ] = "",
    types: Annotated[
        list[str] | None,
        typer.Option("--type", help="A server type (hetzner). Again for others, best first.", show_default=False),
    ] = None,
    storage: Annotated[StorageKind, typer.Option(help="MinIO on the node, or an S3 endpoint.")] = StorageKind.node,
    endpoint: Annotated[str, typer.Option(help="The endpoint's URL (s3).", show_default=False)] = "",
    bucket: Annotated[str, typer.Option(help="The registry's bucket.", show_default=False)] = "",
) -> None:
    """Write an annotated inventory for a new node, complete with every key and its default."""
    from binder_node.cli.output import say
    from binder_node.cli.run import errors

    given: dict[str, Any] = {
        "name": name,
        "provider": _given(
            kind=provider.value, address=address, host_key=host_key, fingerprint=fingerprint, types=types or []
        ),
        "machine": {"cpus": cpus, "memory": memory, "disk": disk, **_given(data_disk=data_disk)},
        **({"ssh": {"user": user}} if user != "root" else {}),
        "names": {"binder": binder or f"{name}.test"},
        "tls": {"mode": "none"},
        "storage": _given(kind=storage.value, endpoint=endpoint, bucket=bucket),
    }
    with errors():
        from binder_node.spec.create import create

        inventory = create(folder / f"{name}.yaml", given)
    say(f"wrote {inventory.path}")
    _advise(inventory)
    say(f"next: binder-node check {_again(name, inventory.path)}")


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value}


def _again(name: str, path: Path) -> str:
    return name if path == Path("inventories") / f"{name}.yaml" else str(path)


@app.command(
    rich_help_panel=PANEL,
    epilog="Examples:  binder-node check bids   ·   binder-node check inventories/bids.yaml -o json",
)
def check(node: NodeArgument, output: OutputOption = Output.text) -> None:
    """Check an inventory: every mistake at once, with its line; then what follows from the machine's size."""
    from binder_node.cli.output import document, say
    from binder_node.cli.run import errors
    from binder_node.errors import InputError

    with errors():
        from binder_node.spec.load import find, load_inventory, render

        try:
            inventory = load_inventory(find(node))
        except InputError as error:
            if output is not Output.text:
                document(_failure(error), output)
            raise
    if output is not Output.text:
        document({"ok": True, "warnings": _warnings(inventory), **render(inventory)}, output)
        return
    computed = render(inventory)["computed"]
    for key in computed:
        say(f"  {key:<26} {_value(inventory, key)}")
    _advise(inventory)
    say(f"{inventory.source.file}: ok ({len(computed)} values computed)")


def _failure(error: InputError) -> dict[str, Any]:
    return {"ok": False, "problems": list(error.problems)}


def _warnings(inventory: Inventory) -> list[Any]:
    from binder_node.spec.advice import warnings

    return warnings(inventory.spec, inventory.source)


def _advise(inventory: Inventory) -> None:
    from binder_node.cli.output import say

    for problem in _warnings(inventory):
        say(f"warning: {problem}")


def _value(inventory: Inventory, key: str) -> Any:
    value: Any = inventory.spec
    for part in key.split("."):
        value = getattr(value, part)
    return value
