"""A Helm repository's ``index.yaml``, read without reading all of it. Pure.

JupyterHub's has thousands of charts in one file: as YAML it takes minutes. So it is cut where `helm repo index` begins
an entry, and only those that may be wanted are read as YAML.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def charts(index: str, name: str, wanted: Callable[[str], bool]) -> Iterator[dict[str, Any]]:
    """Entries of the chart ``name`` that have ``version`` and ``urls``, in the file's order.

    ``wanted`` is asked with an entry's text before that is read.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    for entry in f"\n{index}".split("\n  - "):
        if f"name: {name}" not in entry or not wanted(entry):
            continue
        # What follows the entry is the next chart's key, less deep.
        rows = [f"    {entry.splitlines()[0]}", *(row for row in entry.splitlines()[1:] if row.startswith("    "))]
        try:
            found = YAML(typ="safe", pure=True).load("\n".join(rows))
        except YAMLError:
            continue
        if isinstance(found, dict) and found.get("name") == name and found.get("urls") and found.get("version"):
            yield found


def line(entry: str, key: str) -> str:
    """The value of ``key`` in an entry's text, as it is written there but for quotes; empty where it has none."""
    for number, row in enumerate(entry.splitlines()):
        written = row if number == 0 else row.removeprefix("    ")
        if written.startswith(f"{key}: "):
            return written.removeprefix(f"{key}: ").strip().strip("'\"")
    return ""


def address(entry: dict[str, Any], repository: str) -> str:
    """The first URL of an entry; one that is no whole URL is below the repository's."""
    url = str(entry["urls"][0])
    return url if "://" in url else f"{repository.rstrip('/')}/{url}"
