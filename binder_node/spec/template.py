"""An annotated, complete inventory: every key with its meaning, those at their defaults behind a ``#``.

``python -m binder_node.spec.template FILE...`` writes the comments of inventories anew and keeps what they say.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined, to_jsonable_python
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from binder_node.spec import sizing
from binder_node.spec.keys import Section, Setting, sections
from binder_node.spec.model import Spec
from binder_node.spec.quantity import Quantity

WIDTH = 100
HEADER = (
    "`binder-node check {name}` says what is wrong in here, `binder-node up {name}` makes it so.\n"
    'A key behind a "#" stands at its default: remove the "#" (and nothing else) to change it.'
)


def annotated(given: Mapping[str, Any], computed: Mapping[str, Any], header: str = "") -> str:
    """The inventory that says ``given``; ``computed`` are the sizing rules' values for it, shown as defaults.

    ``header`` is the first comment, without ``#``.
    """
    name = str(given.get("name", "NODE"))
    lines = list(_comment(header or HEADER.format(name=name)))
    members = [member for member in sections() if not isinstance(member, Section) or _chosen(member, given)]
    for member in members:
        lines.append("")
        lines += _render(member, given, computed, 0)
        if isinstance(member, Section) and member.tag is not None:
            for other in sections():
                if isinstance(other, Section) and other.key == member.key and other.tag != member.tag:
                    lines += _alternative(other)
    return "\n".join(lines) + "\n"


def _chosen(section: Section, given: Mapping[str, Any]) -> bool:
    if section.tag is None:
        return True
    name, tag = section.tag
    return bool((given.get(section.key[0]) or default_of(section.key[0])).get(name) == tag)


def default_of(name: str) -> dict[str, Any]:
    """What a choice of models is where the inventory does not have it; empty where it must."""
    field = Spec.model_fields[name]
    return {} if field.is_required() else field.get_default(call_default_factory=True).model_dump(mode="json")


def _render(member: Setting | Section, given: Any, computed: Any, depth: int) -> Iterator[str]:
    name = member.key[-1]
    indent = "  " * depth
    said = given.get(name, PydanticUndefined) if isinstance(given, Mapping) else PydanticUndefined
    if isinstance(member, Setting):
        rule = computed.get(name, PydanticUndefined) if isinstance(computed, Mapping) else PydanticUndefined
        yield from _setting(member, said, rule, indent)
        return
    yield from (f"{indent}{line}" for line in _comment(member.description))
    yield f"{indent}{name}:"
    for inner in member.members:
        yield from _render(
            inner,
            {} if said is PydanticUndefined or said is None else said,
            computed.get(name, {}) if isinstance(computed, Mapping) else {},
            depth + 1,
        )


def _setting(setting: Setting, said: Any, rule: Any, indent: str) -> Iterator[str]:
    text = setting.description
    if (computed := sizing.RULES.get(setting.path)) is not None and not computed.isdigit():
        text = f"{text} Default: {computed}."
    yield from (f"{indent}{line}" for line in _comment(text))
    if said is not PydanticUndefined:
        yield f"{indent}{setting.key[-1]}: {flow(said)}"
        return
    value = rule if rule is not PydanticUndefined else setting.default
    yield f"{indent}#{setting.key[-1]}: {flow(value)}"


def _alternative(section: Section) -> Iterator[str]:
    assert section.tag is not None
    name, tag = section.tag
    yield from (f"  {line}" for line in _comment(f"Or {name}: {tag}. {section.description}"))
    for member in section.members:
        if isinstance(member, Setting) and member.key[-1] != name:
            about = member.description or member.expects
            example = f" Like {flow(member.example)}." if member.example is not None else ""
            if member.default is not PydanticUndefined and member.default is not None:
                example = f" Default: {flow(member.default)}."
            yield from (f"  {line}" for line in _comment(f"{member.key[-1]}: {about}{example}", "#   ", "#     "))


def _comment(text: str, first: str = "# ", rest: str = "# ") -> Iterator[str]:
    for paragraph in text.splitlines():
        yield from textwrap.wrap(
            paragraph,
            WIDTH,
            initial_indent=first,
            subsequent_indent=rest,
            break_long_words=False,
            break_on_hyphens=False,
        ) or ["#"]


def flow(value: Any) -> str:
    """``value`` in one line of YAML, with as few quotes as it allows."""
    plain = str(value) if isinstance(value, Quantity) else to_jsonable_python(value)
    if isinstance(plain, Mapping):
        return "{" + ", ".join(f"{flow(key)}: {flow(inner)}" for key, inner in plain.items()) + "}"
    if isinstance(plain, str):
        return plain if _is_plain(plain) else json.dumps(plain, ensure_ascii=False)
    if isinstance(plain, Sequence):
        return "[" + ", ".join(flow(item) for item in plain) + "]"
    return json.dumps(plain)


@lru_cache(maxsize=256)
def _is_plain(text: str) -> bool:
    try:
        return bool(YAML(typ="safe", pure=True).load(f"{{k: [{text}]}}") == {"k": [text]}) and "\n" not in text
    except YAMLError:
        return False


def refreshed(path: Path) -> str:
    """The inventory at ``path`` with its comments written anew; its first comment and what it says stay."""
    from binder_node.spec.load import computed_for
    from binder_node.spec.source import read

    source = read(path)
    rows = path.read_text(encoding="utf-8").splitlines()
    head = rows[: next((index for index, row in enumerate(rows) if not row.startswith("#")), 0)]
    return annotated(source.data, computed_for(source.data), "\n".join(row[1:].strip() for row in head))


def main(files: Iterable[str]) -> None:
    for file in files:
        Path(file).write_text(refreshed(Path(file)), encoding="utf-8")


__all__ = ["annotated", "flow", "refreshed"]

if __name__ == "__main__":
    main(sys.argv[1:])
