"""Sizes as operators and Kubernetes write them: ``450M``, ``2Gi``, ``192G``."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

# Kubernetes' suffixes (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/),
# those of whole bytes only.
UNITS: dict[str, int] = {
    "Ti": 2**40, "Gi": 2**30, "Mi": 2**20, "Ki": 2**10,
    "T": 10**12, "G": 10**9, "M": 10**6, "k": 10**3,
}  # fmt: skip
FORM = re.compile(rf"([0-9]+(?:\.[0-9]+)?)({'|'.join(UNITS)})?", re.ASCII)
ASK = "a number with a unit, like 450M, 2Gi or 192G"


class Quantity(int):
    """A number of bytes that remembers how it was written, for messages and Kubernetes' own manifests.

    JupyterHub's settings read ``450M`` as 450 x 1024 x 1024 and refuse ``450Mi``: give them ``int(quantity)``.

    >>> Quantity("450M") == 450_000_000, str(Quantity("450M"))
    (True, '450M')
    """

    text: str

    def __new__(cls, value: int | str) -> Quantity:
        if isinstance(value, Quantity):
            return value
        made = super().__new__(cls, _bytes(value) if isinstance(value, str) else value)
        made.text = value if isinstance(value, str) else shortest(value)
        return made

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Quantity({self.text!r})"

    def __reduce__(self) -> tuple[type[Quantity], tuple[str]]:
        return (Quantity, (self.text,))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        del source, handler
        return core_schema.no_info_plain_validator_function(
            cls._validate, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        del schema, handler
        return {"type": ["string", "integer"]}

    @classmethod
    def _validate(cls, value: object) -> Quantity:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ValueError(f"is not a size; write {ASK}")
        made = cls(value)
        if made <= 0:
            raise ValueError(f"must be more than nothing; write {ASK}")
        return made


def _bytes(text: str) -> int:
    match = FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a size; write {ASK}")
    number, unit = match.groups()
    return int(Decimal(number) * UNITS.get(unit, 1))


def shortest(value: int) -> str:
    """The shortest exact decimal form: ``2000000000`` -> ``2G``."""
    for unit in ("T", "G", "M", "k"):
        if value and value % UNITS[unit] == 0:
            return f"{value // UNITS[unit]}{unit}"
    return str(value)
