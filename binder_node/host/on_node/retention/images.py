"""What of a registry's bucket nobody uses: decided from names, times and manifests. Pure.

Names are those of CNCF Distribution's storage (its registry/storage/paths.go), times are seconds since 1970.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

ROOT = "docker/registry/v2/"
BLOBS, REPOSITORIES = f"{ROOT}blobs/sha256/", f"{ROOT}repositories/"
ALGORITHM = "sha256:"
# What must go before what: cut anywhere, nothing is left that names something which is gone.
ORDER = ("/_manifests/tags/", "/_manifests/revisions/", "/_layers/", "/_uploads/", BLOBS)


@dataclass
class Tag:
    """``digests`` are those that it ever had, ``pushed`` is when it was written last; 0: half of it is there."""

    digests: set[str] = field(default_factory=set)
    pushed: float = 0.0


@dataclass
class Repository:
    """One repository's names in the bucket with their times. Digests are without ``sha256:``."""

    name: str
    keys: dict[str, float] = field(default_factory=dict)
    tags: dict[str, Tag] = field(default_factory=dict)
    revisions: dict[str, float] = field(default_factory=dict)

    def add(self, key: str, time: float) -> None:
        """One more name of this repository."""
        self.keys[key] = time
        words = key[len(REPOSITORIES) + len(self.name) + 1 :].split("/")
        if words[:2] == ["_manifests", "tags"] and len(words) > 3:
            tag = self.tags.setdefault(words[2], Tag())
            if words[3:] == ["current", "link"]:
                tag.pushed = time
            elif words[3:5] == ["index", "sha256"] and words[6:] == ["link"]:
                tag.digests.add(words[5])
        elif words[:3] == ["_manifests", "revisions", "sha256"] and words[4:] == ["link"]:
            self.revisions[words[3]] = time


def repository_of(key: str) -> str:
    """The repository of a name below ``repositories/``; no part of one begins with an underscore.

    >>> repository_of(REPOSITORIES + "binder/a/_manifests/tags/1/current/link")
    'binder/a'
    """
    return key[len(REPOSITORIES) :].partition("/_")[0]


def data(digest: str) -> str:
    """Where a blob's bytes are."""
    return f"{BLOBS}{digest[:2]}/{digest}/data"


def tag_folder(repository: str, tag: str) -> str:
    return f"{REPOSITORIES}{repository}/_manifests/tags/{tag}/"


def current(repository: str, tag: str) -> str:
    """Where it stands what a tag means now."""
    return f"{tag_folder(repository, tag)}current/link"


def links(repository: str, digests: Iterable[str]) -> Iterator[str]:
    """What a repository needs so that it has manifests and layers of these digests."""
    for digest in digests:
        yield f"{REPOSITORIES}{repository}/_manifests/revisions/sha256/{digest}/link"
        yield f"{REPOSITORIES}{repository}/_layers/sha256/{digest}/link"


def references(manifest: bytes) -> tuple[set[str], set[str]]:
    """Digests of blobs and of further manifests that one names. Raises ValueError where it is no manifest.

    >>> references(b'{"config": {"digest": "sha256:c"}, "layers": [{"digest": "sha256:l"}]}')[0] == {"c", "l"}
    True
    """
    found = json.loads(manifest)
    if not isinstance(found, dict):
        raise ValueError("it is no manifest")
    blobs = {_digest(one) for one in [found.get("config"), *found.get("layers", []), *found.get("blobs", [])]}
    return blobs - {""}, {_digest(one) for one in found.get("manifests", [])} - {""}


def _digest(descriptor: Any) -> str:
    """Empty for what lies elsewhere (``urls``)."""
    here = isinstance(descriptor, dict) and not descriptor.get("urls")
    said = str(descriptor.get("digest", "")) if here else ""
    return said[len(ALGORITHM) :] if said.startswith(ALGORITHM) else ""


