"""``federation ...``: one module for each part of membership. Typer and the standard library only at import time."""

from __future__ import annotations

import typer

from binder_node.cli import federation_check, federation_entry, federation_simulate, federation_weight

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")

for module in (federation_entry, federation_check, federation_simulate, federation_weight):
    for command in module.app.registered_commands:
        app.registered_commands.append(command)
