"""Which newer version is offered, how a pins file says it, and in which words."""

from __future__ import annotations

import dataclasses

import pytest

from binder_node.artifacts.pins import load_pins
from binder_node.errors import InputError
from binder_node.upgrades.feeds import GitHub, Release
from binder_node.upgrades.numbers import Step
from binder_node.upgrades.offers import Group, Row, choose, groups, limit, missing, moved, told_by
from binder_node.upgrades.words import markdown, sentence
from binder_node.upgrades.writing import rewritten

PINS = load_pins()
REGISTRY = Group("registry", ("registry",), "v3.1.2", GitHub("distribution/distribution"))
K3S = Group("k3s", ("k3s", "k3s-images"), "v1.35.8+k3s1", GitHub("k3s-io/k3s"))


def told(*versions: str) -> list[Release]:
    return [Release(version, f"https://example.org/{version}") for version in versions]


def offered(group: Group, *versions: str, most: Step = "minor") -> tuple[str, str]:
    row, release = choose(group, told(*versions), most, lambda _: "")
    assert (release.version if release else "") == row.offered
    return row.offered, row.state


def test_pins_that_are_released_together_are_one_component() -> None:
    found = {group.name: group.pins for group in groups(PINS)}
    assert found == {
        "k3s": ("k3s", "k3s-images"),
        "buildkit": ("buildkitd", "buildctl"),
        "cni": ("cni-bridge", "cni-host-local", "cni-loopback"),
        "registry": ("registry",),
        "minio": ("minio",),
        "age": ("age",),
        "prometheus": ("prometheus",),
        "alertmanager": ("alertmanager",),
        "node-exporter": ("node-exporter",),
        "mc": ("mc",),
        "helm": ("helm",),
        "chart": ("binderhub-chart",),
        "cryptnono-chart": ("cryptnono-chart",),
        "build-image": (),
    }


def test_a_component_is_named_by_its_name_or_a_pins() -> None:
    assert [group.name for group in groups(PINS, ["binderhub-chart", "k3s", "buildctl"])] == [
        "k3s",
        "buildkit",
        "chart",
    ]
    with pytest.raises(InputError, match=r"'cri-o' is not pinned; one of k3s, .*build-image"):
        groups(PINS, ["cri-o", "k3s"])


def test_two_versions_of_one_vendor_are_two_components() -> None:
    other = PINS.entries["buildctl"].model_copy(update={"version": "v0.32.0"})
    names = [group.name for group in groups(dataclasses.replace(PINS, entries={**PINS.entries, "buildctl": other}))]
    assert names[1:4] == ["buildkit", "buildctl", "cni"]


@pytest.mark.parametrize(
    ("versions", "most", "wanted"),
    [
        (["v3.1.2"], "minor", ("", "current")),
        (["v3.1.1", "v2.9.9"], "minor", ("", "ahead")),
        (["v3.1.3", "v3.1.2", "v3.1.10"], "patch", ("v3.1.10", "behind")),
        (["v3.2.0", "v3.1.3"], "patch", ("v3.1.3", "behind")),
        (["v3.2.0", "v3.1.3"], "minor", ("v3.2.0", "behind")),
        (["v4.0.0"], "minor", ("", "beyond")),
        (["v3.2.0-rc1", "latest"], "minor", ("", "unknown")),
        ([], "minor", ("", "unknown")),
    ],
)
def test_the_newest_within_the_limit(versions: list[str], most: Step, wanted: tuple[str, str]) -> None:
    assert offered(REGISTRY, *versions, most=most) == wanted


def test_a_release_that_lacks_something_is_passed_over_and_said() -> None:
    releases = told("v3.1.3", "v3.1.4")
    row, release = choose(REGISTRY, releases, "minor", lambda it: "is broken" if it.version == "v3.1.4" else "")
    assert (row.offered, row.why) == ("v3.1.3", "v3.1.4 is broken")
    assert release == releases[0]
    row, release = choose(REGISTRY, releases, "minor", lambda _: "is broken")
    assert (row.offered, row.state, row.why, release) == ("", "beyond", "v3.1.4 is broken", None)


def test_k3s_takes_patches_unless_told_and_never_skips_a_minor_release() -> None:
    channels = ("v1.34.9+k3s1", "v1.35.12+k3s1", "v1.36.5+k3s1", "v1.37.0+k3s1")
    assert offered(K3S, *channels, most=limit(None, K3S)) == ("v1.35.12+k3s1", "behind")
    assert offered(K3S, *channels, most=limit("minor", K3S)) == ("v1.36.5+k3s1", "behind")
    assert offered(K3S, "v1.35.8+k3s1", "v1.37.0+k3s1") == ("", "beyond")
    assert limit(None, REGISTRY) == "minor"
    assert limit("patch", REGISTRY) == "patch"


def test_builds_between_releases_are_for_who_is_at_one() -> None:
    chart = Group("chart", ("binderhub-chart",), "1.0.0-0.dev.git.3983.h383374de", None)
    between = "1.0.0-0.dev.git.3990.h0123abcd"
    assert offered(chart, between) == (between, "behind")
    assert offered(chart, between, "1.0.0") == ("1.0.0", "behind")
    assert offered(chart, between, most="patch") == ("", "beyond")
    released = dataclasses.replace(chart, version="1.0.0")
    assert offered(released, "1.0.1-0.dev.git.1.h0123abcd", "1.0.0") == ("", "current")


