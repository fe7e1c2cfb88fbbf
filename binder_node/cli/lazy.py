"""Groups of commands that are imported when one of them is asked for: the root's ``--help`` needs their names only."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import typer
from typer.core import TyperGroup


class LazyGroup(TyperGroup):
    """A group whose commands are those of ``app`` in the module of its name beside this one."""

    def loaded(self) -> Mapping[str, Any]:
        """The commands by their names."""
        if not self.commands:
            module = importlib.import_module(f"binder_node.cli.{self.name}")
            self.commands.update(typer.main.get_group(module.app).commands)
        return self.commands

    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        return list(self.loaded())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        del ctx
        return self.loaded().get(cmd_name)
