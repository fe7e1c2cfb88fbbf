"""``pins outdated|update`` as an operator runs them, against a stand-in for vendors' feeds (tests/testbed/vendors)."""

from __future__ import annotations

import json
import time
import tomllib
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from ruamel.yaml import YAML
from typer.testing import CliRunner
from werkzeug import Response

from binder_node.artifacts.pins import BUILT_IN, load_pins
from binder_node.cli.main import app
from tests.integration.pins_fixtures import (
    IMAGE,
    LAST_CHART,
    NEXT_CHART,
    NEXT_IMAGE,
    buildkit,
    cni,
    helm,
    k3s,
    parsed,
    played,
    registry,
    run,
    states,
)
from tests.testbed.vendors import Vendors, digest

TOKEN = "ghp_" + "t" * 36


@pytest.fixture
def vendors(httpserver: HTTPServer) -> Vendors:
    return played(httpserver)


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_TOKEN", raising=False)


@pytest.fixture
def file(vendors: Vendors, tmp_path: Path) -> Path:
    """The built-in pins with their files at the stand-in: every comment and table of theirs."""
    path = tmp_path / "pins.toml"
    path.write_text(vendors.moved(BUILT_IN.read_text(encoding="utf-8")), encoding="utf-8")
    return path


def test_where_nothing_is_newer_it_says_so_and_ends_with_0(vendors: Vendors, file: Path) -> None:
    before = file.read_bytes()
    found = parsed(vendors, file, "outdated", code=0)
    assert states(found) == {
        "k3s": "beyond",  # the next minor release is there
        "buildkit": "current",
        "cni": "current",
        "registry": "current",
        "minio": "current",
        "age": "current",
        "prometheus": "current",
        "alertmanager": "current",
        "node-exporter": "current",
        "mc": "current",
        "helm": "current",
        "chart": "current",
        "cryptnono-chart": "current",
        "build-image": "current",
    }
    assert (found["behind"], found["unknown"], found["diff"]) == (0, 0, "")
    done = run(vendors, file, "update")
    assert (done.exit_code, done.stdout, "nothing is behind" in done.stderr) == (0, "", True)
    assert file.read_bytes() == before
    shown = YAML(typ="safe").load(run(vendors, file, "outdated", "registry", "-o", "yaml").stdout)
    assert shown["components"][0]["pinned"] == "v3.1.2"


def test_a_newer_version_is_shown_with_its_notes_and_the_change_and_nothing_is_written(
    vendors: Vendors, file: Path
) -> None:
    for tag in ("v0.33.2", "v0.34.0"):
        buildkit(vendors, tag)
    before = file.read_bytes()
    done = run(vendors, file, "outdated", "buildkit")
    assert (done.exit_code, done.stdout) == (1, "")
    for tag in ("v0.33.2", "v0.34.0"):
        assert f"https://github.com/moby/buildkit/releases/tag/{tag}" in done.stderr
    assert '-version = "v0.33.1"' in done.stderr
    assert '+version = "v0.34.0"' in done.stderr
    assert "buildkit v0.33.1 -> v0.34.0" in done.stderr
    assert file.read_bytes() == before


