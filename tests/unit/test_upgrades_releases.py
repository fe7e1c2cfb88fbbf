"""Releases compared, looked up and pinned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from binder_node.artifacts.pins import FilePin, Pin, load_pins
from binder_node.upgrades.releases import newest_patch, refused, turned

CHANNELS = json.dumps(
    {
        "type": "collection",
        "data": [
            {"id": "stable", "name": "stable", "latest": "v1.36.4+k3s1"},
            {"id": "v1.35", "name": "v1.35", "latest": "v1.35.10+k3s1"},
            {"id": "v1.36", "name": "v1.36", "latest": "v1.36.4+k3s1"},
            {"id": "v1.37", "name": "v1.37", "latest": "v1.37.0-rc1+k3s1"},
        ],
    }
)


@pytest.mark.parametrize(
    ("pinned", "newest"),
    [
        ("v1.35.8+k3s1", "v1.35.10+k3s1"),
        ("v1.35.9+k3s2", "v1.35.10+k3s1"),
        ("v1.35.10+k3s1", ""),
        ("v1.36.5+k3s1", ""),  # newer than the list
    ],
)
def test_the_newest_patch_of_its_own_minor(pinned: str, newest: str) -> None:
    assert newest_patch(CHANNELS, pinned) == newest


@pytest.mark.parametrize(
    ("answer", "pinned", "why"),
    [
        (CHANNELS, "v1.34.1+k3s1", "no release in a channel v1.34"),
        (CHANNELS, "v1.37.0+k3s1", "no release in a channel v1.37"),
        (CHANNELS, "latest", "latest is no release's number"),
        ("[]", "v1.35.8+k3s1", "no list of channels"),
        ("<html>", "v1.35.8+k3s1", "Expecting value"),
    ],
)
def test_a_list_that_has_it_not(answer: str, pinned: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        newest_patch(answer, pinned)


def test_k3s_moves_within_its_minor_release_only() -> None:
    assert refused("v1.35.8+k3s1", "v1.35.10+k3s1") == ""
    assert refused("v1.35.8+k3s1", "v1.35.8+k3s2") == ""
    assert refused("v1.35.8+k3s1", "v1.35.7+k3s1") == ""  # the same minor reads its data
    assert "no way back" in refused("v1.35.8+k3s1", "v1.36.4+k3s1")
    assert "no way back" in refused("v1.36.4+k3s1", "v1.35.8+k3s1")
    assert refused("v1.35.8+k3s1", "v1.36.0-rc1+k3s1") == "v1.36.0-rc1+k3s1 is no release's number"


def test_a_pin_turned_to_another_version_names_it_everywhere_and_leaves_digests_to_the_vendor() -> None:
    found = turned(load_pins().entries["k3s"], "v1.35.10+k3s1")
    place = found.release["amd64"]
    assert found.version == "v1.35.10+k3s1"
    assert place.url == "https://github.com/k3s-io/k3s/releases/download/v1.35.10%2Bk3s1/k3s"
    assert place.checksums == "https://github.com/k3s-io/k3s/releases/download/v1.35.10%2Bk3s1/sha256sum-amd64.txt"
    assert place.sha256 is None


def test_a_version_stands_without_its_v_as_well_and_is_replaced_once() -> None:
    found = turned(load_pins().entries["registry"], "v3.1.20")
    wanted = "https://github.com/distribution/distribution/releases/download/v3.1.20/registry_3.1.20_linux_amd64.tar.gz"
    assert found.release["amd64"].url == wanted
    assert found.release["amd64"].member == "registry"
    assert found.module is not None
    assert found.module.version == "v3.1.20"
    assert found.module.ldflags == ("-X", "github.com/distribution/distribution/v3/version.version=v3.1.20")


@pytest.mark.parametrize("name", ["registry", "k3s", "minio"])
def test_turned_to_its_own_version_a_pin_is_itself_with_its_digests(name: str) -> None:
    pin = load_pins().entries[name]
    assert turned(pin, pin.version) == pin


def test_what_does_not_follow_from_a_version_is_refused() -> None:
    with pytest.raises(ValueError, match="it is a file of yours"):
        turned(Pin(version="v1", file=FilePin(path=Path("k3s"))), "v2")
    with pytest.raises(ValueError, match="its module has a version of its own"):
        turned(load_pins().entries["minio"], "RELEASE.2026-01-01T00-00-00Z")
    pin = load_pins().entries["registry"].model_copy(update={"version": "v9.9.9"})
    with pytest.raises(ValueError, match=r"registry_3.1.2_linux_amd64.tar.gz does not name v9.9.9"):
        turned(pin, "v10.0.0")


def test_a_folder_in_the_archive_that_names_the_version_is_renamed_with_it() -> None:
    found = turned(load_pins().entries["node-exporter"], "v1.13.0")
    assert found.release["amd64"].member == "node_exporter-1.13.0.linux-amd64/node_exporter"
    assert found.release["arm64"].url.endswith("/v1.13.0/node_exporter-1.13.0.linux-arm64.tar.gz")
    assert found.module is not None
    assert found.module.version == "v1.13.0"


def test_a_module_with_numbers_of_its_own_is_left_to_a_person() -> None:
    """Prometheus v3.13 is v0.313 as a module: nobody guesses the next one."""
    with pytest.raises(ValueError, match=r"its module has a version of its own \(v0\.313\.5\)"):
        turned(load_pins().entries["prometheus"], "v3.14.0")
