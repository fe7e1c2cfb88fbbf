"""What the model allows at each key, in words: shared by error messages, the reference and fresh inventories."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from binder_node.spec.model import Spec
from binder_node.spec.quantity import ASK, Quantity
from binder_node.spec.types import PATTERNS

Key = tuple[str | int, ...]


def dotted(key: Sequence[str | int]) -> str:
    """``("ssh", "admins", 0)`` -> ``ssh.admins[0]``."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else part)
    return text


def choices(field: FieldInfo) -> dict[str, type[BaseModel]]:
    """The models of a discriminated union by their tag, in the model's order; empty for any other field."""
    if not isinstance(field.discriminator, str):
        return {}
    found = {}
    for member in get_args(field.annotation):
        (tag,) = get_args(member.model_fields[field.discriminator].annotation)
        found[tag] = member
    return found


def submodel(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a section; ``None`` for a plain value or a choice of models."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def expected(kind: Any, metadata: Sequence[Any] = ()) -> str:
    """What may be written for a type with pydantic's ``metadata``, as a noun: ``a whole number from 1 to 99``."""
    origin = get_origin(kind)
    if origin is Annotated:
        inner, *more = get_args(kind)
        return expected(inner, more)
    if origin is Literal:
        return " or ".join(str(value) for value in get_args(kind))
    if origin in (Union, UnionType):
        return " or ".join(expected(member, metadata) for member in get_args(kind) if member is not NoneType)
    if origin is tuple:
        return f"a list, each {expected(get_args(kind)[0])}"
    if origin is dict:
        name, value = get_args(kind)
        return f"a mapping of {expected(name)} to {expected(value)}"
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return "{" + ", ".join(f"{name}: {value}" for name, value in required(kind).items()) + "}"
    pattern = _limit(metadata, "pattern")
    if pattern is not None:
        return PATTERNS[pattern]
    if kind is int:
        return f"a whole number{_range(metadata)}"
    if kind is float:
        return f"a number{_range(metadata)}"
    return WORDS[kind]


WORDS: dict[Any, str] = {
    str: "a text",
    bool: "true or false",
    Path: "a path",
    Quantity: ASK,
    IPv4Address: "an IPv4 address, like 203.0.113.10",
    IPv4Network: "an IPv4 network, like 10.42.0.0/16",
}


def _limit(metadata: Sequence[Any], name: str) -> Any:
    for item in metadata:
        if item is not None and getattr(item, name, None) is not None:
            return getattr(item, name)
    return None


def _range(metadata: Sequence[Any]) -> str:
    least, most, above = (_limit(metadata, name) for name in ("ge", "le", "gt"))
    if least is not None and most is not None:
        return f" from {least} to {most}"
    if least is not None:
        return f", {least} or more"
    return f" above {above}" if above is not None else ""


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of the model. ``default`` is :data:`PydanticUndefined` where the operator must say or a rule computes."""

    key: tuple[str, ...]
    expects: str
    description: str
    default: Any
    example: Any

    @property
    def path(self) -> str:
        return ".".join(self.key)


@dataclass(frozen=True, slots=True)
class Section:
    """A mapping of the model; ``tag`` is ``(kind, local)`` for one member of a choice."""

    key: tuple[str, ...]
    description: str
    tag: tuple[str, str] | None
    members: tuple[Setting | Section, ...]


def sections(model: type[BaseModel] = Spec, key: tuple[str, ...] = ()) -> Iterator[Setting | Section]:
    """The model's keys in its order; a choice of models gives one :class:`Section` for each."""
    for name, field in model.model_fields.items():
        here = (*key, name)
        if options := choices(field):
            for tag, member in options.items():
                assert isinstance(field.discriminator, str)
                yield Section(here, _doc(member), (field.discriminator, tag), tuple(sections(member, here)))
        elif (inner := submodel(field)) is not None:
            yield Section(here, _doc(inner), None, tuple(sections(inner, here)))
        else:
            yield Setting(
                here,
                expected(field.annotation, field.metadata),
                field.description or "",
                field.get_default(call_default_factory=True, validated_data={}),
                field.examples[0] if field.examples else None,
            )


def _doc(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def required(model: type[BaseModel]) -> dict[str, Any]:
    """A smallest example of ``model``: its keys that neither a default nor a rule fills, with example values."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if not field.is_required():
            continue
        if field.examples:
            found[name] = field.examples[0]
        elif get_origin(field.annotation) is Literal:
            found[name] = get_args(field.annotation)[0]
    return found


__all__ = [
    "Key",
    "PydanticUndefined",
    "Section",
    "Setting",
    "choices",
    "dotted",
    "expected",
    "required",
    "sections",
    "submodel",
]