# --- who used what -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """One line of the access log that is about a manifest: ``reference`` is a tag, or a digest with its algorithm."""

    method: str
    repository: str
    reference: str
    status: int

    @property
    def used(self) -> bool:
        """Somebody has the image by it, or pushed it."""
        return self.status in (200, 201)

    @property
    def name(self) -> str:
        """``repository:tag``, or ``repository@digest``."""
        return f"{self.repository}{'@' if self.reference.startswith(ALGORITHM) else ':'}{self.reference}"


def request_of(line: str) -> Request | None:
    """What a line of the access log (Apache's combined form) says of a manifest; None for another one.

    >>> request_of('10.42.0.5 - - [21/Nov/2026:22:30:00 +0000] "GET /v2/binder/a/manifests/1 HTTP/1.1" 200 7 "" "x"')
    Request(method='GET', repository='binder/a', reference='1', status=200)
    """
    words = line.split('"')
    if len(words) < 3 or " - " not in words[0]:
        return None
    asked, answered = words[1].split(" "), words[2].split()
    if len(asked) != 3 or asked[0] not in ("GET", "HEAD", "PUT") or not answered or not answered[0].isdigit():
        return None
    repository, manifests, reference = asked[1].partition("?")[0].rpartition("/manifests/")
    if not manifests or not repository.startswith("/v2/"):
        return None
    return Request(asked[0], unquote(repository[len("/v2/") :]), unquote(reference), int(answered[0]))


def covered(records: Iterable[Mapping[str, Any]], now: float, slack: float) -> float:
    """Since when every use is known: back from ``now`` over the records' times, gaps of ``slack`` and less included."""
    since = now
    for record in sorted(records, key=lambda one: -float(one["noted"])):
        if float(record["noted"]) >= since - slack:
            since = min(since, float(record["since"]))
    return since


def merged(records: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The last use of each image that any machine knows."""
    found: dict[str, float] = {}
    for record in records:
        for name, time in record["uses"].items():
            found[name] = max(found.get(name, 0.0), float(time))
    return found


def last_use(repository: Repository, tag: str, uses: Mapping[str, float], since: float) -> float:
    """When an image was pushed or used last; before ``since`` nobody knows, so that it counts as a use."""
    about = repository.tags[tag]
    by_digest = (uses.get(f"{repository.name}@{ALGORITHM}{digest}", 0.0) for digest in about.digests)
    return max(about.pushed, since, uses.get(f"{repository.name}:{tag}", 0.0), *by_digest)


def fits(kept: Mapping[str, tuple[float, set[str]]], sizes: Mapping[str, int], limit: int) -> float:
    """Since when images have to have been used so that all of them take ``limit`` bytes at most; 0 where they do.

    ``kept``: last use and parts of each; a part of several is there once. The one used last stays, whatever its size.
    """
    there, total, since = set[str](), 0, 0.0
    for last, parts in sorted(kept.values(), key=lambda one: -one[0]):
        total += sum(sizes.get(part, 0) for part in parts - there)
        if total > limit and since:
            return since
        there |= parts
        since = last
    return 0.0


# --- what goes -----------------------------------------------------------------------------------------------------


def unreached(repository: Repository, tags: Iterable[str], digests: Iterable[str], before: float) -> list[str]:
    """Names of a repository that none of the ``tags`` and manifests, layers (``digests``) kept need, and that are from
    before ``before``."""
    folders = tuple(tag_folder(repository.name, tag) for tag in tags)
    kept = set(links(repository.name, digests))
    return [
        key
        for key, time in repository.keys.items()
        if time < before and key not in kept and not (folders and key.startswith(folders))
    ]


def ordered(keys: Iterable[str]) -> list[str]:
    """As they may go; what is none of the registry's is left out."""
    ranks = {key: rank(key) for key in keys}
    return sorted((key for key, found in ranks.items() if found is not None), key=lambda key: (ranks[key], key))


def rank(key: str) -> int | None:
    """A name's place in :data:`ORDER`; None for one that is none of the registry's."""
    if key.startswith(BLOBS):
        return len(ORDER) - 1
    return next((rank for rank, part in enumerate(ORDER) if part in key), None) if key.startswith(ROOT) else None
