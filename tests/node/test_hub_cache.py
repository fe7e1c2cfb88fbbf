"""Base images come through the node's cache into its bucket; a banned repository is not launched."""

from __future__ import annotations

from pathlib import Path

import pytest

from binder_node.lifecycle.opened import access_of, open_bare, open_spec
from binder_node.storage import bucket
from binder_node.storage.stage import StorageStage
from tests.node.harness import PINS, Home

pytestmark = pytest.mark.node

BANNED = "/var/lib/binder-node/banned/inventory"


def test_a_base_image_is_kept_in_the_bucket(home: Home, git: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in home.environment.items():
        if name.startswith("BINDER_NODE_"):
            monkeypatch.setenv(name, value)
    home.launch(f"{git}/minimal.git").ok()
    opened = open_spec(str(home.inventory), Path(PINS))
    with StorageStage(open_bare(opened), access_of(opened)[0]).endpoint() as endpoint:
        kept = bucket.names_below(endpoint, "docker-hub/")
    assert any("/repositories/binder-node/base/_manifests/tags/1/" in name for name in kept), kept
    assert any(name.endswith("/data") for name in kept), kept


def test_a_banned_repository_is_not_launched_and_nothing_restarts(home: Home, git: str) -> None:
    place = f"{git}/minimal".partition("://")[2]
    home.ssh(f"cp -p {BANNED} /root/banned; echo {place} >{BANNED}")
    try:
        said = home.launch(f"{git}/minimal.git")
        assert said.code != 0
        assert "is not allowed to launch" in said.err + said.out
    finally:
        home.ssh(f"mv /root/banned {BANNED}")
    home.launch(f"{git}/minimal.git").ok()
