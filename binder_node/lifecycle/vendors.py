"""How each pinned component stands, by its vendor's feed and by what the federation's prime runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from binder_node.artifacts.download import Web
from binder_node.artifacts.feed import Feeds
from binder_node.artifacts.pins import Pin, Pins
from binder_node.artifacts.recipe import Download
from binder_node.binder.client import Binder
from binder_node.errors import StepError
from binder_node.events import Event, Reporter
from binder_node.federation.follow import build_image, chart_of, same_commit
from binder_node.secrets.masked import Masked
from binder_node.upgrades import feeds as told
from binder_node.upgrades import numbers
from binder_node.upgrades.feeds import K3S, Charts, GitHub, Release
from binder_node.upgrades.numbers import Step
from binder_node.upgrades.offers import CHART, IMAGE, Group, Row, choose, limit, missing, moved, told_by

T = TypeVar("T")
STAGE = "pins"
# Pages of tags; a tag that is pinned is among the newest few hundred.
PAGES = 10


@dataclass(frozen=True, slots=True)
class Places:
    """URLs of feeds. ``prime`` is the BinderHub whose chart and build image count; empty: the vendors' newest.

    ``token`` is one of GitHub's: without it, 60 requests an hour are all there is.
    """

    prime: str
    github: str
    channels: str
    quay: str
    token: Masked | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A component's row, and what is to be written for it."""

    row: Row
    entries: Mapping[str, Pin]
    images: Mapping[str, str]


def prime_versions(places: Places, wanted: Iterable[Group]) -> Mapping[str, object] | StepError:
    """The prime's /versions where one of ``wanted`` follows them; why they are not known, for those alone to fail."""
    if not places.prime or not any(group.name == IMAGE or CHART in group.pins for group in wanted):
        return {}
    try:
        with Binder(places.prime) as prime:
            return prime.versions()
    except StepError as error:
        return error


