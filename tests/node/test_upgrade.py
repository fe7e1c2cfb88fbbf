"""What every component of a running node reports, and that nothing moves where nothing is to; the rest is a soak."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from binder_node.artifacts.pins import load_pins
from binder_node.upgrades.components import NAMES, component
from binder_node.upgrades.reported import is_of
from tests.node.harness import PINS, Home

pytestmark = pytest.mark.node


def pinned(home: Home) -> Path:
    """The node's own pins file."""
    return home.inventory.with_suffix(".pins.toml")


def held(home: Home) -> dict[str, Any]:
    file = home.inventory.with_suffix(".held.toml")
    return tomllib.loads(file.read_text()) if file.exists() else {}


def made_of(home: Home) -> str:
    """What the node says that it is made of: a pins file."""
    return home.ssh("cat /etc/binder-node/pins.toml")


def shown(home: Home) -> dict[str, dict[str, str]]:
    rows = json.loads(home.run("upgrade", "--show", "-o", "json").ok().out)["components"]
    return {row["component"]: row for row in rows}


def test_every_component_reports_the_version_that_is_pinned_and_nothing_is_to_be_upgraded(home: Home) -> None:
    found, pins = shown(home), load_pins(Path(PINS) if PINS else None)
    first = {name: pins.entries[component(name).pins[0]] for name in NAMES}
    assert {name: (row["pinned"], row["why"]) for name, row in found.items()} == {
        name: (pin.version, "") for name, pin in first.items()
    }
    assert [name for name, pin in first.items() if not is_of(found[name]["runs"], pin)] == []
    outcome = home.run("upgrade", "-o", "json").ok().last["data"]
    assert (outcome["done"], outcome["failed"], outcome["left"]) == ([], None, {})
    assert held(home) == {}
