"""The inventory's reference as Markdown, from the model. ``python -m binder_node.spec.describe`` prints it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from pydantic_core import PydanticUndefined

from binder_node.spec import sizing
from binder_node.spec.keys import Section, Setting, sections
from binder_node.spec.template import flow

INTRODUCTION = """\
# The inventory

<!-- Made by `python -m binder_node.spec.describe`; a test compares. -->

One file a node, `inventories/NODE.yaml`. `binder-node init NODE` writes one with every key and its meaning,
`binder-node check NODE` tells every mistake at once, with its line, and needs no machine.

- An unknown key is an error, and so is a key that stands twice.
- Values are exact: `4` is a number, `"4"` a text. Sizes are texts with a unit: `450M`, `2Gi`, `192G`.
- Paths of files on your own machine are relative to the inventory's folder.
- What is computed follows from `machine` by rules whose sources stand in `binder_node/spec/sizing.py`.
"""


def markdown() -> str:
    """The whole page."""
    lines = [INTRODUCTION]
    top = [member for member in sections() if isinstance(member, Setting)]
    lines += ["## The top", "", *_table(top)]
    for member in sections():
        if isinstance(member, Section):
            lines += _section(member)
    return "\n".join(lines).rstrip() + "\n"


def _section(section: Section) -> Iterator[str]:
    path = ".".join(section.key)
    title = f"`{path}` with `{section.tag[0]}: {section.tag[1]}`" if section.tag else f"`{path}`"
    yield from ("", f"## {title}", "", section.description, "")
    yield from _table(member for member in section.members if isinstance(member, Setting))
    for member in section.members:
        if isinstance(member, Section):
            yield from _section(member)


def _table(settings: Iterable[Setting]) -> Iterator[str]:
    yield "| Key | Value | Default | Meaning |"
    yield "|---|---|---|---|"
    for setting in settings:
        cells = (f"`{setting.key[-1]}`", setting.expects, default(setting), setting.description)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def default(setting: Setting) -> str:
    """What holds when the key is not there, for a reader."""
    if (rule := sizing.RULES.get(setting.path)) is not None:
        return rule
    if setting.default is PydanticUndefined:
        return "required"
    return "none" if setting.default in (None, (), "", {}) else f"`{flow(setting.default)}`"


__all__ = ["default", "markdown"]

if __name__ == "__main__":
    sys.stdout.write(markdown())
