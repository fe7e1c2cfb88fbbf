"""The server binaries that tests run, from the same pins, sources and cache as a node's own."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest

from binder_node.artifacts.cache import Cache
from binder_node.artifacts.pins import load_pins
from binder_node.artifacts.store import Sources, Store, here
from binder_node.events import silent
from tests.testbed.build.stand_in import Builder

TESTS = Path(__file__).parents[1]
# A node's own, and those that the testbed's k3s is put together from.
OVERLAYS = (TESTS / "testbed/pins.toml", TESTS / "testbed/build/pins.toml")


@cache
def binary(name: str, *other_names: str) -> Path:
    """The binary of that pin, built or fetched when it is missing; ``BINDER_NODE_TEST_BIN`` is a folder to prefer."""
    folder = os.environ.get("BINDER_NODE_TEST_BIN")
    for candidate in (name, *other_names) if folder else ():
        path = Path(str(folder)) / candidate
        if os.access(path, os.X_OK):
            return path
    for overlay in OVERLAYS:
        pins = load_pins(overlay)
        if name in pins.entries:
            store = Store(Cache(), pins, Sources(("file", "module")), here()[1])
            return store.ensure([name])[name].path
    if name == "kube":
        return Builder(silent).kube()
    pytest.fail(f"no pin is called {name}")