def test_an_update_changes_versions_places_and_digests_and_no_other_byte(vendors: Vendors, file: Path) -> None:
    vendors.channels["v1.35"] = "v1.35.12+k3s1"
    k3s(vendors, "v1.35.12+k3s1")
    buildkit(vendors, "v0.33.2")
    cni(vendors, "v1.10.0")
    registry(vendors, "v3.1.3")
    helm(vendors, "v4.4.0")
    before = file.read_text()
    found = parsed(vendors, file, "update", code=0)
    assert found["written"]
    after, pins = file.read_text(), load_pins(file).entries
    assert {name: pins[name].version for name in ("k3s", "k3s-images", "buildctl", "cni-loopback", "helm")} == {
        "k3s": "v1.35.12+k3s1",
        "k3s-images": "v1.35.12+k3s1",
        "buildctl": "v0.33.2",
        "cni-loopback": "v1.10.0",
        "helm": "v4.4.0",
    }
    k3s_place, kit = pins["k3s"].release["arm64"], pins["buildkitd"].release["arm64"]
    assert k3s_place.url == vendors.url("/k3s-io/k3s/releases/download/v1.35.12%2Bk3s1/k3s-arm64")
    assert k3s_place.sha256 == digest("v1.35.12+k3s1", "k3s-arm64")  # by the checksum list
    assert kit.sha256 == digest("v0.33.2", "buildkit-v0.33.2.linux-arm64.tar.gz")  # as GitHub shows it
    assert (kit.member, kit.checksums) == ("bin/buildkitd", None)
    module = pins["helm"].module
    assert module is not None
    assert module.version == "v4.4.0"  # it was at v4.3.1, of its own
    assert module.ldflags == ("-X", "helm.sh/helm/v4/internal/version.version=v4.4.0")
    # Lines that say no version, place or digest are as they were, in their order: comments, tables, empty lines.
    kept = [
        line for line in before.splitlines() if not line.startswith(("version", "url", "sha256", "checksums", "ldf"))
    ]
    left = [
        line for line in after.splitlines() if not line.startswith(("version", "url", "sha256", "checksums", "ldf"))
    ]
    assert left == kept
    assert len(after.splitlines()) == len(before.splitlines())
    untouched = {
        name: table for name, table in tomllib.loads(after).items() if name in ("minio", "mc", "age", "images")
    }
    assert untouched == {name: tomllib.loads(before)[name] for name in untouched}
    # Once more: nothing to do.
    assert parsed(vendors, file, "update", code=0)["written"] is False
    assert file.read_text() == after


def test_one_component_alone(vendors: Vendors, file: Path) -> None:
    buildkit(vendors, "v0.33.2")
    registry(vendors, "v3.1.3")
    found = parsed(vendors, file, "update", "registry", code=0)
    assert states(found) == {"registry": "behind"}
    pins = load_pins(file).entries
    assert (pins["registry"].version, pins["buildkitd"].version) == ("v3.1.3", "v0.33.1")
    assert not [path for path in vendors.asked if "buildkit" in path]
    wrong = run(vendors, file, "update", "kubernetes")
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert "'kubernetes' is not pinned; one of k3s, buildkit, cni" in wrong.stderr


def test_limits(vendors: Vendors, file: Path) -> None:
    registry(vendors, "v3.1.3")
    registry(vendors, "v3.2.0")
    registry(vendors, "v4.0.0")
    registry(vendors, "v2.8.9")  # made last, of an old series
    patch = parsed(vendors, file, "outdated", "registry", "--within", "patch", code=1)["components"]["registry"]
    assert (patch["offered"], patch["newest"]) == ("v3.1.3", "v4.0.0")
    minor = parsed(vendors, file, "outdated", "registry", code=1)["components"]["registry"]
    assert (minor["offered"], minor["why"]) == ("v3.2.0", "v4.0.0 is a major release: pin it by hand")
    assert [note["version"] for note in minor["notes"]] == ["v3.2.0", "v3.1.3"]


def test_k3s_goes_one_minor_release_at_a_time_and_only_when_asked(vendors: Vendors, file: Path) -> None:
    vendors.channels |= {"stable": "v1.37.0+k3s1", "v1.35": "v1.35.12+k3s1"}
    k3s(vendors, "v1.35.12+k3s1")
    row = parsed(vendors, file, "outdated", "k3s", code=1)["components"]["k3s"]
    assert (row["offered"], row["newest"]) == ("v1.35.12+k3s1", "v1.37.0+k3s1")
    row = parsed(vendors, file, "outdated", "k3s", "--within", "minor", code=1)["components"]["k3s"]
    assert row["offered"] == "v1.36.4+k3s1"
    assert "one after the other" in row["why"]
    # Above the stable channel nothing is told.
    vendors.channels["stable"] = "v1.35.12+k3s1"
    row = parsed(vendors, file, "outdated", "k3s", "--within", "minor", code=1)["components"]["k3s"]
    assert (row["offered"], row["newest"]) == ("v1.35.12+k3s1", "v1.35.12+k3s1")


