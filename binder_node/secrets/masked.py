"""A secret that prints as ``***``."""

from __future__ import annotations

from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

MASK = "***"


class Masked:
    """Holds a secret text; only :meth:`reveal` gives it, everything that prints shows ``***``.

    >>> token = Masked("hunter2")
    >>> f"{token} {token!r}", token.reveal()
    ('*** ***', 'hunter2')
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The secret itself: for a file, stdin or a request body, never for an argument or a log."""
        return self._text

    def __str__(self) -> str:
        return MASK

    def __repr__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Masked) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        del source, handler
        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, Masked) else Masked(str(value)),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda value: value.reveal()),
        )
