"""The next generation's inventory: the present one's text with a few lines changed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from binder_node.errors import InputError, Problem
from binder_node.federation import drain, yamltext
from binder_node.federation.yamltext import Text
from binder_node.spec.keys import Key, dotted

REPLACES: Key = ("replaces",)


@dataclass(frozen=True, slots=True)
class Setting:
    """A key of the inventory and its value as YAML: ``machine.memory=192G``."""

    key: Key
    value: str


def setting(text: str) -> Setting:
    """What ``--set KEY=VALUE`` says.

    >>> setting("provider.types=[ccx63, ccx53]")
    Setting(key=('provider', 'types'), value='[ccx63, ccx53]')

    Raises:
        InputError: there is no key, or no value.
    """
    key, found, value = text.partition("=")
    parts = tuple(key.strip().split("."))
    if not found or not value.strip() or not all(parts):
        right = "write key=value, like machine.memory=192G"
        raise InputError(Problem("", 0, "--set", f"'{text}' is no setting", right))
    return Setting(parts, value.strip())


def next_name(name: str) -> str:
    """The name of the node that comes after ``name``.

    >>> next_name("bids-1"), next_name("bids"), next_name("bids-9")
    ('bids-2', 'bids-2', 'bids-10')
    """
    stem, found, number = name.rpartition("-")
    return f"{stem}-{int(number) + 1}" if found and number.isdigit() else f"{name}-2"


def hub_name(name: str, binder: str) -> str:
    """The hub's name of the node ``name``: its own, since sessions of two generations run side by side.

    >>> hub_name("bids-2", "bids.example.org"), hub_name("large", "bids.example.org")
    ('hub-2.bids.example.org', 'hub-large.bids.example.org')
    """
    number = name.rpartition("-")[2]
    return f"hub-{number if number.isdigit() else name}.{binder}"


def written(text: str, file: str, name: str, to: str, binder: str, settings: Sequence[Setting]) -> str:
    """The inventory of ``to``, which takes the place of ``name``; every other byte of ``text`` stays.

    A quota that a drain has set to 0 is what it was before.

    Raises:
        InputError: a key stands where it cannot be changed as text; says which, and how to write it.
    """
    source = yamltext.replaced(Text(text, file), ("name",), to)
    source = _without(source, REPLACES)
    source = _after(source, ("name",), f"{REPLACES[0]}: {name}")
    for one in (Setting(("names", "hub"), hub_name(to, binder)), *settings):
        source = put(source, one)
    return drain.undrained(source.text, file)


def settled(text: str, file: str) -> str:
    """The inventory of a node that has taken its place: it replaces none any more. Raises InputError."""
    return _without(Text(text, file), REPLACES).text


def put(source: Text, said: Setting) -> Text:
    """``source`` with a setting: in the place of the value that is there, or as a new last key of its section.

    Raises:
        InputError: the value is written over several lines, or there is no section for the key.
    """
    key, value = said.key, said.value
    there = yamltext.find(source, key)
    if there is not None:
        return _over(source, key, value)
    section = yamltext.find(source, key[:-1]) if len(key) > 1 else source.root()
    entry = f"{key[-1]}: {value}"
    if isinstance(section, MappingNode) and section.flow_style:
        end = section.end_mark.index - 1
        before = source.text[:end].rstrip()
        comma = "" if before.endswith(("{", ",")) else ","
        space = "" if before.endswith("{") else " "
        return source.with_text(f"{before}{comma}{space}{entry}{source.text[end:]}")
    if isinstance(section, MappingNode):
        return yamltext.put_entry(source, key[:-1], [entry])
    if section is None and len(key) == 2:
        return yamltext.put_entry(source, (), [f"{key[0]}:", f"  {entry}"])
    wrong = f"{dotted(key[:-1])} is no section of {source.file}"
    raise InputError(Problem("", 0, f"--set {dotted(key)}", wrong, "write it into the new inventory by hand"))


def _over(source: Text, key: Key, value: str) -> Text:
    node = yamltext.find(source, key)
    if isinstance(node, ScalarNode):
        return yamltext.replaced(source, key, value)
    assert isinstance(node, MappingNode | SequenceNode)  # looked at just now
    start, end = node.start_mark.index, node.end_mark.index
    if not node.flow_style:
        raise source.problem(start, key, "is written over several lines", "change it in the new inventory by hand")
    return source.with_text(source.text[:start] + value + source.text[end:])


def _after(source: Text, key: Key, line: str) -> Text:
    """``line`` below the one of ``key``."""
    node = yamltext.find(source, key)
    assert node is not None  # written just now
    end = source.text.find("\n", node.end_mark.index)
    if end < 0:
        return source.with_text(f"{source.text}{source.newline}{line}")
    return source.with_text(f"{source.text[: end + 1]}{line}{source.newline}{source.text[end + 1 :]}")


def _without(source: Text, key: Key) -> Text:
    return yamltext.without_entry(source, key)
