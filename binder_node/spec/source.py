"""An inventory as it was written: its data, and the line of every key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from binder_node.errors import InputError, Problem
from binder_node.spec.keys import Key, dotted


@dataclass(frozen=True, slots=True)
class Source:
    """``data`` in plain Python types; ``lines``: each key's line, 1-based; ``file`` as it was asked for."""

    file: str
    data: dict[str, Any]
    lines: Mapping[Key, int]

    def line(self, key: Key) -> int:
        """The line of ``key``, or of the nearest thing above it that the file has."""
        while key and key not in self.lines:
            key = key[:-1]
        return self.lines.get(key, 1)

    def problem(self, key: Key, wrong: str, right: str, *against: Key) -> Problem:
        """A problem at ``key``; its line is that of the first of ``key`` and ``against`` that the file has."""
        line = next((self.lines[one] for one in (key, *against) if one in self.lines), self.line(key))
        return Problem(self.file, line, dotted(key), wrong, right)


def read(path: Path) -> Source:
    """Read the YAML file at ``path``.

    Raises InputError with every problem of the text itself: not to be read, not UTF-8, no YAML, keys that stand
    twice, an alias inside of itself, no mapping.
    """
    file = str(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        wanted = f"make it with `binder-node init {path.stem}`, or name another file"
        raise InputError(Problem(file, 0, "", "there is no such file", wanted)) from None
    except UnicodeDecodeError as error:
        wrong = f"byte {error.start} is not UTF-8"
        raise InputError(Problem(file, 0, "", wrong, "save the file as UTF-8 text")) from None
    except OSError as error:
        raise InputError(Problem(file, 0, "", f"cannot be read: {error.strerror}", "name a readable file")) from None
    return parse(text, path)


def parse(text: str, path: Path) -> Source:
    """As :func:`read`, for the text that stands in ``path``, or would."""
    file = str(path)
    root = None
    try:
        root = YAML(typ="safe", pure=True).compose(text)
        found = list(_problems(file, root, (), ())) if root is not None else []
        if found:
            raise InputError(*sorted(found))
        data = YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        raise InputError(_syntax(file, text, error)) from None
    except YAMLError as error:
        raise InputError(Problem(file, 0, "", f"is not YAML: {error}", "remove what YAML forbids")) from None
    except (ValueError, KeyError):
        raise InputError(*_unreadable(file, root)) from None
    except RecursionError:
        raise InputError(Problem(file, 0, "", "is nested too deeply", "an inventory has four levels")) from None
    if data is None:
        raise InputError(Problem(file, 1, "", "is empty", f"write one with `binder-node init {path.stem}`"))
    if not isinstance(data, dict):
        raise InputError(Problem(file, 1, "", "is not a mapping", "write `key: value` lines; `name:` comes first"))
    return Source(file, data, dict(_lines(root, ())))


def _syntax(file: str, text: str, error: MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 0
    rows = text.splitlines()
    row = rows[line - 1] if 0 < line <= len(rows) else ""
    if "\t" in row[: len(row) - len(row.lstrip())]:
        return Problem(file, line, "", "the line is indented with a tab", "indent with spaces")
    about = " ".join(str(error.problem or error.context or "cannot be parsed").split())
    return Problem(file, line, "", f"is not YAML: {about}", "check the indentation, quotes and colons around this line")


def _unreadable(file: str, node: Node | None, key: Key = ()) -> list[Problem]:
    """Values that are of a type by their look or tag, but cannot be: ``2024-13-45``."""
    if isinstance(node, SequenceNode):
        children = [((*key, index), item) for index, item in enumerate(node.value)]
    elif isinstance(node, MappingNode):
        children = [((*key, str(name.value)), value) for name, value in node.value]
    elif isinstance(node, ScalarNode):
        try:
            YAML(typ="safe", pure=True).constructor.construct_object(node)
        except (ValueError, KeyError):
            line = node.start_mark.line + 1
            return [Problem(file, line, dotted(key), f"{node.value!r} is no valid value", "put a text in quotes")]
        return []
    else:
        return []
    return [problem for here, child in children for problem in _unreadable(file, child, here)]


def _problems(file: str, node: Node, key: Key, above: tuple[int, ...]) -> Iterator[Problem]:
    if id(node) in above:
        line = node.start_mark.line + 1
        yield Problem(file, line, dotted(key), "is an alias inside of itself", "write the value out")
        return
    above = (*above, id(node))
    if isinstance(node, SequenceNode):
        for index, item in enumerate(node.value):
            yield from _problems(file, item, (*key, index), above)
    elif isinstance(node, MappingNode):
        first: dict[str, int] = {}
        for name, value in node.value:
            line = name.start_mark.line + 1
            if not isinstance(name, ScalarNode):
                yield Problem(file, line, dotted(key), "has a key that is not a text", "write `key: value`")
                continue
            here = (*key, str(name.value))
            if name.value in first:
                wrong = f"stands twice, first on line {first[name.value]}"
                yield Problem(file, line, dotted(here), wrong, "keep one of the two")
            first.setdefault(name.value, line)
            yield from _problems(file, value, here, above)


def _lines(node: Node, key: Key) -> Iterator[tuple[Key, int]]:
    if isinstance(node, SequenceNode):
        for index, item in enumerate(node.value):
            yield (*key, index), item.start_mark.line + 1
            yield from _lines(item, (*key, index))
    elif isinstance(node, MappingNode):
        for name, value in node.value:
            here = (*key, str(name.value))
            yield here, name.start_mark.line + 1
            yield from _lines(value, here)
