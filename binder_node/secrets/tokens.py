"""API tokens: from the environment, or from a command that the inventory names."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence

from binder_node.errors import InputError, Problem
from binder_node.node import Node
from binder_node.secrets.masked import Masked
from binder_node.spec.model import Spec

VARIABLES = {"hcloud": "HCLOUD_TOKEN"}
COMMAND_SECONDS = 60


def token(where: Node | Spec | str, kind: str, environ: Mapping[str, str] | None = None) -> Masked:
    """The token of ``kind``: from its variable, or printed by the inventory's ``provider.token_command``.

    Raises:
        InputError: there is none, or the command failed.
    """
    spec = where.spec if isinstance(where, Node) else where
    name = spec if isinstance(spec, str) else spec.name
    variable = VARIABLES[kind]
    if given := (os.environ if environ is None else environ).get(variable, "").strip():
        return Masked(given)
    command = () if isinstance(spec, str) else getattr(spec.provider, "token_command", ())
    if command:
        return _printed(name, command)
    right = f"set {variable}, or write provider.token_command"
    raise InputError(Problem("", 0, name, f"there is no API token for {kind}", right))


def _printed(name: str, command: Sequence[str]) -> Masked:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=COMMAND_SECONDS, check=False, text=True
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = f"{command[0]} took longer than {COMMAND_SECONDS} s"
        if isinstance(error, OSError):
            reason = f"{command[0]} cannot be run: {error.strerror}"
        raise InputError(Problem("", 0, f"{name}: provider.token_command", reason, "write another command")) from None
    if done.returncode != 0 or not done.stdout.strip():
        wrong = f"{command[0]} ended with {done.returncode} and printed no token"
        raise InputError(Problem("", 0, f"{name}: provider.token_command", wrong, "try it by hand"))
    return Masked(done.stdout.strip())
