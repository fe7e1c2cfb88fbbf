"""Pydantic's errors as sentences for the operator: where, what is wrong, what would be right."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from binder_node.errors import Problem
from binder_node.spec.keys import Key, Section, choices, dotted, expected, required, sections, submodel
from binder_node.spec.model import Spec
from binder_node.spec.source import Source


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the model an error's ``loc`` points, without union tags; ``model`` is the section that holds it."""

    key: Key
    model: type[BaseModel] | None
    kind: Any
    metadata: tuple[Any, ...] = ()


def place(loc: tuple[str | int, ...]) -> Place:
    """Follow pydantic's ``loc`` through the model, dropping the tags that it puts in for a choice of models."""
    key: list[str | int] = []
    holder: type[BaseModel] | None = None
    model: type[BaseModel] | None = Spec
    kind: Any = None
    metadata: tuple[Any, ...] = ()
    parts = [part for part in loc if part != "[key]"]
    at_key = len(parts) < len(loc)
    while parts:
        part = parts.pop(0)
        key.append(part)
        holder = model
        field = model.model_fields.get(str(part)) if model is not None else None
        if field is None:
            model, kind, metadata = None, _inside(kind, at_key), ()
            continue
        kind, metadata = field.annotation, tuple(field.metadata)
        options = choices(field)
        model = options[str(parts.pop(0))] if options and parts else submodel(field)
    return Place(tuple(key), holder, kind, metadata)


def _inside(kind: Any, at_key: bool) -> Any:
    """The type of a list's items, of a mapping's values, or of its keys."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is tuple:
        return arguments[0]
    if origin is dict:
        return arguments[0 if at_key else 1]
    return None


def sentences(errors: Iterable[ErrorDetails], source: Source) -> Iterator[Problem]:
    """One problem for each of pydantic's ``errors``."""
    found = [(error, place(error["loc"])) for error in errors]
    meant = {
        (*where.key[:-1], nearest(str(where.key[-1]), where.model.model_fields))
        for error, where in found
        if error["type"] == "extra_forbidden" and where.model is not None
    }
    for error, where in found:
        if error["type"] == "missing" and where.key in meant:
            continue  # it is there, under a wrong name, and that is said
        wrong, right = _sentence(error, where)
        yield source.problem(where.key, wrong, right)


def _sentence(error: ErrorDetails, where: Place) -> tuple[str, str]:
    match error["type"]:
        case "missing":
            return "is missing", f"write {_example(where)}"
        case "extra_forbidden":
            return _unknown(where)
        case "union_tag_not_found" | "union_tag_invalid":
            return _tag(error, where)
        case "string_pattern_mismatch":
            wrong = f"{_shown(error['input'])} is not allowed"
        case "greater_than" | "greater_than_equal":
            wrong = f"{_shown(error['input'])} is too small"
        case "less_than" | "less_than_equal":
            wrong = f"{_shown(error['input'])} is too large"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"{_shown(error['input'])} is not a section", _keys(where) or f"write {_expects(where)}"
        case "value_error":
            wrong = _value(error)
        case _ if error["input"] is None:
            return "has no value", f"write {_expects(where)}, or remove the line for the default"
        case "int_type" | "float_type" if isinstance(error["input"], str):
            wrong = f"{_shown(error['input'])} is a text"
        case _:
            wrong = f"{_shown(error['input'])} is not allowed here"
    return wrong, f"write {_expects(where)}"


def _value(error: ErrorDetails) -> str:
    """What a validator of ours or of ``ipaddress`` had to say, without its advice: the model words that."""
    cause = error.get("ctx", {}).get("error")
    text = str(cause) if cause is not None else error["msg"]
    said = text.partition(";")[0]
    return said if said.startswith(_shown(error["input"])) else f"{_shown(error['input'])}: {said}"


def _shown(value: Any) -> str:
    """A value as it stands in YAML, shortened."""
    if isinstance(value, str):
        text = repr(value)
    elif isinstance(value, dict):
        return "a mapping"
    elif isinstance(value, list):
        return "a list"
    else:
        text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _expects(where: Place) -> str:
    return expected(where.kind, where.metadata)


def _example(where: Place) -> str:
    name = str(where.key[-1])
    field = where.model.model_fields.get(name) if where.model is not None else None
    if field is None:
        return f"`{name}:`"
    if field.examples:
        return f"`{name}: {field.examples[0]}`"
    options = choices(field)
    inner = submodel(field)
    if options:
        example = required(next(iter(options.values())))
    elif inner is not None:
        example = required(inner)
    else:
        return f"`{name}:` with {expected(field.annotation, field.metadata)}"
    return f"`{name}: {{{', '.join(f'{key}: {value}' for key, value in example.items())}}}`"


def _keys(where: Place) -> str:
    field = where.model.model_fields.get(str(where.key[-1])) if where.model is not None else None
    inner = submodel(field) if field is not None else None
    return f"write a mapping with some of: {', '.join(inner.model_fields)}" if inner is not None else ""


def _tag(error: ErrorDetails, where: Place) -> tuple[str, str]:
    field = where.model.model_fields[str(where.key[-1])] if where.model is not None else None
    name, allowed = (field.discriminator, list(choices(field))) if field is not None else ("kind", [])
    given = error.get("ctx", {}).get("tag")
    if given is None:
        return f"has no {name}", f"write `{name}:` with one of: {', '.join(allowed)}"
    near = nearest(str(given), allowed)
    right = f"did you mean {near}? It can be: {', '.join(allowed)}" if near else f"write one of: {', '.join(allowed)}"
    return f"{name} {_shown(given)} is unknown", right


def folded(name: str) -> str:
    """``imageGcHigh``, ``image-gc-high`` and ``image_gc_high`` are one."""
    return name.lower().replace("_", "").replace("-", "")


def nearest(name: str, allowed: Iterable[str]) -> str | None:
    """The one of ``allowed`` that ``name`` most likely means, or none."""
    by_form = {folded(key): key for key in allowed}
    close = get_close_matches(folded(name), by_form, n=1, cutoff=0.65)
    return by_form[close[0]] if close else None


def elsewhere(name: str) -> list[str]:
    """Dotted keys of the model whose last part is ``name``, however it is written."""
    return sorted({dotted(key) for key in _every(sections()) if folded(str(key[-1])) == folded(name)})


def _every(members: Iterable[Any]) -> Iterator[Key]:
    for member in members:
        yield member.key
        if isinstance(member, Section):
            yield from _every(member.members)


def _unknown(where: Place) -> tuple[str, str]:
    name = str(where.key[-1])
    allowed = list(where.model.model_fields) if where.model is not None else []
    near = nearest(name, allowed)
    if near is not None and folded(near) == folded(name):
        return "unknown key", f"keys are case-sensitive: this one is written {near}"
    field = Spec.model_fields.get(str(where.key[0]))
    options = choices(field) if field is not None and len(where.key) == 2 else {}
    if field is not None and (tags := [tag for tag, model in options.items() if name in model.model_fields]):
        return "unknown key here", f"it goes with {field.discriminator}: {' or '.join(tags)}"
    if places := elsewhere(name):
        return "unknown key here", f"it belongs at {' or '.join(places)}"
    if near is not None:
        return "unknown key", f"did you mean {near}?"
    return "unknown key", f"this section has: {', '.join(allowed)}"
