"""Small renderers of configuration texts."""

from __future__ import annotations

from typing import Any


def yaml_text(value: Any) -> bytes:
    """``value`` as block YAML, keys in their order, with a line that says who made it."""
    from io import StringIO

    from ruamel.yaml import YAML

    out, yaml = StringIO(), YAML()
    yaml.default_flow_style = False
    yaml.width = 4096
    yaml.dump(value, out)
    return ("# Made by binder-node; changes here are undone by the next `up`.\n" + out.getvalue()).encode()
