"""The inventories of two generations of a node, on the operator's disk: written, found, retired."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from binder_node import files
from binder_node.errors import InputError, Problem, StepError
from binder_node.federation.yamltext import Text, scalar
from binder_node.rotation.pair import drawn
from binder_node.rotation.successor import REPLACES, Setting, settled, written
from binder_node.secrets.document import with_values
from binder_node.secrets.generate import KEYS
from binder_node.secrets.operations import new_values
from binder_node.secrets.recipients import SUFFIX as RECIPIENTS
from binder_node.secrets.store import SecretStore, utc_now
from binder_node.spec.load import SUFFIXES, checked
from binder_node.spec.model import Spec
from binder_node.spec.source import parse

RETIRED = "retired"
# What versions a node has, beside its inventory (`opened.pins_of`, `held_of`).
PINS = (".pins.toml", ".held.toml")


def successor_of(inventory: Path) -> str:
    """The name of the node whose inventory beside this one says that it replaces it; empty where there is none.

    An inventory that cannot be read, or is no YAML, is some other command's to complain of.
    """
    name = inventory.stem
    for file in sorted(inventory.absolute().parent.glob(f"*{SUFFIXES[0]}")):
        if file.stem != name and _replaces(file) == name:
            return file.stem
    return ""


def _replaces(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8")
        # Most say nothing of the kind, and need no parser.
        return (scalar(Text(text, str(file)), REPLACES) or "") if f"{REPLACES[0]}:" in text else ""
    except (OSError, UnicodeDecodeError, InputError):
        return ""


def drafted(inventory: Path, old: Spec, target: Path, settings: Sequence[Setting]) -> tuple[str, Spec]:
    """What the inventory of the next generation would say, in ``target``. Raises InputError where it would be wrong."""
    from binder_node.cluster.tls import certificate

    text = files.text(inventory, "name an inventory")
    new = written(text, str(inventory), old.name, target.stem, old.names.binder, settings)
    try:
        made = checked(parse(new, target), target).spec
    except InputError as error:
        # The lines are of a file that is not there: the keys say enough.
        raise InputError(*(replace(problem, file="", line=0) for problem in error.problems)) from None
    if problems := tuple(drawn(old, made)):
        raise InputError(*problems)
    certificate(made)  # one of the operator's own has to be for the new hub's name too
    return new, made


def write(inventory: Path, old: Spec, to: str, settings: Sequence[Setting]) -> Path:
    """Write the inventory of ``to``, with pins and secrets as the old node has them, beside ``inventory``.

    The secrets are the same values, but for the ssh keys: whoever has the old machine is not let in to the new one.
    The inventory comes last: while it is not there, the next call begins anew.

    Raises:
        InputError: a setting is wrong, or another inventory of that name is there; nothing was written.
        StepError: something cannot be written, or the secrets not be read.
    """
    target = inventory.with_name(f"{to}{inventory.suffix}")
    new, _ = drafted(inventory, old, target, settings)
    if target.exists():
        wrong = "is there, and does not replace this node"
        raise InputError(Problem(str(target), 0, "", wrong, f"write `replaces: {old.name}` into it, or say --to"))
    _copy_secrets(inventory, target)
    for pins in PINS:
        if inventory.with_suffix(pins).exists():
            _put(target.with_suffix(pins), inventory.with_suffix(pins).read_bytes())
    _put(target, new.encode())
    return target


def _copy_secrets(inventory: Path, target: Path) -> None:
    old, new = SecretStore(inventory), SecretStore(target)
    document = old.document()
    if new.file.exists:
        return  # of a run that was killed here, or of an operator who knows why
    listed = old.path.with_name(f"{inventory.stem}{RECIPIENTS}")
    if listed.exists():
        _put(new.path.with_name(f"{target.stem}{RECIPIENTS}"), listed.read_bytes())
    new.file.make_folder()
    made = with_values(replace(document, coming={}), new_values(KEYS), utc_now())
    new.file.write(made, old.recipients_of(document))


def _put(path: Path, content: bytes) -> None:
    try:
        files.replace(path, content, 0o644)
    except OSError as error:
        raise StepError("here", f"write {path}", error.strerror or str(error), "make the folder writable") from None


def retired(inventory: Path) -> Path:
    """Where an inventory is put once its node is gone."""
    return inventory.parent / RETIRED / inventory.name


def retire(inventory: Path) -> None:
    """Move an inventory, its pins and its secrets to folders of their own: no command takes them for a node any more.

    The inventory goes last, so that a run that is killed here comes here again. Raises StepError.
    """
    secrets = SecretStore(inventory).path
    name = inventory.stem
    for file in (
        *(inventory.with_suffix(pins) for pins in PINS),
        secrets.with_name(f"{name}{RECIPIENTS}"),
        secrets.with_name(f"{secrets.name}.old"),
        secrets,
        inventory,
    ):
        _move(file)


def _move(file: Path) -> None:
    if not file.exists():
        return
    folder = file.parent / RETIRED
    try:
        folder.mkdir(mode=file.parent.stat().st_mode & 0o777, exist_ok=True)
        os.replace(file, folder / file.name)
    except OSError as error:
        raise StepError("here", f"move {file} to {folder}", error.strerror or str(error), "do it by hand") from None


def settle(inventory: Path) -> None:
    """Take ``replaces`` out of an inventory. Raises InputError, StepError."""
    text = files.text(inventory, "name an inventory")
    new = settled(text, str(inventory))
    if new != text:
        _put(inventory, new.encode())
