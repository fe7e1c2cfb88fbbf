"""The published OpenAPI document as the judge of every answer."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

VARIABLE = "BINDER_NODE_HETZNER_OPENAPI"
BESIDE = Path(__file__).parents[4] / "shared/data/hetzner/openapi.json"  # ../shared/data, next to the checkout
URN = "urn:hetzner"
# What the API and hcloud 2.27 have, and the document has not (yet).
ADDED = {"server_type_location": {"available": {"type": "boolean"}, "recommended": {"type": "boolean"}}}


def document_path(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Where the document is; None when it is nowhere."""
    path = Path(environ.get(VARIABLE) or BESIDE)
    return path if path.is_file() else None


def modern(schema: Any) -> Any:
    """An OpenAPI 3.0 schema as JSON Schema 2020-12: ``nullable`` becomes a type, and unknown keys are errors.

    The document describes objects whole, so that a key that it does not know is a mistake of the stand-in.
    """
    if isinstance(schema, list):
        return [modern(row) for row in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return {"$ref": URN + schema["$ref"]}
    # `properties` maps names to schemas: a property may be called like a keyword.
    found = {key: modern(value) for key, value in schema.items() if key not in ("nullable", "example", "properties")}
    if "properties" in schema:
        found["properties"] = {name: modern(value) for name, value in schema["properties"].items()}
        found.setdefault("additionalProperties", False)
    if isinstance(found.get("enum"), list) and schema.get("nullable"):
        found["enum"] = [*found["enum"], None]
    return {"anyOf": [found, {"type": "null"}]} if schema.get("nullable") else found


class Contract:
    """Answers and requests against the document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.paths = document["paths"]
        schemas = {name: modern(schema) for name, schema in document["components"]["schemas"].items()}
        for name, more in ADDED.items():
            schemas[name]["properties"] |= more
        whole = {"components": {"schemas": schemas}}
        resource = Resource.from_contents(whole, default_specification=DRAFT202012)
        self.registry: Registry[Any] = Registry().with_resource(URN, resource)
        self._validator = lru_cache(maxsize=None)(self._make)

    @classmethod
    def load(cls, path: Path) -> Contract:
        return cls(json.loads(path.read_text()))

    def _make(self, method: str, path: str, status: str) -> Draft202012Validator | None:
        """The judge of one answer's body; None where the document says that there is none."""
        responses = self.paths[path][method.lower()]["responses"]
        found = responses.get(status) or responses[f"{status[0]}xx"]
        content = found.get("content", {}).get("application/json")
        if content is None:
            return None
        checker = Draft202012Validator.FORMAT_CHECKER
        return Draft202012Validator(modern(content["schema"]), registry=self.registry, format_checker=checker)

    def problems(self, method: str, path: str, status: int, body: Any) -> list[str]:
        """What the document has against an answer; empty when nothing. ``path`` as the document writes it."""
        try:
            validator = self._validator(method, path, str(status))
        except KeyError as error:
            return [f"{method} {path} -> {status}: not in the document ({error})"]
        if validator is None:
            return [] if body is None else [f"{method} {path} -> {status}: has a body"]
        return [
            f"{method} {path} -> {status}: {'.'.join(map(str, error.absolute_path))}: {error.message[:300]}"
            for error in validator.iter_errors(body)
        ]