def test_never_a_downgrade(vendors: Vendors, file: Path) -> None:
    text = file.read_text()
    file.write_text(
        text.replace("v1.35.8", "v1.35.20").replace("v3.1.2", "v3.1.9").replace("3.1.2_linux", "3.1.9_linux")
    )
    vendors.versions = {"binderhub": "1.0.0-0.dev.git.3975.hec21488c", "builder_info": {"build_image": IMAGE}}
    vendors.chart("binderhub", "1.0.0-0.dev.git.3975.hec21488c")
    found = parsed(vendors, file, "update", "k3s", "registry", "chart", code=0)
    # K3s's next minor release is newer than the pinned one, but a patch is the most.
    assert states(found) == {"k3s": "beyond", "registry": "ahead", "chart": "ahead"}
    assert "federation follow" in found["components"]["chart"]["why"]
    assert found["written"] is False


def test_drafts_prereleases_candidates_and_other_series_do_not_count(vendors: Vendors, file: Path) -> None:
    buildkit(vendors, "v0.35.0", draft=True)
    buildkit(vendors, "v0.34.0-rc2", prerelease=True)
    buildkit(vendors, "v0.34.0", prerelease=True)
    vendors.release("moby/buildkit", "dockerfile/1.25.0")
    vendors.release("moby/buildkit", "v0.36.0-rc1")  # not marked as one
    assert parsed(vendors, file, "outdated", "buildkit", code=0)["components"]["buildkit"]["newest"] == "v0.33.1"


def test_a_release_without_the_pinned_files_is_passed_over(vendors: Vendors, file: Path) -> None:
    vendors.release("minio/minio", "RELEASE.2025-10-15T17-29-55Z")  # source only
    registry(vendors, "v3.1.3")
    vendors.release("distribution/distribution", "v3.1.4", "registry_3.1.4_linux_amd64.tar.gz")
    found = parsed(vendors, file, "outdated", "minio", "registry", code=1)["components"]
    assert (found["minio"]["state"], found["minio"]["offered"]) == ("beyond", "")
    assert "RELEASE.2025-10-15T17-29-55Z has no file minio.linux-amd64" in found["minio"]["why"]
    assert found["registry"]["offered"] == "v3.1.3"
    assert found["registry"]["why"] == "v3.1.4 has no file registry_3.1.4_linux_arm64.tar.gz"


def test_what_is_announced_but_not_published_yet(vendors: Vendors, file: Path) -> None:
    vendors.channels["v1.35"] = "v1.35.12+k3s1"
    k3s(vendors, "v1.35.12+k3s1", prerelease=True)
    row = parsed(vendors, file, "outdated", "k3s", code=0)["components"]["k3s"]
    assert (row["state"], row["newest"]) == ("beyond", "v1.36.4+k3s1")


def test_what_a_person_has_to_pin_is_behind_and_not_written(vendors: Vendors, file: Path) -> None:
    tag = "RELEASE.2026-12-01T00-00-00Z"
    vendors.release("minio/minio", tag, *(f"minio.linux-{arch}.{tag}" for arch in ("amd64", "arm64")))
    buildkit(vendors, "v0.33.2", shown=False)
    found = parsed(vendors, file, "update", "minio", "buildkit", code=0)
    assert states(found) == {"minio": "hand", "buildkit": "hand"}
    assert "its module has a version of its own" in found["components"]["minio"]["why"]
    assert "shows no digest of buildkit-v0.33.2.linux-amd64.tar.gz" in found["components"]["buildkit"]["why"]
    assert found["written"] is False
    assert parsed(vendors, file, "outdated", "minio", code=1)["behind"] == 1


def test_two_digests_that_differ_are_taken_for_none(vendors: Vendors, file: Path) -> None:
    vendors.channels["v1.35"] = "v1.35.12+k3s1"
    k3s(vendors, "v1.35.12+k3s1")
    place = "/k3s-io/k3s/releases/download/v1.35.12+k3s1/sha256sum-amd64.txt"
    vendors.lists[place] = vendors.lists[place].replace(digest("v1.35.12+k3s1", "k3s"), "f" * 64)
    before = file.read_bytes()
    found = parsed(vendors, file, "update", "k3s", code=1)
    assert states(found) == {"k3s": "unknown"}
    assert f"its vendor says {'f' * 64}" in found["components"]["k3s"]["why"]
    assert file.read_bytes() == before


