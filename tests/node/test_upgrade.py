"""Versions of a running node: another one proven, one that fails gone back by itself, what every component reports."""

from __future__ import annotations

import json
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from binder_node.artifacts.cache import Cache
from binder_node.artifacts.pins import Pins, load_pins
from binder_node.artifacts.store import Sources, Store, here
from binder_node.events import silent
from binder_node.upgrades.components import written
from binder_node.upgrades.releases import turned
from tests.node.harness import PINS, Home, Ran

pytestmark = pytest.mark.node

# Distribution's release before the pinned one.
OTHER = "v3.1.1"


def pinned(home: Home) -> Path:
    """The node's own pins file."""
    return home.inventory.with_suffix(".pins.toml")


def held(home: Home) -> dict[str, Any]:
    file = home.inventory.with_suffix(".held.toml")
    return tomllib.loads(file.read_text()) if file.exists() else {}


def made_of(home: Home) -> dict[str, Any]:
    return tomllib.loads(home.ssh("cat /etc/binder-node/pins.toml"))


def shown(home: Home) -> dict[str, dict[str, str]]:
    rows = json.loads(home.run("upgrade", "--show", "-o", "json").ok().out)["components"]
    return {row["component"]: row for row in rows}


def upgrade(home: Home, *args: str) -> Ran:
    return home.run("upgrade", "registry", "-o", "json", "--settle", "20", *args)


@pytest.fixture
def other(home: Home) -> Iterator[None]:
    """The other registry pinned for the node, and built; afterwards the node has its own again."""
    pins = load_pins(Path(PINS) if PINS else None)
    pin = turned(pins.entries["registry"], OTHER)
    store = Store(Cache(), Pins({"registry": pin}, {}, pins.lock), Sources(("module",)), here()[1])
    store.ensure(["registry"], silent)
    pinned(home).write_text(written({"registry": pin}, {}, "# another registry"))
    try:
        yield
    finally:
        pinned(home).unlink(missing_ok=True)
        home.inventory.with_suffix(".held.toml").unlink(missing_ok=True)
        home.up().ok()


@pytest.mark.usefixtures("other")
def test_a_registry_moves_and_one_that_fails_its_checks_goes_back_by_itself(home: Home, tmp_path: Path) -> None:
    before = shown(home)
    assert {name: row["why"] for name, row in before.items() if name != "registry"} == dict.fromkeys(
        ("minio", "buildkit", "k3s", "chart"), ""
    )
    assert before["registry"]["why"] == "to be upgraded"

    moved = upgrade(home).ok().last["data"]
    assert [(item["component"], item["new"]) for item in moved["done"]] == [("registry", OTHER)]
    assert made_of(home)["registry"]["version"] == shown(home)["registry"]["runs"] == OTHER

    # One that says the pinned version and lets nobody pull: the other instance's passwords.
    bad = tmp_path / "registry"
    right = home.ssh("readlink /usr/local/bin/registry").strip()
    env = "REGISTRY_AUTH_HTPASSWD_PATH=/etc/binder-node/registry-push.htpasswd"
    bad.write_text(f'#!/bin/sh\n[ $1 = serve ] && export {env}\nexec {shlex.quote(right)} "$@"\n')
    pinned(home).write_text(f'[registry]\nversion = "{OTHER}"\nfile = {{ path = "{bad}" }}\n')
    failed = upgrade(home)
    assert failed.code == 1
    outcome = failed.last["data"]
    assert outcome["failed"]["why"].startswith("registry.pull-rights: ")
    assert held(home)["registry"]["held"].startswith(f"{OTHER} failed: registry.pull-rights: ")
    assert home.ssh("readlink /usr/local/bin/registry").strip() == right
    # Everybody keeps to it now: nothing to do for `up`, and the checks pass.
    assert home.up().ok().last["data"]["changes"] == 0
    home.run("smoke", "--only", "registry").ok()
    assert upgrade(home).ok().last["data"]["left"]["registry"].startswith(f"{OTHER} failed: ")

    pinned(home).unlink()
    own = upgrade(home).ok().last["data"]["done"]
    assert [(item["old"], item["new"]) for item in own] == [(OTHER, before["registry"]["runs"])]
    assert held(home) == {}
