"""The host key of a machine that was found, not made: confirmed once by its fingerprint, strict from then on.

What was confirmed is kept in ``known_hosts`` beside the inventories. It is no secret; committed, a colleague's first
connection is as strict as ours, and a change of it is a line in a review.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from binder_node import files, hostkeys, remote
from binder_node.errors import InputError, Problem, StepError
from binder_node.lifecycle.opened import Opened
from binder_node.spec.load import load, load_inventory
from binder_node.spec.model import SshProvider

OPTION = "--host-key-fingerprint"


@dataclass(frozen=True, slots=True)
class Shown:
    """What answers at the address: the node's name, where, and its host keys, the one to compare first."""

    node: str
    address: str
    keys: tuple[str, ...]


def confirmed(opened: Opened, fingerprint: str, ask: Callable[[Shown], bool] | None) -> Opened:
    """The node with a host key that somebody has confirmed; nothing is done where it has one already.

    ``fingerprint`` is what the operator said on the command line (empty: nothing), ``ask`` asks at a terminal (None:
    there is none).

    Raises:
        InputError: the key is not confirmed, or ``fingerprint`` is not the inventory's.
        StepError: nobody answers at the address, or another key than the one that was asked for.
    """
    provider = opened.spec.provider
    if not isinstance(provider, SshProvider):
        if fingerprint:
            wrong = f"a machine of kind {provider.kind} has the host key that binder-node made"
            raise InputError(Problem("", 0, OPTION, wrong, "leave it out"))
        return opened
    wanted = _wanted(opened, provider, fingerprint)
    if provider.host_key is not None and wanted in ("", hostkeys.fingerprint(provider.host_key)):
        return opened
    shown = _shown(opened, provider)
    if wanted:
        key = hostkeys.matching(shown.keys, wanted)
        if key is None:
            answer = " or ".join(map(hostkeys.described, shown.keys))
            reason = f"another host key answers there: {answer}, not {wanted}"
            remedy = "nothing was sent; look at the machine's console, and do not go on: somebody may be in between"
            raise StepError(shown.node, f"connect to {shown.address}", reason, remedy)
    elif ask is None:
        wrong = f"nobody has confirmed the host key that {shown.address} shows: {hostkeys.described(shown.keys[0])}"
        raise InputError(
            _problem(opened, wrong, f"compare it with the machine's console, then say `{OPTION} SHA256:...`")
        )
    elif ask(shown):
        key = shown.keys[0]
    else:
        raise InputError(_problem(opened, "its host key is not confirmed", "nothing was done"))
    _remember(opened, provider, key)
    return replace(opened, spec=load(opened.inventory))


def _wanted(opened: Opened, provider: SshProvider, fingerprint: str) -> str:
    """The fingerprint that the operator asks for, on the command line or in the inventory; empty when in neither."""
    if not fingerprint:
        return provider.fingerprint or ""
    said = {"provider.fingerprint": provider.fingerprint}
    if provider.host_key is not None and ("provider", "host_key") in load_inventory(opened.inventory).given:
        said["provider.host_key"] = hostkeys.fingerprint(provider.host_key)
    for key, other in said.items():
        if other not in (None, fingerprint):
            raise InputError(Problem("", 0, OPTION, f"{key} in the inventory is of {other}", "correct one of the two"))
    return fingerprint


def _shown(opened: Opened, provider: SshProvider) -> Shown:
    name, address, port = opened.spec.name, str(provider.address), opened.spec.ssh.port
    keys = hostkeys.preferred(remote.shown_host_keys(address, port))
    if not keys:
        step = f"ask {address} for its host key"
        raise StepError(name, step, f"nobody answers at port {port}", "is the machine up, and the address right?")
    return Shown(name, address if port == 22 else f"{address} port {port}", tuple(keys))


def _problem(opened: Opened, wrong: str, right: str) -> Problem:
    return Problem(str(opened.inventory), 0, "provider.host_key", wrong, right)


def _file(opened: Opened) -> Path:
    return opened.inventory.absolute().parent / hostkeys.FILE


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.exists() else ""


def _remember(opened: Opened, provider: SshProvider, key: str) -> None:
    file = _file(opened)
    try:
        with files.alone(file.parent):
            text = hostkeys.put(_text(file), opened.spec.name, str(provider.address), opened.spec.ssh.port, key)
            files.replace(file, text.encode(), 0o644)
    except OSError as error:
        remedy = f"make the folder writable, or write provider.host_key into the inventory: {key}"
        raise StepError("here", f"write {file}", error.strerror or str(error), remedy) from None