def test_pages_are_read_as_far_as_something_newer_may_be_on_them(vendors: Vendors, file: Path) -> None:
    vendors.releases["moby/buildkit"].clear()
    for number in range(250):
        buildkit(vendors, f"v0.1.{number}")
    buildkit(vendors, "v0.34.0")
    buildkit(vendors, "v0.33.1")
    for number in range(120):
        vendors.release("moby/buildkit", f"dockerfile/1.{number}.0")
    assert parsed(vendors, file, "outdated", "buildkit", code=1)["components"]["buildkit"]["offered"] == "v0.34.0"
    pages = [path for path in vendors.asked if path.startswith("/api/repos/moby/buildkit")]
    assert len(pages) == 3  # of four: the third has nothing newer


@pytest.mark.parametrize("status", [403, 429])
def test_githubs_limit_is_told_with_its_end_and_not_run_into_again(vendors: Vendors, file: Path, status: int) -> None:
    vendors.reset = int(time.time()) + 1500
    vendors.faults = [("/api/repos/", vendors.limited(status)) for _ in range(4)]
    vendors.remaining = 0
    vendors.versions["builder_info"] = {"build_image": NEXT_IMAGE}
    done = run(vendors, file, "update")
    assert done.exit_code == 1
    until = time.strftime("%H:%M:%S", time.gmtime(vendors.reset))
    assert f"its limit of 60 requests an hour is used up until {until} UTC" in done.stderr.replace("\n", " ")
    assert "set GITHUB_TOKEN" in done.stderr
    # Threads that were under way already may each have asked once.
    assert len([path for path in vendors.asked if path.startswith("/api/repos")]) <= 4
    # What others tell is written all the same.
    assert load_pins(file).images["build"] == NEXT_IMAGE


def test_a_limit_of_seconds_is_waited_for(vendors: Vendors, file: Path) -> None:
    vendors.faults = [("/api/repos/", vendors.limited(429, after=1))]
    assert states(parsed(vendors, file, "outdated", "registry", code=0)) == {"registry": "current"}
    vendors.faults = [("/api/repos/", vendors.limited(403, after=3000))]
    assert states(parsed(vendors, file, "outdated", "registry", code=1)) == {"registry": "unknown"}


def test_a_token_goes_to_githubs_api_and_nowhere_else(
    vendors: Vendors, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    buildkit(vendors, "v0.33.2")
    cni(vendors, "v1.9.2")
    done = run(vendors, file, "outdated", "-o", "json")
    assert done.exit_code == 1
    assert TOKEN not in done.output
    sent = {(path.startswith("/api/repos/"), token) for path, token in vendors.tokens}
    # The stand-in's places are on one host, but for GitHub's API they have other paths.
    assert (True, f"Bearer {TOKEN}") in sent
    assert {token for github, token in sent if github} == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Response(json.dumps({"message": "Bad credentials"}), status=401), "(Bad credentials) -> GITHUB_TOKEN is not"),
        (Response("<html>", status=200), "it is no JSON"),
        (Response("{}", status=200), "it has no list of releases"),
        (Response('[{"tag_name": "v3.1.3"}]', status=200), "v3.1.3 has no list of assets"),
        (Response("[]", headers={"Link": '<http://192.0.2.1/x>; rel="next"'}), "which is another host"),
    ],
)
def test_an_answer_that_is_none(vendors: Vendors, file: Path, fault: Response, says: str) -> None:
    vendors.faults = [("/api/repos/", fault)]
    registry(vendors, "v3.1.3")
    found = parsed(vendors, file, "update", "registry", "cni", code=1)
    assert states(found) == {"cni": "current", "registry": "unknown"} or states(found)["cni"] == "unknown"
    assert says in " ".join(row["why"] for row in found["components"].values())


def test_a_server_in_trouble_is_asked_once_more(vendors: Vendors, file: Path) -> None:
    vendors.faults = [("/api/repos/", Response("busy", status=502))]
    assert states(parsed(vendors, file, "outdated", "registry", code=0)) == {"registry": "current"}


def test_a_feed_that_is_not_there(vendors: Vendors, file: Path) -> None:
    del vendors.releases["distribution/distribution"]
    done = run(vendors, file, "outdated", "registry", "--github", "http://127.0.0.1:9")
    assert done.exit_code == 1
    done = CliRunner().invoke(
        app, ["pins", "outdated", "registry", "--pins", str(file), *vendors.options, "--github", "http://127.0.0.1:9"]
    )
    assert done.exit_code == 1
    assert "not known: registry" in done.stderr
    assert "cannot be reached" in done.stderr


