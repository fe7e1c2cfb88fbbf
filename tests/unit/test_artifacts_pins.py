"""What the pins file and an overlay say, and what an operator reads when an overlay is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from binder_node.artifacts.pins import Pin, Pins, load_pins
from binder_node.artifacts.recipe import DEFAULT_ORDER, Build, Release, recipes
from binder_node.errors import InputError
from binder_node.federation.follow import Chart, pins_text


def overlay(folder: Path, text: str) -> Path:
    path = folder / "pins.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_node_artifact_is_to_be_had_for_both_processors() -> None:
    pins = load_pins()
    for name in pins.needed("node", "optional"):
        for arch in ("amd64", "arm64"):
            assert recipes(name, pins.entries[name], ("linux", arch)), (name, arch)


def test_every_release_has_a_digest_or_a_checksum_list_and_https() -> None:
    for name, pin in load_pins().entries.items():
        for platform, release in pin.release.items():
            assert release.sha256 or release.checksums, (name, platform)
            assert release.url.startswith("https://"), (name, platform)
            assert release.checksums is None or release.checksums.startswith("https://"), (name, platform)


def test_a_version_stands_in_every_url_of_its_own_pin() -> None:
    for name, pin in load_pins().entries.items():
        for release in pin.release.values():
            bare = pin.version.removeprefix("v").replace("+", "%2B")
            assert bare in release.url, (name, release.url)


def test_who_needs_what() -> None:
    pins = load_pins()
    assert pins.needed("operator") == ("helm", "binderhub-chart")
    assert pins.needed("optional") == ("mc", "cryptnono-chart")
    assert pins.preload == ("k3s-images",)
    assert set(pins.images) == {"build"}


def test_minio_is_built_and_the_rest_downloaded() -> None:
    pins = load_pins()
    assert isinstance(recipes("minio", pins.entries["minio"], ("linux", "amd64"))[0], Build)
    others = [name for name in pins.entries if name != "minio"]
    assert all(isinstance(recipes(name, pins.entries[name], ("linux", "amd64"))[0], Release) for name in others)


def test_an_overlay_replaces_an_entry_wholly_and_adds_others(tmp_path: Path) -> None:
    path = overlay(
        tmp_path,
        """
        [images]
        build = "example.org/build:1"
        extra = "example.org/extra:2"
        [k3s]
        version = "stand-in"
        file = { path = "bin/k3s" }
        [my-images]
        version = "1"
        kind = "images"
        file = { path = "/srv/images.tar.zst" }
        """,
    )
    pins = load_pins(path)
    assert pins.entries["k3s"] == Pin.model_validate({"version": "stand-in", "file": {"path": tmp_path / "bin/k3s"}})
    assert pins.preload == ("k3s-images", "my-images")
    assert str(pins.entries["my-images"].file.path) == "/srv/images.tar.zst"  # type: ignore[union-attr]
    assert pins.images == {"build": "example.org/build:1", "extra": "example.org/extra:2"}
    assert pins.entries["helm"] == load_pins().entries["helm"]
    assert pins.lock == tmp_path / "pins.lock"


def test_an_overlays_order_holds_for_pins_that_say_none(tmp_path: Path) -> None:
    path = overlay(tmp_path, 'sources = ["module"]\n[helm]\nversion = "1"\nsources = ["release"]\n' + _HELM)
    pins = load_pins(path)
    assert pins.entries["registry"].sources == ("module",)
    assert pins.entries["helm"].sources == ("release",)


_HELM = '[helm.release.amd64]\nurl = "https://example.org/helm"\nsha256 = "%s"\n' % ("0" * 64)


def test_all_mistakes_at_once_each_with_its_key(tmp_path: Path) -> None:
    path = overlay(
        tmp_path,
        """
        [k3s]
        version = "1"
        files = { path = "x" }
        [helm]
        version = "1"
        release.amd64 = { url = "https://example.org/helm", sha256 = "ABC" }
        [Bad_Name]
        version = "1"
        file = { path = "x" }
        [empty]
        version = "1"
        """,
    )
    with pytest.raises(InputError) as caught:
        load_pins(path)
    wrong = {problem.path: problem.wrong for problem in caught.value.problems}
    assert set(wrong) == {"k3s.files", "helm.release.amd64.sha256", "Bad_Name", "empty"}
    assert wrong["k3s.files"] == "is not a key here"
    assert "comes from nowhere" in wrong["empty"]
    assert {problem.file for problem in caught.value.problems} == {str(path)}


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"[k3s\n", "line 1"), (b"\xff\xfe", "UTF-8"), (None, "No such file")],
    ids=["toml", "encoding", "missing"],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "pins.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=says) as caught:
        load_pins(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InputError) as caught:
        load_pins().pick(["k3s", "k4s", "hlem"])
    assert [problem.path for problem in caught.value.problems] == ["k4s", "hlem"]
    assert "one of k3s, k3s-images, buildkitd" in str(caught.value)


def test_pick_drops_doubles_and_keeps_order() -> None:
    pins = Pins({name: load_pins().entries["helm"] for name in ("a", "b", "c")}, {}, Path("unused"))
    assert pins.pick(["c", "a", "c"]) == ("c", "a")
    assert DEFAULT_ORDER == ("file", "release", "module")


def test_a_nodes_own_pins_lie_over_the_overlay_and_keep_its_order(tmp_path: Path) -> None:
    over = overlay(tmp_path, 'sources = ["module"]\n[images]\nbuild = "r2d:1"\nother = "x:1"\n')
    own = tmp_path / "bids.pins.toml"
    own.write_text(pins_text("r2d:2", Chart("1.0", "https://charts.test/binderhub-1.0.tgz", "d" * 64)))
    pins = load_pins(over, own)
    assert pins.images == {"build": "r2d:2", "other": "x:1"}
    assert pins.entries["binderhub-chart"].version == "1.0"
    assert pins.entries["binderhub-chart"].sources == ("release",)
    assert pins.entries["registry"].sources == ("module",)
    assert pins.overlay == over
    assert load_pins(None, own).images["build"] == "r2d:2"
