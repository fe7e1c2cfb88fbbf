"""What a new release would change, told without its secrets. Pure."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

from binder_node.cluster.values import flat, revealed, secret_texts, sensitive, shown
from binder_node.secrets.masked import MASK

Object = Mapping[str, Any]
LONGEST = 200


def key(found: Object) -> str:
    """``Deployment hub``: objects of a release lie in one namespace, or in none."""
    return f"{found.get('kind', '?')} {found.get('metadata', {}).get('name', '?')}"


def differences(old: Sequence[Object], new: Sequence[Object]) -> list[tuple[str, str, str]]:
    """(``create``, ``update`` or ``delete``; the object; a unified diff) for each object that differs, in order."""
    before, after = {key(item): item for item in old}, {key(item): item for item in new}
    found = []
    for name in sorted(before.keys() | after.keys()):
        was, will = before.get(name), after.get(name)
        if was == will:
            continue
        action = "create" if was is None else "delete" if will is None else "update"
        found.append((action, name, unified(_text(was, will, "old"), _text(will, was, "new")) if was and will else ""))
    return found


def unified(old: str, new: str) -> str:
    """A unified diff without its header."""
    return "\n".join(list(difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=2))[2:])


def _text(item: Object | None, other: Object | None, which: str) -> str:
    return yaml_text(_masked(item, other, which)) if item is not None else ""


def _masked(item: Object, other: Object | None, which: str) -> Object:
    """A Secret's entries as ``***``, those that differ as such: all of it may be secret, the operator's values too."""
    if item.get("kind") != "Secret":
        return item
    made = dict(item)
    for part in ("data", "stringData"):
        theirs = (other or {}).get(part) or {}
        if part in made:
            made[part] = {
                name: MASK if theirs.get(name) == value else f"{MASK} ({which})"
                for name, value in (made[part] or {}).items()
            }
    return made


def yaml_text(value: Any) -> str:
    """Block YAML with sorted keys, so that order is no difference."""
    from ruamel.yaml import YAML

    out, yaml = StringIO(), YAML()
    yaml.default_flow_style = False
    yaml.width = 1 << 20
    yaml.representer.ignore_aliases = lambda _: True
    yaml.dump(_sorted(value), out)
    return out.getvalue()


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _sorted(value[name]) for name in sorted(value, key=str)}
    return [_sorted(item) for item in value] if isinstance(value, list | tuple) else value


# --- values --------------------------------------------------------------------------------------------------------


def values_diff(old: Mapping[str, Any], new: Mapping[str, Any], provenance: Mapping[str, str]) -> str:
    """Which values change, one ``- key: value`` or ``+ key: value  (layer)`` a line; empty when none does.

    Wherever ``new`` has a secret, ``old`` has one too: the two are compared, and shown as ``***``.
    """
    before, after = flat(old), flat(new)
    lines = []
    for path in sorted(before.keys() | after.keys()):
        was, will = before.get(path), after.get(path)
        hidden = _hidden(path, will)
        if revealed(was) == revealed(will) and (path in before) == (path in after):
            continue
        if path in before:
            lines.append(f"-{path}: {_value(was, hidden)}")
        if path in after:
            lines.append(f"+{path}: {_value(will, hidden)}  ({provenance.get(path, 'chart')})")
    return "\n".join(lines)


def _hidden(path: str, value: Any) -> bool:
    return sensitive(path) or any(True for _ in secret_texts({path: value}))


def _value(value: Any, hidden: bool) -> str:
    if hidden:
        return MASK
    text = json.dumps(shown(value), ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
