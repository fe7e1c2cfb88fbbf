"""Versions looked up and pinned: K3s's list of channels, a chart's repository, a node's own pins file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from binder_node.artifacts.pins import load_pins
from binder_node.errors import InputError, StepError
from binder_node.events import silent
from binder_node.lifecycle.opened import Opened, open_spec
from binder_node.lifecycle.pinning import newest_k3s, pin
from tests.unit.test_lifecycle_draining import INVENTORY

OVERLAY = """\
[binderhub-chart]
version = "1.0.0-0.dev.git.3983.h383374de"
kind = "chart"
needed = "operator"

[binderhub-chart.release.any]
url = "{charts}/binderhub-1.0.0-0.dev.git.3983.h383374de.tgz"
sha256 = "{digest}"
"""
INDEX = """\
apiVersion: v1
entries:
  binderhub:
  - name: binderhub
    version: 1.0.0-0.dev.git.3990.h0123abcd
    digest: {digest}
    urls:
    - binderhub-1.0.0-0.dev.git.3990.h0123abcd.tgz
"""


@pytest.fixture
def opened(tmp_path: Path, httpserver: HTTPServer) -> Opened:
    overlay, inventory = tmp_path / "over.toml", tmp_path / "new.yaml"
    overlay.write_text(OVERLAY.format(charts=httpserver.url_for("/charts"), digest="a" * 64))
    inventory.write_text(INVENTORY)
    return open_spec(str(inventory), overlay)


def again(opened: Opened) -> Opened:
    return open_spec(str(opened.inventory), opened.pins.overlay)


def test_a_version_is_pinned_for_the_node_alone_and_again_changes_nothing(opened: Opened) -> None:
    file, diff = pin(opened, "k3s", "v1.35.9+k3s1")
    assert file == opened.inventory.with_suffix(".pins.toml")
    assert '+version = "v1.35.9+k3s1"' in diff
    found = again(opened).pins.entries
    assert found["k3s"].version == found["k3s-images"].version == "v1.35.9+k3s1"
    assert found["registry"] == load_pins().entries["registry"]
    assert pin(again(opened), "k3s", "v1.35.9+k3s1")[1] == ""
    pin(again(opened), "registry", "v3.1.3")
    assert again(opened).pins.entries["k3s"].version == "v1.35.9+k3s1"
    assert again(opened).pins.entries["registry"].version == "v3.1.3"


def test_what_is_released_together_moves_together(opened: Opened) -> None:
    pin(opened, "buildkit", "v0.34.0")
    found = again(opened).pins.entries
    assert found["buildkitd"].version == found["buildctl"].version == "v0.34.0"
    assert found["cni-bridge"].version == "v1.9.1"


def test_a_chart_comes_with_its_repositorys_digest(opened: Opened, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/charts/index.yaml").respond_with_data(INDEX.format(digest="b" * 64))
    pin(opened, "chart", "1.0.0-0.dev.git.3990.h0123abcd")
    place = again(opened).pins.entries["binderhub-chart"].release["any"]
    assert place.url == httpserver.url_for("/charts/binderhub-1.0.0-0.dev.git.3990.h0123abcd.tgz")
    assert place.sha256 == "b" * 64


def test_what_cannot_be_pinned_is_said_and_nothing_is_written(opened: Opened, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/charts/index.yaml").respond_with_data(INDEX.format(digest="b" * 64))
    with pytest.raises(InputError, match="'kubernetes' is no component; one of registry, minio"):
        pin(opened, "kubernetes", "v1.35.9")
    with pytest.raises(InputError, match=r"minio .*its module has a version of its own"):
        pin(opened, "minio", "RELEASE.2026-01-01T00-00-00Z")
    with pytest.raises(InputError, match=r"k3s: from v1.35.8\+k3s1 to v1.36.4\+k3s1 there is no way back"):
        pin(opened, "k3s", "v1.36.4+k3s1")
    with pytest.raises(StepError, match="has none"):
        pin(opened, "chart", "1.0.0-0.dev.git.3991.hdeadbeef")
    assert not opened.inventory.with_suffix(".pins.toml").exists()


def test_the_newest_patch_release_by_k3ss_own_list(opened: Opened, httpserver: HTTPServer) -> None:
    channels = {"data": [{"id": "stable", "latest": "v1.36.4+k3s1"}, {"id": "v1.35", "latest": "v1.35.12+k3s1"}]}
    httpserver.expect_request("/moved").respond_with_data("", status=302, headers={"Location": "/channels"})
    httpserver.expect_request("/channels").respond_with_data(json.dumps(channels))
    assert newest_k3s(opened, httpserver.url_for("/moved"), silent) == "v1.35.12+k3s1"
    pin(opened, "k3s", "v1.35.13+k3s1")  # newer than the list
    assert newest_k3s(again(opened), httpserver.url_for("/channels"), silent) == "v1.35.13+k3s1"


@pytest.mark.parametrize(
    ("status", "answer", "why"),
    [(503, "busy", "503"), (200, "<html>", "Expecting value"), (200, '{"data": []}', "no release in a channel v1.35")],
)
def test_a_list_that_does_not_tell(opened: Opened, httpserver: HTTPServer, status: int, answer: str, why: str) -> None:
    httpserver.expect_request("/channels").respond_with_data(answer, status=status)
    with pytest.raises(StepError, match=f"look for K3s's newest patch release: .*{why}.*--channels"):
        newest_k3s(opened, httpserver.url_for("/channels"), silent)


def test_a_list_that_is_not_there(opened: Opened) -> None:
    with pytest.raises(StepError, match="look for K3s's newest patch release"):
        newest_k3s(opened, "http://127.0.0.1:9/channels", silent)
