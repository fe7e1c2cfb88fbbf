"""Feeds of pins, and their answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from binder_node.artifacts.feed import limited
from binder_node.artifacts.pins import Pin, load_pins
from binder_node.upgrades.feeds import (
    Charts,
    GitHub,
    charts,
    commit,
    compared,
    feed_of,
    github_page,
    github_tag,
    k3s_releases,
    quay_page,
)

# As https://docs.github.com/rest/releases/releases shows it, without what is not read.
RELEASE: dict[str, Any] = {
    "html_url": "https://github.com/octocat/Hello-World/releases/v1.0.0",
    "tag_name": "v1.0.0",
    "draft": False,
    "prerelease": False,
    "published_at": "2013-02-27T19:35:32Z",
    "assets": [
        {"name": "example.zip", "state": "uploaded", "digest": f"sha256:{'A' * 64}"},
        {"name": "old.zip", "state": "uploaded", "digest": None},
        {"name": "other.zip", "state": "uploaded", "digest": f"sha512:{'0' * 128}"},
        {"name": "half.zip", "state": "open", "digest": None},
    ],
}
# As `helm repo index` writes it.
INDEX = """\
apiVersion: v1
entries:
  binderhub:
  - apiVersion: v2
    created: "2026-10-01T10:00:00.000000000Z"
    dependencies:
    - name: jupyterhub
      version: 9.9.9
    digest: {digest}
    name: binderhub
    sources:
    - https://github.com/jupyterhub/binderhub
    urls:
    - binderhub-1.0.0-0.dev.git.3990.h0123abcd.tgz
    version: 1.0.0-0.dev.git.3990.h0123abcd
  - name: binderhub
    urls: [https://example.org/binderhub-1.0.0-0.dev.git.3983.h383374de.tgz]
    version: '1.0.0-0.dev.git.3983.h383374de'
  - name: binderhub
    urls: [binderhub-1.0.0-0.dev.git.3975.hec21488c.tgz]
    version: 1.0.0-0.dev.git.3975.hec21488c
  - name: binderhub
    urls: [binderhub-0.1.0-fd778a3.tgz]
    version: 0.1.0-fd778a3
  jupyterhub:
  - name: jupyterhub
    urls: [jupyterhub-4.3.5.tgz]
    version: 4.3.5
generated: "2026-10-01T10:00:00Z"
"""
PINNED = "1.0.0-0.dev.git.3983.h383374de"
HUB = Charts("https://jupyterhub.github.io/helm-chart", "binderhub")


def test_everything_that_is_pinned_has_a_feed() -> None:
    found = {name: feed_of(pin) for name, pin in load_pins().entries.items()}
    assert found["k3s-images"] == GitHub("k3s-io/k3s")
    assert found["buildctl"] == GitHub("moby/buildkit")
    assert found["helm"] == GitHub("helm/helm", attached=False)
    assert found["binderhub-chart"] == HUB
    assert None not in found.values()


def test_a_file_of_ones_own_and_a_place_that_tells_nothing_have_none() -> None:
    assert feed_of(Pin.model_validate({"version": "v1", "file": {"path": "k3s"}})) is None
    plain = {"version": "v1", "release": {"amd64": {"url": "https://example.org/tools/v1/k3s"}}}
    assert feed_of(Pin.model_validate(plain)) is None
    assert feed_of(Pin.model_validate({**plain, "feed": "github:a/b"})) == GitHub("a/b", attached=False)
    with pytest.raises(ValueError, match="feed"):
        Pin.model_validate({**plain, "feed": "gitlab:a/b"})


def test_a_release_of_githubs() -> None:
    [found] = github_page(json.dumps([RELEASE, {**RELEASE, "draft": True}, {**RELEASE, "prerelease": True}]))
    assert (found.version, found.notes, found.published) == (
        "v1.0.0",
        "https://github.com/octocat/Hello-World/releases/v1.0.0",
        "2013-02-27T19:35:32Z",
    )
    # A digest of another kind is none; a file that is not wholly there yet is not there.
    assert found.files == {"example.zip": "a" * 64, "old.zip": "", "other.zip": ""}
    assert github_tag(json.dumps(RELEASE)) == found
    assert github_tag(json.dumps({**RELEASE, "prerelease": True})) is None


@pytest.mark.parametrize("answer", ["{}", "[1]", '[{"name": "x"}]', '[{"tag_name": "v1", "assets": 1}]', "<html>", ""])
def test_answers_of_another_form(answer: str) -> None:
    with pytest.raises(ValueError):
        github_page(answer)
    with pytest.raises(ValueError):
        quay_page(answer)
    with pytest.raises(ValueError):
        k3s_releases(answer)
    with pytest.raises(ValueError):
        charts(answer, HUB, PINNED)


def test_k3ss_channels_up_to_the_stable_one() -> None:
    latest = {
        "stable": "v1.36.4+k3s1",
        "latest": "v1.37.0+k3s1",
        "testing": "v1.37.1-rc1+k3s1",
        "v1.35": "v1.35.10+k3s1",
        "v1.36": "v1.36.5+k3s1",
        "v1.36-testing": "v1.36.6-rc1+k3s1",
        "v1.37": "v1.37.0+k3s1",
        "v1.9": "v1.9.0+k3s1",
    }
    answer = json.dumps({"data": [{"id": name, "latest": version} for name, version in latest.items()]})
    assert [release.version for release in k3s_releases(answer)] == ["v1.9.0+k3s1", "v1.35.10+k3s1", "v1.36.5+k3s1"]
    with pytest.raises(ValueError, match="channel stable"):
        k3s_releases(json.dumps({"data": [{"id": "v1.35", "latest": "v1.35.10+k3s1"}]}))


def test_charts_from_the_pinned_one_on() -> None:
    newer, same = charts(INDEX.format(digest="b" * 64), HUB, PINNED)
    file = "binderhub-1.0.0-0.dev.git.3990.h0123abcd.tgz"
    assert (newer.version, newer.url) == ("1.0.0-0.dev.git.3990.h0123abcd", f"{HUB.url}/{file}")
    assert newer.files == {file: "b" * 64}
    assert newer.notes == "https://github.com/jupyterhub/binderhub/compare/383374de...0123abcd"
    assert (same.version, same.url.partition("/binderhub-")[0]) == (PINNED, "https://example.org")
    assert charts(INDEX, Charts(HUB.url, "jupyterhub"), "4.3.5")[0].version == "4.3.5"
    with pytest.raises(ValueError, match="it has no chart cryptnono"):
        charts(INDEX, Charts(HUB.url, "cryptnono"), PINNED)


def test_tags_and_whether_there_are_more() -> None:
    answer = {"tags": [{"name": "main", "last_modified": "Mon, 02 Nov 2026 10:00:00 -0000"}], "has_additional": True}
    found, more = quay_page(json.dumps(answer))
    assert ([release.version for release in found], more) == (["main"], True)
    assert quay_page('{"tags": [], "page": 1, "has_additional": false}') == ([], False)


def test_where_two_builds_are_compared() -> None:
    assert commit("2026.4.1.dev44-g97bb4e45a") == "97bb4e45a"
    assert compared("https://github.com/a/b.git", PINNED, "1.0.0") == "https://github.com/a/b.git"
    assert compared("https://example.org", PINNED, PINNED) == "https://example.org"


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (200, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1600"}, None),
        (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1600"}, 600),
        (429, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "900"}, 0),
        (403, {"retry-after": "30", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1600"}, 30),
        (429, {}, 60),
        (403, {"x-ratelimit-remaining": "12", "x-ratelimit-reset": "1600"}, None),
        (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "soon"}, None),
    ],
)
def test_githubs_limits(status: int, headers: dict[str, str], seconds: float | None) -> None:
    assert limited(status, headers, 1000.0) == seconds
