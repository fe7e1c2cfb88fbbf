"""The one place where errors become exit codes and lines, and where tracebacks are let through (``--debug``)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from binder_node.errors import BinderNodeError, InputError

if TYPE_CHECKING:
    from binder_node.lifecycle.trust import Shown

# 128 + SIGINT, as shells report it.
INTERRUPTED = 130


@contextmanager
def errors() -> Iterator[None]:
    """Show a deliberate failure as its own lines and end with its exit code.

    Everything else is a bug of ours and goes on to Typer as a traceback; ``BINDER_NODE_DEBUG`` (``--debug``) lets
    deliberate failures through as tracebacks as well.
    """
    try:
        yield
    except InputError as error:
        if os.environ.get("BINDER_NODE_DEBUG"):
            raise
        # Each line as editors and CI read them: file:line: path.to.key: ...
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(error.exit_code) from None
    except BinderNodeError as error:
        if os.environ.get("BINDER_NODE_DEBUG"):
            raise
        sys.stderr.write(f"{_red('error:')} {error}\n")
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; run the same command again to go on from here\n")
        raise typer.Exit(INTERRUPTED) from None


def _red(text: str) -> str:
    return f"\x1b[31m{text}\x1b[0m" if sys.stderr.isatty() and "NO_COLOR" not in os.environ else text


def confirm_host_key() -> Callable[[Shown], bool] | None:
    """What asks a person at the terminal whether a host key is the machine's; None where there is nobody to ask."""
    return _host_key_is_right if sys.stdin.isatty() and sys.stderr.isatty() else None


def _host_key_is_right(shown: Shown) -> bool:
    from binder_node.hostkeys import described, fingerprint

    key = shown.keys[0]
    sys.stderr.write(
        f"{shown.node}: nobody has confirmed the host key that {shown.address} shows:\n"
        f"  {described(key)}\n"
        "Compare it with what the machine says by another way than this network:\n"
        f"  on its console, in the provider's panel: ssh-keygen -lf /etc/ssh/ssh_host_{_file_of(key)}_key.pub\n"
        "  or in the log of its first boot, after BEGIN SSH HOST KEY FINGERPRINTS\n"
    )
    answer = typer.prompt("Is it the same? Type yes, or the fingerprint that you see there", err=True).strip()
    return answer in ("yes", fingerprint(key))


def _file_of(key: str) -> str:
    """As OpenSSH calls the file of a key's kind."""
    kind = key.split()[0]
    return "ecdsa" if kind.startswith("ecdsa-") else kind.removeprefix("ssh-")


def refuse_unasked(question: str, expected: str, given: str | None) -> None:
    """End here where :func:`confirm` could only say no: before anything is looked at.

    Raises:
        typer.Exit: with code 2, when another name was given, or there is no terminal to ask at.
    """
    if given is not None and given != expected:
        sys.stderr.write(f"error: --yes {given}: this is {expected}; nothing was done\n")
        raise typer.Exit(2)
    if given is None and not (sys.stdin.isatty() and sys.stderr.isatty()):
        sys.stderr.write(f"error: {question} Without a terminal, say --yes {expected}; nothing was done\n")
        raise typer.Exit(2)


def confirm(question: str, expected: str, given: str | None) -> None:
    """Go on only when ``expected`` was given by ``--yes`` or typed at a terminal.

    Raises:
        typer.Exit: with code 2, when there is no terminal to ask at, or something else was answered.
    """
    refuse_unasked(question, expected, given)
    if given == expected:
        return
    answer = typer.prompt(f"{question} Type its name to go on", err=True)
    if answer != expected:
        sys.stderr.write("not the name; nothing was done\n")
        raise typer.Exit(2)
