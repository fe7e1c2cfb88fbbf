"""Commands that are imported when one of them is asked for: the root's ``--help`` needs their names only."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


def commands_of(module: str) -> Mapping[str, Any]:
    """The commands of ``app`` in a module beside this one, by their names."""
    found: Mapping[str, Any] = typer.main.get_group(importlib.import_module(f"binder_node.cli.{module}").app).commands
    return found


class LazyGroup(TyperGroup):
    """A group whose commands are those of ``app`` in the module of its name beside this one."""

    def loaded(self) -> Mapping[str, Any]:
        """The commands by their names."""
        if not self.commands:
            self.commands.update(commands_of(str(self.name)))
        return self.commands

    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        return list(self.loaded())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        del ctx
        return self.loaded().get(cmd_name)


class LazyCommand(TyperCommand):
    """A command's line in the root's ``--help``: the context in which it runs, or completes, is the command's own."""

    module: str

    def loaded(self) -> Any:
        """The command."""
        return commands_of(self.module)[str(self.name)]

    def make_context(self, *args: Any, **more: Any) -> Any:
        return self.loaded().make_context(*args, **more)


def lazy(module: str) -> type[LazyCommand]:
    """The class of the commands that a module beside this one has."""
    return type("LazyCommand", (LazyCommand,), {"module": module})


def nothing() -> None:
    """What stands for a lazy command's function; it is never called."""