def test_files_that_a_release_lacks() -> None:
    [minio] = groups(PINS, ["minio"])
    tag = "RELEASE.2026-01-01T00-00-00Z"
    files = {f"minio.linux-{arch}.{tag}": "" for arch in ("amd64", "arm64")}
    assert missing(PINS.entries, minio, Release(tag, files=files)) == ""
    assert missing(PINS.entries, minio, Release(tag, files={})).startswith(f"has no file minio.linux-amd64.{tag}, ")
    assert missing(PINS.entries, minio, Release(tag)) == ""  # nobody knows yet
    [helm] = groups(PINS, ["helm"])
    assert missing(PINS.entries, helm, Release("v4.4.0", files={})) == ""  # its files lie elsewhere


def test_what_another_runs_is_offered_but_nothing_older() -> None:
    row = Row("chart", ("binderhub-chart",), "1.0.0-0.dev.git.3983.h383374de", newest="1.0.0")
    newer = told_by(row, "1.0.0-0.dev.git.3990.h0123abcd", by="https://prime", note="https://notes")
    assert (newer.state, newer.offered, newer.newest, newer.by) == ("behind", newer.offered, "1.0.0", "https://prime")
    assert [note.url for note in newer.notes] == ["https://notes"]
    assert told_by(row, row.pinned, by="it").state == "current"
    assert told_by(row, "1.0.0-0.dev.git.3975.hec21488c", by="it").state == "ahead"
    image = Row("build-image", (), "quay.io/jupyterhub/repo2docker:2026.4.1")
    assert told_by(image, "ghcr.io/jupyterhub/repo2docker:2026.5.0", by="it").state == "behind"
    odd = told_by(image, "quay.io/jupyterhub/repo2docker:main", by="it")
    assert (odd.state, odd.why) == ("hand", "it has quay.io/jupyterhub/repo2docker:main, which cannot be compared "
                                    "with what is pinned")  # fmt: skip


OWN = """\
# Ours.
[images]   # the prime's
build = "quay.io/a/b:2026.4.1"  # look here

[registry]
# why
version = "v3.1.2" # as tested
needed = "node"

[registry.release.amd64]
url = "https://github.com/distribution/distribution/releases/download/v3.1.2/registry_3.1.2_linux_amd64.tar.gz"
member = "registry"   # in the archive

[registry.module]
module = "github.com/distribution/distribution/v3"
version = "v3.1.2"
package = "github.com/distribution/distribution/v3/cmd/registry"
ldflags = [
  "-X", "a.b=v3.1.2",  # ours
]
"""


def test_a_file_keeps_all_that_is_not_meant() -> None:
    pin = PINS.entries["registry"]
    own = pin.model_copy(
        update={
            "release": {"amd64": pin.release["amd64"].model_copy(update={"sha256": None})},
            "module": pin.module and pin.module.model_copy(update={"ldflags": ("-X", "a.b=v3.1.2")}),
        }
    )
    new = moved({"registry": own}, REGISTRY, Release("v3.1.20"))["registry"]
    sealed = new.model_copy(update={"release": {"amd64": new.release["amd64"].model_copy(update={"sha256": "b" * 64})}})
    text = rewritten(OWN, {"registry": sealed}, {"build": "quay.io/a/b:2026.5.0"})
    wanted = OWN.replace("2026.4.1", "2026.5.0").replace("3.1.2", "3.1.20")
    assert [line for line in text.splitlines() if "sha256" not in line] == wanted.splitlines()
    assert f'sha256 = "{"b" * 64}"' in text
    assert rewritten(text, {"registry": sealed}, {}) == text


def test_a_file_that_is_empty_gets_whole_tables() -> None:
    new = moved(PINS.entries, REGISTRY, Release("v3.1.20"))
    text = rewritten("", new, {"build": "quay.io/a/b:1"})
    assert 'build = "quay.io/a/b:1"' in text
    assert 'member = "registry"' in text
    assert 'version = "v3.1.20"' in text


def test_words() -> None:
    rows = [
        Row("registry", ("registry",), "v3.1.2", "v3.1.3", state="behind"),
        Row("build-image", (), "quay.io/a/b:1", "quay.io/a/b:2", state="hand", why="odd"),
        Row("age", ("age",), "v1.2.1", state="unknown", why="no answer"),
    ]
    assert sentence(rows, "pins.toml", written=False) == (
        "registry v3.1.2 -> v3.1.3, build-image 1 -> 2; not known: age"
    )
    assert "then `binder-node upgrade NODE`" in sentence(rows, "pins.toml", written=True)
    assert sentence([], "pins.toml", written=False) == "nothing is behind"
    text = markdown(rows, "pins.toml")
    assert text.startswith("Newer versions: registry\n\n|")
    assert text.index("Not in this change") < text.index("- build-image: odd") < text.index("- age: no answer")
    assert markdown([], "pins.toml") == "No newer versions\n\n"