def test_the_primes_chart_and_image_count_whatever_is_newer(vendors: Vendors, file: Path) -> None:
    vendors.versions = {"binderhub": NEXT_CHART, "builder_info": {"build_image": NEXT_IMAGE}}
    found = parsed(vendors, file, "update", "chart", "build-image", "--within", "patch", code=0)
    row = found["components"]["chart"]
    assert (row["offered"], row["newest"], row["by"]) == (NEXT_CHART, LAST_CHART, vendors.url("/prime"))
    assert row["notes"][0]["url"] == "https://github.com/jupyterhub/binderhub/compare/383374de...0123abcd"
    place = load_pins(file).entries["binderhub-chart"].release["any"]
    assert place.url == vendors.url(f"/charts/binderhub-{NEXT_CHART}.tgz")
    assert place.sha256 == digest("binderhub", NEXT_CHART)
    assert load_pins(file).images["build"] == NEXT_IMAGE
    image = found["components"]["build-image"]
    assert image["notes"][0]["url"] == "https://github.com/jupyterhub/repo2docker/compare/97bb4e45a...abcdef012"


def test_a_prime_that_does_not_answer_or_runs_what_is_not_published(vendors: Vendors, file: Path) -> None:
    vendors.versions = {"binderhub": "1.0.0-0.dev.git.4100.h77777777", "builder_info": {}}
    found = parsed(vendors, file, "outdated", "chart", "build-image", code=1)["components"]
    assert "it comes minutes after the image" in found["chart"]["why"]
    assert "has no build image" in found["build-image"]["why"]
    vendors.faults = [("/prime/versions", Response("gone", status=503))]
    found = parsed(vendors, file, "outdated", "chart", "registry", code=1)["components"]
    assert {name: row["state"] for name, row in found.items()} == {"chart": "unknown", "registry": "current"}


def test_without_a_prime_the_vendors_newest_count(vendors: Vendors, file: Path) -> None:
    vendors.tags["jupyterhub/repo2docker"][:0] = [NEXT_IMAGE.rpartition(":")[2], "2026.10.0.dev2-g000000001"]
    command = ["pins", "update", "--pins", str(file), *vendors.options, "--prime", "", "-o", "json"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)["components"]}
    assert (rows["chart"]["offered"], rows["build-image"]["offered"]) == (LAST_CHART, NEXT_IMAGE)
    assert len(rows["build-image"]["notes"]) == 2
    assert not [path for path in vendors.asked if path.startswith("/prime")]


def test_a_file_of_ones_own_gets_the_tables_that_it_lacks_and_keeps_its_own(
    vendors: Vendors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own.toml"
    built_in = tmp_path / "built-in.toml"
    built_in.write_text(vendors.moved(BUILT_IN.read_text(encoding="utf-8")), encoding="utf-8")
    monkeypatch.setattr("binder_node.artifacts.pins.BUILT_IN", built_in)
    own.write_text('# ours\n[k3s] # kept\nversion = "v9"\nfile = { path = "k3s" }\n')
    registry(vendors, "v3.1.3")
    done = run(vendors, own, "update", "k3s", "registry")
    assert done.exit_code == 0, done.stderr
    assert "k3s: it is a file of yours" in done.stderr
    text = own.read_text()
    assert text.startswith('# ours\n[k3s] # kept\nversion = "v9"\nfile = { path = "k3s" }\n')
    found = load_pins(own).entries
    assert found["registry"].version == "v3.1.3"
    assert found["registry"].release["amd64"].member == "registry"
    assert found["registry"].module is not None


def test_the_description_of_a_change_is_markdown(vendors: Vendors, file: Path, tmp_path: Path) -> None:
    registry(vendors, "v3.1.3")
    vendors.release("minio/minio", "RELEASE.2025-10-15T17-29-55Z")
    told = tmp_path / "change.md"
    assert run(vendors, file, "update", "--markdown", str(told)).exit_code == 0
    lines = told.read_text().splitlines()
    assert lines[0] == "Newer versions: registry"
    assert "| registry | `v3.1.2` | `v3.1.3` |" in lines
    link = "https://github.com/distribution/distribution/releases/tag/v3.1.3"
    assert f"- registry: [v3.1.3]({link})" in lines
    assert any(line.startswith("- minio: RELEASE.2025-10-15T17-29-55Z has no file") for line in lines)
