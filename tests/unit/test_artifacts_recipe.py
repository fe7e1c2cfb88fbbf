"""Which ways there are to an artifact, in which order, by which commands and under which key: exactly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from binder_node.artifacts.bundle import read_manifest, render_manifest
from binder_node.artifacts.pins import ModulePin, Pin, load_pins
from binder_node.artifacts.recipe import (
    Build,
    Bundled,
    BundleEntry,
    Download,
    Local,
    Release,
    origin,
    platform_key,
    platform_of,
    recipes,
)
from binder_node.errors import InputError

AMD = ("linux", "amd64")
TRAEFIK = ModulePin(
    module="github.com/traefik/traefik/v3",
    version="v3.6.12",
    package="github.com/traefik/traefik/v3/cmd/traefik",
    ldflags=("-X", "a/b.Version=v3"),
    tags=("osusergo", "netgo"),
    replace={"github.com/gorilla/mux": "github.com/containous/mux@v0.0.0-20250523120546-41b6ec3aed59"},
    exclude=("github.com/tencentcloud/tencentcloud-sdk-go@v3.0.83+incompatible",),
)


def test_the_commands_of_a_build_with_replace_and_exclude() -> None:
    build = Build("traefik", "v3.6.12", TRAEFIK, *AMD)
    assert build.commands(Path("/w/traefik")) == (
        ("go", "mod", "init", "build"),
        (
            "go",
            "mod",
            "edit",
            "-replace=github.com/gorilla/mux=github.com/containous/mux@v0.0.0-20250523120546-41b6ec3aed59",
            "-exclude=github.com/tencentcloud/tencentcloud-sdk-go@v3.0.83+incompatible",
        ),
        ("go", "get", "github.com/traefik/traefik/v3@v3.6.12"),
        (
            *("go", "build", "-v", "-trimpath", "-ldflags", "-s -w -X a/b.Version=v3", "-tags", "osusergo,netgo"),
            *("-o", "/w/traefik", "github.com/traefik/traefik/v3/cmd/traefik"),
        ),
    )


def test_a_plain_build_edits_nothing() -> None:
    pin = ModulePin(module="rsc.io/hello", version="v1.0.0", package="rsc.io/hello")
    commands = Build("hello", "v1.0.0", pin, "linux", "arm64").commands(Path("/w/hello"))
    assert commands == (
        ("go", "mod", "init", "build"),
        ("go", "get", "rsc.io/hello@v1.0.0"),
        ("go", "build", "-v", "-trimpath", "-ldflags", "-s -w", "-o", "/w/hello", "rsc.io/hello"),
    )


def test_a_build_is_static_and_for_the_node() -> None:
    build = Build("traefik", "v3.6.12", TRAEFIK, "linux", "arm64")
    assert build.env() == {
        "GOOS": "linux",
        "GOARCH": "arm64",
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=mod",
        "GOWORK": "off",
        "GO111MODULE": "on",
    }


@pytest.mark.parametrize(
    "change",
    [
        {"version": "v3.6.13"},
        {"package": "github.com/traefik/traefik/v3/cmd/other"},
        {"ldflags": ()},
        {"tags": ()},
        {"replace": {}},
        {"exclude": ()},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_changes_the_bytes_changes_the_key(change: dict[str, object]) -> None:
    build = Build("traefik", "v3.6.12", TRAEFIK, *AMD)
    changed = replace(build, pin=TRAEFIK.model_copy(update=change))
    assert changed.key("go1.26.8") != build.key("go1.26.8")


def test_the_toolchain_and_the_platform_are_in_the_key() -> None:
    build = Build("traefik", "v3.6.12", TRAEFIK, *AMD)
    keys = {build.key("go1.26.8"), build.key("go1.26.9"), replace(build, goarch="arm64").key("go1.26.8")}
    assert len(keys) == 3
    assert build.key("go1.26.8") == Build("traefik", "v3.6.12", TRAEFIK.model_copy(), *AMD).key("go1.26.8")


def test_the_ways_in_the_operators_order_or_only_the_usual_one() -> None:
    pin = load_pins().entries["registry"]
    assert [type(way) for way in recipes("registry", pin, AMD)] == [Release]
    assert [type(way) for way in recipes("registry", pin, AMD, ("module", "release"))] == [Build, Release]
    assert [type(way) for way in recipes("registry", pin, AMD, ("bundle", "module"))] == [Build]
    assert recipes("k3s", load_pins().entries["k3s"], AMD, ("module",)) == ()


def test_a_local_file_comes_first_whatever_the_order() -> None:
    pin = Pin.model_validate({"version": "1", "file": {"path": "/x"}})
    assert recipes("k3s", pin, AMD, ("release", "module")) == (Local("k3s", "1", "binary", Path("/x"), None),)


def test_only_a_bundle_that_is_given_comes_before_a_local_file() -> None:
    pin = Pin.model_validate({"version": "1", "file": {"path": "/x"}})
    given = (Path("/b"), {"k3s": BundleEntry("k3s", "1", "amd64", "k3s", "a" * 64, 1)})
    local, bundled = (
        Local("k3s", "1", "binary", Path("/x"), None),
        Bundled("k3s", "1", "binary", Path("/b/k3s"), "a" * 64),
    )
    assert recipes("k3s", pin, AMD, ("bundle",), given) == (bundled, local)
    assert recipes("k3s", pin, AMD, ("release",), given) == (local,)
    assert recipes("k3s", pin, AMD, ("bundle",), (Path("/b"), {})) == (local,)


def test_entries_of_one_archive_share_the_download() -> None:
    entries = load_pins().entries
    ways = [recipes(name, entries[name], AMD)[0] for name in ("buildkitd", "buildctl")]
    assert isinstance(ways[0], Release)
    assert isinstance(ways[1], Release)
    assert ways[0].download == ways[1].download
    assert (ways[0].member, ways[1].member) == ("bin/buildkitd", "bin/buildctl")


def test_the_name_in_a_checksum_list_is_the_urls_last_part_without_escapes() -> None:
    download = Download("https://example.org/v1%2Bk3s1/k3s%2Barm64?x=1", None, None)
    assert download.file == "k3s+arm64"


def test_an_operators_tool_is_for_this_machine_and_all_else_for_the_node() -> None:
    entries = load_pins().entries
    mac = ("darwin", "arm64")
    assert platform_of(entries["helm"], "amd64", mac) == mac
    assert platform_of(entries["k3s"], "amd64", mac) == AMD
    assert platform_of(entries["binderhub-chart"], "amd64", mac) == AMD
    assert (platform_key(mac), platform_key(AMD)) == ("darwin-arm64", "amd64")
    # Helm's vendor has a macOS download, but no digest of it was to be had: it is built.
    assert [type(way) for way in recipes("helm", entries["helm"], mac)] == [Build]


@pytest.mark.parametrize(
    ("entry", "there"),
    [
        (BundleEntry("minio", "v0.0.0-20260212201848-7aac2a2c5b7c", "amd64", "minio", "a" * 64, 1), True),
        (BundleEntry("minio", "RELEASE.2025-09-07T16-13-09Z", "amd64", "minio", "a" * 64, 1), True),
        (BundleEntry("minio", "v0.0.0-20250101000000-000000000000", "amd64", "minio", "a" * 64, 1), False),
        (BundleEntry("minio", "RELEASE.2025-09-07T16-13-09Z", "arm64", "minio", "a" * 64, 1), False),
    ],
    ids=["built", "released", "another version", "another processor"],
)
def test_a_bundle_counts_when_its_version_and_platform_do(entry: BundleEntry, there: bool) -> None:
    ways = recipes("minio", load_pins().entries["minio"], AMD, ("bundle",), (Path("/b"), {"minio": entry}))
    wanted = (Bundled("minio", entry.version, "binary", Path("/b/minio"), "a" * 64),)
    assert ways == (wanted if there else ())


def test_where_a_way_leads_for_people() -> None:
    entries = load_pins().entries
    assert origin(recipes("helm", entries["helm"], AMD)[0]) == "https://get.helm.sh/helm-v4.3.0-linux-amd64.tar.gz"
    minio = recipes("minio", entries["minio"], AMD)[0]
    assert origin(minio) == "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c"


def test_a_manifest_reads_back(tmp_path: Path) -> None:
    entries = {"k3s": BundleEntry("k3s", "v1", "amd64", "k3s", "a" * 64, 5)}
    (tmp_path / "manifest.json").write_text(render_manifest(entries), encoding="utf-8")
    assert read_manifest(tmp_path) == entries


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "No such file"),
        ("[]", "no bundle's manifest"),
        ('{"format": 9, "artifacts": {}}', "has format 9, this version reads 1"),
        ('{"format": 1, "artifacts": {"k3s": {}}}', "no bundle's manifest"),
        (render_manifest({"x": BundleEntry("x", "1", "any", "../x", "a" * 64, 1)}), "is not in the bundle"),
    ],
    ids=["none", "not one", "format", "keys", "outside"],
)
def test_a_folder_that_is_no_bundle(tmp_path: Path, text: str | None, says: str) -> None:
    if text is not None:
        (tmp_path / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=says):
        read_manifest(tmp_path)
