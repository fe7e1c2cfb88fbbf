"""A pins file with pins moved to other versions: what is not meant stays as it is written, comments too. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from binder_node.artifacts.pins import Pin


def rewritten(text: str, entries: Mapping[str, Pin], images: Mapping[str, str]) -> str:
    """``text`` with these pins and images. A table of the file's own is changed key by key; one that it lacks is put
    at its end, wholly, since an overlay's table replaces the built-in one.
    """
    import tomlkit

    document: Any = tomlkit.parse(text)
    for name, pin in entries.items():
        values = pin.model_dump(mode="json", exclude_defaults=True)
        if name in document:
            _change(document[name], values)
        else:
            document[name] = tomlkit.item(values)
    for name, image in images.items():
        if "images" not in document:
            document["images"] = tomlkit.table()
        document["images"][name] = image
    return tomlkit.dumps(document)


def _change(table: Any, values: Mapping[str, Any]) -> None:
    """Make a table say ``values``: what it has besides stays, what is the same is not touched."""
    for key, value in values.items():
        if key in table and isinstance(value, Mapping):
            _change(table[key], value)
        elif key in table and isinstance(value, list):
            _change_list(table[key], value)
        elif key not in table or table[key] != value:
            table[key] = value


def _change_list(array: Any, values: list[Any]) -> None:
    """Item by item where there are as many, so that the array keeps its lines."""
    if len(array) != len(values):
        array.clear()
        array.extend(values)
        return
    for index, value in enumerate(values):
        if array[index] != value:
            array[index] = value
