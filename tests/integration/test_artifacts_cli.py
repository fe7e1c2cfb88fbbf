"""``binder-node artifacts`` as an operator runs it: a process, its exit code, stdout and stderr."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.integration import artifacts_fixtures as af
from tests.integration.artifacts_fixtures import Vendor, noise, sha256

DATA = noise(2_000_000)


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with af.vendor() as made:
        yield made


@pytest.fixture
def overlay(vendor: Vendor, tmp_path: Path) -> Path:
    """Two pins, and two that cannot be had."""
    path = tmp_path / "overlay.toml"
    path.write_text(
        f"""
[k3s]
version = "v9"
[k3s.release.amd64]
url = "{vendor.serve("/k3s", DATA)}"
sha256 = "{sha256(DATA)}"
[helm]
version = "v8"
needed = "operator"
file = {{ path = "helm" }}
[forged]
version = "v7"
[forged.release.amd64]
url = "{vendor.serve("/forged", DATA)}"
sha256 = "{"0" * 64}"
""",
        encoding="utf-8",
    )
    (tmp_path / "helm").write_bytes(b"helm")
    return path


def test_list_says_what_is_where_and_fetches_nothing(overlay: Path, tmp_path: Path, vendor: Vendor) -> None:
    code, out, err = af.ended(af.command(tmp_path / "cache", overlay, "list", "k3s", "helm", "minio", "-o", "json"))
    assert code == 0, err
    rows = {row["name"]: row for row in json.loads(out)}
    assert (rows["k3s"]["version"], rows["k3s"]["source"], rows["k3s"]["cached"]) == ("v9", "release", False)
    assert (rows["helm"]["source"], rows["helm"]["from"]) == ("file", str(tmp_path / "helm"))
    assert rows["minio"]["source"] == "module"
    assert vendor.seen == []


def test_list_is_a_table_for_people(overlay: Path, tmp_path: Path) -> None:
    code, out, err = af.ended(af.command(tmp_path / "cache", overlay, "list"))
    assert (code, out) == (0, "")
    assert [line.split()[:4] for line in err.splitlines() if line.startswith("k3s ")] == [
        ["k3s", "v9", "node", "release"]
    ]


def test_fetch_tells_its_events_and_ends_with_the_artifacts(overlay: Path, tmp_path: Path) -> None:
    code, out, err = af.ended(af.command(tmp_path / "cache", overlay, "fetch", "k3s", "helm", "-o", "json"))
    assert code == 0, err
    events = [json.loads(line) for line in out.splitlines()]
    assert {event["stage"] for event in events} == {"artifacts"}
    made = {artifact["name"]: artifact for artifact in events[-1]["data"]["artifacts"]}
    assert Path(made["k3s"]["path"]).read_bytes() == DATA
    assert made["helm"]["sha256"] == sha256(b"helm")


def test_a_forged_file_is_refused_with_exit_1(overlay: Path, tmp_path: Path) -> None:
    code, _, err = af.ended(af.command(tmp_path / "cache", overlay, "fetch", "forged"))
    assert code == 1
    assert f"sha256 {sha256(DATA)}, expected {'0' * 64}" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["fetch", "k4s"], "k4s: no such artifact; one of k3s"),
        (["fetch", "k3s", "--source", "module"], "k3s: v9 for linux/amd64 is not to be had from: module"),
        (["fetch", "k3s", "--arch", "arm64"], "k3s: v9 for linux/arm64 is not to be had from: file, release, module"),
        (["fetch", "k3s", "--source", "floppy"], "floppy: no such source; take some of file, bundle, release, module"),
        (["fetch", "k3s", "--source", "bundle"], "say where it is by --bundle DIR"),
    ],
    ids=["name", "source of pin", "processor", "source", "no bundle"],
)
def test_what_cannot_be_is_said_before_anything_is_fetched(
    overlay: Path, tmp_path: Path, vendor: Vendor, arguments: list[str], says: str
) -> None:
    code, out, err = af.ended(af.command(tmp_path / "cache", overlay, *arguments))
    assert (code, out) == (2, ""), err
    assert says in err
    assert vendor.seen == []


def test_bundle_and_back_without_a_server(overlay: Path, tmp_path: Path, vendor: Vendor) -> None:
    folder = tmp_path / "usb"
    code, _, err = af.ended(af.command(tmp_path / "cache", overlay, "bundle", str(folder), "k3s"))
    assert code == 0, err
    assert json.loads((folder / "manifest.json").read_text(encoding="utf-8")) == {
        "format": 1,
        "artifacts": {
            "k3s": {"file": "k3s", "platform": "amd64", "sha256": sha256(DATA), "size": len(DATA), "version": "v9"}
        },
    }
    vendor.server.stop()
    code, _, err = af.ended(af.command(tmp_path / "there", overlay, "fetch", "k3s", "--bundle", str(folder)))
    assert code == 0, err


def test_verify_removes_what_is_damaged_and_fetch_mends_it(overlay: Path, tmp_path: Path) -> None:
    root = tmp_path / "cache"
    assert af.ended(af.command(root, overlay, "fetch", "k3s"))[0] == 0
    assert af.ended(af.command(root, overlay, "verify"))[0] == 0
    (path,) = root.glob("sha256/*/*/k3s")
    path.chmod(0o755)
    path.write_bytes(b"x" + DATA[1:])
    code, out, err = af.ended(af.command(root, overlay, "verify", "-o", "yaml"))
    assert code == 1, err
    said = YAML(typ="safe").load(out)
    assert (said["ok"], [seen["good"] for seen in said["files"]]) == (False, [False])
    assert not path.exists()
    assert af.ended(af.command(root, overlay, "fetch", "k3s"))[0] == 0
    assert af.ended(af.command(root, overlay, "verify"))[0] == 0


@pytest.mark.parametrize("verb", ["list", "fetch", "build", "bundle", "verify"])
def test_every_help_has_an_example(tmp_path: Path, verb: str) -> None:
    code, out, _ = af.ended(af.command(tmp_path / "cache", tmp_path / "none.toml", verb, "--help"))
    assert code == 0
    assert f"binder-node artifacts {verb}" in out
