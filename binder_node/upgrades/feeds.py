"""Vendors' feeds of releases: which one tells of a pin, and what their answers say. Pure.

What each answers, and where that is written, is in docs/reference/feeds.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from binder_node import chartindex
from binder_node.artifacts.pins import Pin
from binder_node.upgrades import numbers
from binder_node.upgrades.releases import latest_by_channel, number

# K3s's releases are announced by its channels; what lies at GitHub may be a release that was taken back.
K3S = "k3s-io/k3s"
# GitHub's: a file that is still being uploaded has another state.
THERE = "uploaded"


@dataclass(frozen=True, slots=True)
class GitHub:
    """Releases of ``OWNER/NAME`` at GitHub. ``attached``: the pinned files are files of the release itself."""

    repository: str
    attached: bool = True


@dataclass(frozen=True, slots=True)
class Charts:
    """The chart ``name`` of the Helm repository at ``url``."""

    url: str
    name: str


Feed = GitHub | Charts


@dataclass(frozen=True, slots=True)
class Release:
    """``notes``: where people read what has changed; ``published`` as the vendor writes it, empty where not told.

    ``files`` are those of the release, with the SHA-256 that the vendor shows (empty: none); None: not known yet.
    ``url`` is the one file's, where it does not follow from the pin.
    """

    version: str
    notes: str = ""
    published: str = ""
    files: Mapping[str, str] | None = field(default=None, hash=False)
    url: str = ""


def feed_of(pin: Pin) -> Feed | None:
    """Where newer versions of a pin are told: its ``feed``, else by where its files lie; None: nowhere.

    A mirror that keeps GitHub's paths is taken for GitHub: what is new is told there.
    """
    if pin.file is not None or not pin.release:
        return None
    url = next(iter(pin.release.values())).url
    parts = PurePosixPath(unquote(urlsplit(url).path)).parts
    if pin.feed:
        return GitHub(pin.feed.removeprefix("github:"), attached=parts[3:5] == ("releases", "download"))
    if pin.kind == "chart":
        folder, _, file = url.rpartition("/")
        ending = f"-{pin.version}.tgz"
        return Charts(folder, file.removesuffix(ending)) if file.endswith(ending) else None
    return GitHub("/".join(parts[1:3])) if parts[3:5] == ("releases", "download") and len(parts) > 6 else None


def github_page(text: str) -> list[Release]:
    """Releases on one page of GitHub's list, drafts and prereleases left out.

    Raises:
        ValueError: the answer has another form.
    """
    answer = _parsed(text)
    if not isinstance(answer, list):
        raise ValueError("it has no list of releases")
    return [release for row in answer if (release := _github_release(row)) is not None]


def github_tag(text: str) -> Release | None:
    """One release as GitHub shows it by its tag; None for a draft or a prerelease.

    Raises:
        ValueError: the answer has another form.
    """
    return _github_release(_parsed(text))


def _github_release(row: Any) -> Release | None:
    if not isinstance(row, dict) or not isinstance(row.get("tag_name"), str):
        raise ValueError("it has a release without tag_name")
    if row.get("draft") or row.get("prerelease"):
        return None
    rows = row.get("assets")
    if not isinstance(rows, list) or not all(isinstance(each, dict) for each in rows):
        raise ValueError(f"its release {row['tag_name']} has no list of assets")
    files = {str(each.get("name")): _sha256(each.get("digest")) for each in rows if each.get("state", THERE) == THERE}
    return Release(row["tag_name"], str(row.get("html_url") or ""), str(row.get("published_at") or ""), files)


def _sha256(digest: Any) -> str:
    """GitHub writes ``sha256:...``; files from before June 2025 have null."""
    kind, _, value = str(digest or "").partition(":")
    return value.lower() if kind == "sha256" and len(value) == 64 else ""


def k3s_releases(channels: str) -> list[Release]:
    """The newest release of each minor one up to that of the channel ``stable``, by K3s's list of channels.

    Raises:
        ValueError: the answer has another form, or no stable release.
    """
    latest = latest_by_channel(channels)
    stable = number(latest.get("stable", ""))
    if stable is None:
        raise ValueError("it has no release in a channel stable")
    found = [(channel, own) for channel, version in latest.items() if (own := number(version)) is not None]
    minors = [own for channel, own in found if channel == f"v{own.major}.{own.minor}" and own[:2] <= stable[:2]]
    return [Release(f"v{own.major}.{own.minor}.{own.patch}+k3s{own.build}") for own in sorted(minors)]


def charts(index: str, feed: Charts, pinned: str) -> list[Release]:
    """The chart's releases from ``pinned`` on, by its repository's index.

    Raises:
        ValueError: the index has no such chart at all, or the pinned version has no number.
    """
    own = numbers.read(pinned)
    if own is None:
        raise ValueError(f"{pinned} is no release's number")
    if f"name: {feed.name}\n" not in index:
        raise ValueError(f"it has no chart {feed.name}")

    def since(entry: str) -> bool:
        other = numbers.read(chartindex.line(entry, "version"))
        return other is not None and other.family == own.family and other >= own

    return [_chart(entry, feed, pinned) for entry in chartindex.charts(index, feed.name, since)]


def _chart(entry: Mapping[str, Any], feed: Charts, pinned: str) -> Release:
    url = chartindex.address(dict(entry), feed.url)
    sources = entry.get("sources") or [entry.get("home") or ""]
    files = {url.rpartition("/")[2]: str(entry.get("digest") or "")}
    version = str(entry["version"])
    return Release(version, compared(str(sources[0]), pinned, version), str(entry.get("created") or ""), files, url)


def quay_page(text: str) -> tuple[list[Release], bool]:
    """Tags on one page of Quay's list, and whether there are more pages.

    Raises:
        ValueError: the answer has another form.
    """
    answer = _parsed(text)
    rows = answer.get("tags") if isinstance(answer, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("it has no list of tags")
    found = [Release(str(row.get("name")), published=str(row.get("last_modified") or "")) for row in rows]
    return found, bool(answer.get("has_additional"))


def compared(source: str, old: str, new: str) -> str:
    """Where a repository at GitHub shows what lies between two builds; ``source`` itself where they name no commits."""
    commits = [commit(old), commit(new)]
    base = source.rstrip("/").removesuffix(".git")
    if not base.startswith("https://github.com/") or not all(commits):
        return source
    return f"{base}/compare/{commits[0]}...{commits[1]}"


def commit(version: str) -> str:
    """The commit that a build between two releases is named after; empty where there is none.

    >>> commit("1.0.0-0.dev.git.3983.h383374de"), commit("2026.4.1.dev44-g97bb4e45a"), commit("v0.33.1")
    ('383374de', '97bb4e45a', '')
    """
    own = numbers.read(version)
    if own is None or not own.between:
        return ""
    mark = version.replace("-", ".").rpartition(".")[2]
    return mark[1:] if mark[0] in "gh" else ""


def _parsed(text: str) -> Any:
    """JSON. Raises ValueError for what is none."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"it is no JSON: {error}") from None
