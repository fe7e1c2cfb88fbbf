"""Objects of Kubernetes as text. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from io import StringIO
from typing import Any


def yaml_stream(objects: Iterable[Mapping[str, Any]]) -> str:
    """Block YAML, keys in their order, objects parted by ``---``."""
    from ruamel.yaml import YAML

    out, yaml = StringIO(), YAML()
    yaml.default_flow_style = False
    yaml.width = 4096
    yaml.representer.ignore_aliases = lambda _: True
    yaml.dump_all(objects, out)
    return out.getvalue()
