"""Edits of YAML as text: the parser says where things stand, and every byte that is not meant stays as it is. Pure.

An entry is whole lines: it ends with the line of its last value and with the comments below that are indented deeper
than the entry itself. What is put in and then taken out again leaves the text as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from binder_node.errors import InputError, Problem
from binder_node.spec.keys import Key, dotted
from binder_node.spec.source import parse
from binder_node.spec.template import flow


@dataclass(frozen=True, slots=True)
class Text:
    """YAML text and the file it is from, which messages name."""

    text: str
    file: str

    @property
    def newline(self) -> str:
        """As the first line ends."""
        return "\r\n" if "\r\n" in self.text[: self.text.find("\n") + 1] else "\n"

    def root(self) -> Node:
        """Raises InputError where the text is no YAML, or has a key twice."""
        return _composed(self.text, self.file)

    def problem(self, index: int, key: Key, wrong: str, right: str) -> InputError:
        """An error at the line of character ``index``."""
        return InputError(Problem(self.file, self.text.count("\n", 0, index) + 1, dotted(key), wrong, right))

    def with_text(self, text: str) -> Text:
        return Text(text, self.file)


# Plain words that YAML 1.1, which Helm reads, takes for something else than texts (yaml.org/type/bool.html, null.html).
NOT_TEXTS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "~"})


def word(value: bool | float | str) -> str:
    """A value as YAML, in quotes where it would be read as anything else.

    >>> word("lab"), word("no"), word("123"), word(10.0), word(True)
    ('lab', '"no"', '"123"', '10', 'true')
    """
    if isinstance(value, str) and value.casefold() in NOT_TEXTS:
        return f'"{value}"'
    return flow(int(value) if isinstance(value, float) and value.is_integer() else value)


@lru_cache(maxsize=32)
def _composed(text: str, file: str) -> Node:
    try:
        root: Node = YAML(typ="safe", pure=True).compose(text)
    except YAMLError:
        parse(text, Path(file))  # which says it in words
        raise
    if isinstance(root, MappingNode):
        parse(text, Path(file))
    return root


def find(source: Text, key: Key) -> Node | None:
    """The value at ``key``; None where there is none.

    Raises:
        InputError: an alias is on the way: what it stands for stands elsewhere, and would change there as well.
    """
    node = source.root()
    for depth, part in enumerate(key):
        if isinstance(node, MappingNode):
            pair = next(((name, value) for name, value in node.value if name.value == str(part)), None)
            if pair is None:
                return None
            name, value = pair
            if value.start_mark.index < name.start_mark.index:
                wrong = "is an alias of what stands elsewhere"
                raise source.problem(name.start_mark.index, key[: depth + 1], wrong, "write the value out")
            node = value
        elif isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
        else:
            return None
    return node


def scalar(source: Text, key: Key) -> str | None:
    """The text of the plain or quoted value at ``key``; None where there is none. Raises InputError as :func:`find`."""
    node = find(source, key)
    return str(node.value) if isinstance(node, ScalarNode) else None


def replaced(source: Text, key: Key, value: str) -> Text:
    """``value``, as YAML, in the place of the scalar at ``key``.

    Raises:
        InputError: there is no such scalar.
    """
    node = find(source, key)
    if not isinstance(node, ScalarNode):
        start = node.start_mark.index if node is not None else 0
        raise source.problem(start, key, "is no plain value", f"write {key[-1]}: {value}")
    if node.value == value:
        return source
    start, end = node.start_mark.index, node.end_mark.index
    if start == end:  # `key:` and nothing: where it ends is where the next thing begins
        colon = len(source.text[:start].rstrip())
        if source.text[colon - 1] != ":":
            raise source.problem(colon, key, "has no value", f"write {key[-1]}: {value}")
        return source.with_text(f"{source.text[:colon]} {value}{source.text[colon:]}")
    return source.with_text(source.text[:start] + value + source.text[end:])


# --- entries of mappings -------------------------------------------------------------------------------------------


def mapping(source: Text, key: Key) -> MappingNode:
    """The block mapping at ``key``.

    Raises:
        InputError: there is none, or it is written in one line, with braces.
    """
    node = find(source, key)
    if not isinstance(node, MappingNode):
        start = node.start_mark.index if node is not None else 0
        raise source.problem(start, key, "is no mapping", "write one entry a line")
    if node.flow_style:
        raise source.problem(node.start_mark.index, key, "is written with braces", "write one entry a line")
    return node


def put_entry(source: Text, key: Key, lines: Sequence[str]) -> Text:
    """``lines`` as a new last entry of the block mapping at ``key``; they are indented below it as its others are.

    Raises:
        InputError: as :func:`mapping`.
    """
    node = mapping(source, key)
    first = node.value[0][0].start_mark.column
    return _put(source, node.value[-1][1], first, [" " * first + line if line else line for line in lines])


def without_entry(source: Text, key: Key) -> Text:
    """The text without the entry at ``key``, whole lines; as it is where there is none.

    Raises:
        InputError: it is the only entry: a mapping without entries is null, or it is written with braces.
    """
    *above, name = key
    if find(source, key) is None:
        return source
    node = mapping(source, tuple(above))
    if len(node.value) == 1:
        wrong = "is the only entry: without it the mapping is null"
        raise source.problem(node.start_mark.index, key, wrong, "leave it, or take the mapping out by hand")
    at, value = next((at, value) for at, value in node.value if at.value == str(name))
    return _cut(source, _line_start(source.text, at.start_mark.index), _end(source, value, at.start_mark.column))


# --- items of lists ------------------------------------------------------------------------------------------------


def items(source: Text, key: Key) -> list[Node]:
    """The items of the block list at ``key``, none where there is no list.

    Raises:
        InputError: it is written in one line, with brackets.
    """
    node = find(source, key)
    if not isinstance(node, SequenceNode):
        return []
    if node.flow_style:
        raise source.problem(node.start_mark.index, key, "is written with brackets", "write one item a line")
    return list(node.value)


def put_item(source: Text, key: Key, lines: Sequence[str], number: int | None = None) -> Text:
    """``lines`` (the first with its dash) as item ``number`` of the list at ``key``, None: the last; parted from its
    neighbour by as many empty lines as the others are.

    Raises:
        InputError: there is no such block list.
    """
    there = items(source, key)
    if not there:
        raise source.problem(0, key, "is no list with items", "write one item a line")
    indent, apart = _dash(source, there[0]), _apart(source, there)
    rows = [" " * indent + line for line in lines]
    if number != 0:
        return _put(source, there[-1 if number is None else number - 1], indent, [""] * apart + rows)
    start = _line_start(source.text, there[0].start_mark.index)
    block = source.newline.join([*rows, *[""] * apart])
    return source.with_text(f"{source.text[:start]}{block}{source.newline}{source.text[start:]}")


def without_item(source: Text, key: Key, number: int) -> Text:
    """The text without an item of the list at ``key``, and without the empty lines that part it from its neighbour.

    Raises:
        InputError: it is the only one.
    """
    there = items(source, key)
    if len(there) == 1:
        start = there[0].start_mark.index
        raise source.problem(start, key, "would have no item left", "take the list out by hand")
    start, end = _item(source, there[number])
    if number > 0:
        start = _before_empty(source, start)
    else:
        while (line := _line_end(source.text, end)) > end and not source.text[end:line].strip():
            end = line
    return _cut(source, start, end)


# --- positions -----------------------------------------------------------------------------------------------------


def _last(node: Node) -> int:
    """The index after a value's last character, without what follows it."""
    flat = not isinstance(node, MappingNode | SequenceNode) or node.flow_style or not node.value
    if flat:
        return int(node.end_mark.index)
    last = node.value[-1]
    return _last(last[1] if isinstance(last, tuple) else last)


