"""A secret that prints as ``***``."""

from __future__ import annotations

from hmac import compare_digest
from typing import Any, NoReturn, SupportsIndex

from pydantic import GetCoreSchemaHandler, SerializationInfo
from pydantic_core import CoreSchema, core_schema

MASK = "***"
REVEAL = {"reveal": True}  # context of model_dump, for the store that encrypts what it gets


class Masked:
    """Holds a secret text; only :meth:`reveal` gives it, everything that prints or dumps shows ``***``.

    A model that holds one dumps the mask too, unless it is dumped with ``context=REVEAL``. Pickling raises TypeError.

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
        return isinstance(other, Masked) and compare_digest(other._text.encode(), self._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def __copy__(self) -> Masked:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Masked:
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a secret is not pickled; hand it over by file or stdin")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        del source, handler
        return core_schema.no_info_plain_validator_function(
            cls._validate,
            serialization=core_schema.plain_serializer_function_ser_schema(cls._serialize, info_arg=True),
        )

    @classmethod
    def _validate(cls, value: object) -> Masked:
        if isinstance(value, Masked):
            return value
        if not isinstance(value, str) or not value:
            raise ValueError("must be a text that is not empty")
        return cls(value)

    @staticmethod
    def _serialize(value: Masked, info: SerializationInfo) -> str:
        return value.reveal() if info.context == REVEAL else MASK