@dataclass(frozen=True, slots=True)
class Looking:
    """One look at all feeds, by several threads; ``prime`` is what :func:`prime_versions` gave."""

    pins: Pins
    within: Step | None
    places: Places
    feeds: Feeds
    web: Web
    report: Reporter
    prime: Mapping[str, object] | StepError

    def at(self, group: Group) -> Found:
        """How one component stands."""
        row = Row(group.name, group.pins, group.version, by=self._by(group))
        try:
            return self._found(group, row)
        except StepError as error:
            self.report(Event("warn", STAGE, f"{group.name}: {error}", {"name": group.name}))
            return Found(replace(row, state="unknown", why=str(error)), {}, {})

    def _found(self, group: Group, row: Row) -> Found:
        if group.name == IMAGE:
            row = replace(self._image(group), by=row.by)
            return Found(row, {}, {"build": row.offered} if row.state == "behind" else {})
        looked, release = self._looked(group)
        row = replace(looked, by=row.by)
        if release is None or row.state != "behind":
            return Found(row, {}, {})
        try:
            return Found(row, self._sealed(moved(self.pins.entries, group, release), release), {})
        except ValueError as error:
            return Found(replace(row, state="hand", why=str(error)), {}, {})

    def _looked(self, group: Group) -> tuple[Row, Release | None]:
        most = limit(self.within, group)
        match group.feed:
            case GitHub(repository=repository) if repository == K3S:
                return self._k3s(group, most)
            case GitHub(repository=repository):
                found = self._github(repository, group.version)
                return choose(group, found, most, lambda release: missing(self.pins.entries, group, release))
            case Charts():
                return self._chart(group, group.feed, most)
            case _:
                why = "it is a file of yours, or nobody tells of its releases"
                return Row(group.name, group.pins, group.version, state="own", why=why), None

    def _github(self, repository: str, pinned: str) -> list[Release]:
        """Releases from the newest made on, until a page has none that is newer than the pinned one."""
        releases: list[Release] = []
        for text, url in self.feeds.github_pages(repository):
            page = _read(url, text, told.github_page)
            releases += page
            if _past(page, pinned):
                break
        return releases

    def _k3s(self, group: Group, most: Step) -> tuple[Row, Release | None]:
        """What its channels announce, if its files are there."""
        url, whole = self.places.channels, dict[str, Release]()
        text = self.feeds.get("look for K3s's releases", url).text
        releases = _read(url, text, told.k3s_releases)

        def lacks(release: Release) -> str:
            answer, where = self.feeds.github_tag(K3S, release.version)
            found = _read(where, answer, told.github_tag)
            if found is None:
                return "is not published yet"
            whole[release.version] = found
            return missing(self.pins.entries, group, found)

        row, release = choose(group, releases, most, lacks)
        notes = tuple(replace(note, url=whole[note.version].notes) for note in row.notes if note.version in whole)
        return replace(row, notes=notes), release and whole[release.version]

    def _chart(self, group: Group, feed: Charts, most: Step) -> tuple[Row, Release | None]:
        url = f"{feed.url}/index.yaml"
        index = self.feeds.get(f"look for charts of {feed.name}", url).text
        releases = _read(url, index, lambda text: told.charts(text, feed, group.version))
        row, release = choose(group, releases, most, lambda _: "")
        if CHART in group.pins and self.places.prime:
            return self._prime_chart(row, index, feed, releases)
        return row, release

    def _prime_chart(self, row: Row, index: str, feed: Charts, releases: list[Release]) -> tuple[Row, Release | None]:
        """The chart that the prime runs, whatever is newer: a member with another one is out."""
        wanted = str(self._versions().get("binderhub", ""))
        if same_commit(row.pinned, wanted):
            return told_by(row, row.pinned, by=self.places.prime), None
        chart = chart_of(index, feed.url, wanted)
        if chart is None:
            reason = f"{feed.url}/index.yaml has none of BinderHub {wanted}, which {self.places.prime} runs"
            raise StepError("here", "look for the prime's chart", reason, "it comes minutes after the image")
        note = next((release.notes for release in releases if release.version == chart.version), "")
        found = Release(chart.version, note, files={chart.url.rpartition("/")[2]: chart.digest}, url=chart.url)
        return told_by(row, chart.version, by=self.places.prime, note=note), found

    def _image(self, group: Group) -> Row:
        name, _, tag = group.version.rpartition(":")
        source = f"https://github.com/{name.partition('/')[2]}"
        row = Row(group.name, (), group.version)
        if self.places.prime:
            image = build_image(self._versions())
            if not image:
                reason = f"{self.places.prime}/versions has no build image"
                raise StepError("here", "look for the prime's build image", reason, "is that a BinderHub? see --prime")
            note = told.compared(source, tag, image.rpartition(":")[2])
            return told_by(row, image, by=self.places.prime, note=note)
        if not name.startswith("quay.io/"):
            return replace(row, state="own", why=f"nobody tells of the tags of {name}")
        one = replace(group, version=tag)
        row, _ = choose(one, self._quay(name.removeprefix("quay.io/"), tag), limit(self.within, one), lambda _: "")
        notes = tuple(replace(note, url=told.compared(source, tag, note.version)) for note in row.notes)
        image = f"{name}:{row.offered}" if row.offered else ""
        return replace(row, pinned=group.version, offered=image, notes=notes)

    def _quay(self, repository: str, pinned: str) -> list[Release]:
        """Tags, the newest first, as :meth:`_github` reads them."""
        releases, page, more = list[Release](), 0, True
        while more:
            page += 1
            url = (
                f"{self.places.quay.rstrip('/')}/api/v1/repository/{repository}/tag/"
                f"?onlyActiveTags=true&limit=100&page={page}"
            )
            text = self.feeds.get(f"look for tags of {repository}", url).text
            found, more = _read(url, text, told.quay_page)
            releases += found
            more = more and not _past(found, pinned) and page < PAGES
        return releases

    def _sealed(self, pins: Mapping[str, Pin], release: Release) -> dict[str, Pin]:
        """The pins with the vendor's digests: of its checksum list where there is one, else as the release shows them.

        Raises:
            ValueError: there is neither.
            StepError: the list does not have the file, or the two differ.
        """
        known: dict[str, str] = {}
        sealed = {}
        for name, pin in pins.items():
            places = {}
            for platform, place in pin.release.items():
                download = Download(place.url, None, place.checksums)
                if place.url not in known:
                    known[place.url] = self._digest(download, (release.files or {}).get(download.file, ""))
                places[platform] = place.model_copy(update={"sha256": known[place.url]})
            sealed[name] = pin.model_copy(update={"release": places})
        return sealed

    def _digest(self, download: Download, shown: str) -> str:
        if download.checksums is None:
            if not shown:
                raise ValueError(f"the vendor shows no digest of {download.file}: write it by hand, with sha256")
            return shown
        listed = self.web.digest_of(download)
        if shown and shown != listed:
            reason = f"its vendor says {listed} in {download.checksums}, and {shown} in the release"
            remedy = "do not take it: one of the two was changed; ask the vendor"
            raise StepError("here", f"look up the digest of {download.file}", reason, remedy)
        return listed

    def _versions(self) -> Mapping[str, object]:
        if isinstance(self.prime, StepError):
            raise self.prime
        return self.prime

    def _by(self, group: Group) -> str:
        match group.feed:
            case GitHub(repository=repository) if repository == K3S:
                return self.places.channels
            case GitHub(repository=repository):
                return f"https://github.com/{repository}/releases"
            case Charts():
                return self.places.prime if CHART in group.pins and self.places.prime else group.feed.url
        return (self.places.prime or self.places.quay) if group.name == IMAGE else ""


def _past(page: Iterable[Release], pinned: str) -> bool:
    """Whether a page is of releases made before the pinned one: none of them is newer."""
    own = numbers.read(pinned)
    read = [found for release in page if (found := numbers.read(release.version)) is not None]
    ours = [found for found in read if own is not None and found.family == own.family]
    return own is None or (bool(ours) and max(ours) <= own)


def _read(url: str, text: str, parse: Callable[[str], T]) -> T:
    """What a feed's answer says. Raises StepError for one of another form."""
    try:
        return parse(text)
    except ValueError as error:
        raise StepError(
            "here", "read a feed", f"{url}: {error}", "is that the feed? see --help for its option"
        ) from None