def _end(source: Text, node: Node, column: int) -> int:
    """The index of the line after an entry at ``column`` whose last value is ``node``."""
    text = source.text
    last = len(text[: _last(node)].rstrip())  # a block of text has its empty lines inside
    end = _line_end(text, last)
    while (line := _line_end(text, end)) > end:
        row = text[end:line]
        if not row.lstrip().startswith("#") or len(row) - len(row.lstrip()) <= column:
            break
        end = line
    return end


def _item(source: Text, item: Node) -> tuple[int, int]:
    dash = _dash(source, item)
    return _line_start(source.text, item.start_mark.index), _end(source, item, dash)


def _dash(source: Text, item: Node) -> int:
    """The column of an item's dash."""
    start = _line_start(source.text, item.start_mark.index)
    row = source.text[start:]
    return len(row) - len(row.lstrip(" "))


def _apart(source: Text, there: Sequence[Node]) -> int:
    """How many empty lines follow the first item of several."""
    if len(there) < 2:
        return 0
    rows = source.text[_item(source, there[0])[1] :].splitlines()
    return next(number for number, row in enumerate(rows) if row.strip())


def _before_empty(source: Text, start: int) -> int:
    """The start of the empty lines that end at ``start``."""
    text = source.text
    while start > 0:
        above = _line_start(text, start - 1)
        if text[above:start].strip():
            break
        start = above
    return start


def _line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1


def _line_end(text: str, index: int) -> int:
    """The index after the line that ``index`` is in."""
    found = text.find("\n", index)
    return len(text) if found < 0 else found + 1


def _put(source: Text, after: Node, column: int, rows: Sequence[str]) -> Text:
    text, newline = source.text, source.newline
    at = _end(source, after, column)
    block = newline.join(rows)
    if text[:at].endswith("\n"):
        return source.with_text(f"{text[:at]}{block}{newline}{text[at:]}")
    return source.with_text(f"{text[:at]}{newline}{block}")  # a last line without an end stays one


def _cut(source: Text, start: int, end: int) -> Text:
    text = source.text
    if end == len(text) and not text.endswith("\n"):
        start = len(text[:start].removesuffix("\n").removesuffix("\r"))
    return source.with_text(text[:start] + text[end:])
