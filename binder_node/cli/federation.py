"""``federation``: the group of the commands about membership, each in a module of its own."""

from __future__ import annotations

import typer

from binder_node.cli import federation_check, federation_entry, federation_simulate, federation_weight

app = typer.Typer(no_args_is_help=True)
for module in (federation_check, federation_simulate, federation_entry, federation_weight):
    for command in module.app.registered_commands:
        app.registered_commands.append(command)
