"""A new inventory from a few answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from binder_node.errors import InputError, Problem, StepError
from binder_node.spec.keys import choices, required
from binder_node.spec.load import Inventory, checked, computed_for
from binder_node.spec.model import Spec
from binder_node.spec.source import parse
from binder_node.spec.template import annotated


def create(path: Path, given: Mapping[str, Any], header: str = "") -> Inventory:
    """Write an annotated inventory that says ``given`` to ``path``; what a provider or storage needs besides stands
    there as an example, which ``check`` warns of.

    Raises:
        InputError: ``given`` is wrong, or there is such a file already; nothing was written.
        StepError: the file cannot be written.
    """
    said = with_examples(given)
    text = annotated(said, computed_for(said), header)
    try:
        inventory = checked(parse(text, path), path)
    except InputError as error:
        # The lines are of a file that is not there: the keys say enough.
        raise InputError(*(replace(problem, file="", line=0) for problem in error.problems)) from None
    if path.exists():
        right = "choose another name, or edit the file; it was left as it is"
        raise InputError(Problem(str(path), 0, "", "there is such an inventory already", right))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise StepError("here", f"write {path}", error.strerror or str(error), "name another folder: --dir") from None
    return inventory


def with_examples(given: Mapping[str, Any]) -> dict[str, Any]:
    """``given`` with example values where a chosen kind needs more than was said."""
    said = dict(given)
    for name, field in Spec.model_fields.items():
        options = choices(field)
        section = said.get(name)
        tag = section.get(field.discriminator) if isinstance(section, Mapping) else None
        if tag in options:
            said[name] = {**required(options[tag]), **section}  # type: ignore[dict-item]
    return said
