"""The command line, and what is done in the bucket; what is decided is in ``images``."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import os
import sys
import time
import urllib.parse
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby, islice
from typing import Any

from ..s3 import BATCH, Bucket, Failure, Patience
from . import images, records
from .images import Repository, Request
from .journal import read

# In the state folder: what is to go; that the bucket was there once.
PLAN, KNOWN = "plan.json", "known"
# S3's codes where `up` has not come to bucket and key yet.
UNMADE = ("NoSuchBucket", "InvalidAccessKeyId")
# A bucket that is away for some minutes is waited for; not while nobody can push.
PATIENCE, SWEEPING = Patience(tries=12, pause=15.0, answer=30.0), Patience(tries=4, pause=2.0, answer=30.0)
# Reads at once, repositories in memory at once, deletions at once.
READERS, TOGETHER, REMOVERS = 8, 200, 4
# Seconds in which the registry that was started anew refuses what it shall refuse.
READ_ONLY = 20.0
DAY = 86400.0


class Manifests:
    """What manifests name, read from the bucket; ``blobs`` are known to be there."""

    def __init__(self, bucket: Bucket, blobs: Iterable[str] = ()) -> None:
        self.bucket, self.blobs = bucket, set(blobs)

    def reached(self, digest: str, *, whole: bool = True) -> set[str] | None:
        """Digests of a manifest and of all that it needs. None where any is missing or damaged; not ``whole``: those
        that are there."""
        content = self.bucket.get(images.data(digest))
        if content is None or hashlib.sha256(content).hexdigest() != digest:
            return None if whole else set()
        try:
            blobs, manifests = images.references(content)
        except (ValueError, AttributeError, TypeError):
            return None if whole else {digest}
        found = {digest} | blobs
        if whole and not all(one in self.blobs or self.bucket.has(images.data(one)) for one in blobs):
            return None
        for one in manifests:
            below = self.reached(one, whole=whole)
            if below is None:
                return None
            found |= below
        return found

    def current(self, repository: str, tag: str) -> str:
        """Digest that a tag means; empty where there is no such tag."""
        said = (self.bucket.get(images.current(repository, tag)) or b"").decode("ascii", "replace").strip()
        return said[len(images.ALGORITHM) :] if said.startswith(images.ALGORITHM) else ""


class Survey:
    """All that is in the bucket, looked at once; ``uses`` and ``since`` as ``images`` makes them. Images go that nobody
    used for the days that they are kept, and those whose last known use is before ``known``."""

    def __init__(
        self, config: dict[str, Any], bucket: Bucket, uses: dict[str, float], since: float, known: float = 0.0
    ) -> None:
        self.config, self.bucket, self.uses, self.since = config, bucket, uses, since
        self.now = time.time()
        self.before = self.now - config["grace"]
        self.known = known
        self.oldest = self.now - config["keep_days"] * DAY if config["keep_days"] else 0.0
        self.blobs = {key.split("/")[-2]: (at, size) for key, at, size in bucket.listed(images.BLOBS)}
        self.manifests = Manifests(bucket, self.blobs)
        self.needed: set[str] = set()
        self.garbage: list[str] = []
        self.doomed: dict[str, str] = {}
        self.kept: dict[str, tuple[float, set[str]]] = {}
        self.broken = 0

    def run(self) -> None:
        """Every repository, some at once; then the blobs that none of them needs."""
        with ThreadPoolExecutor(READERS) as pool:
            left = repositories(self.bucket)
            while some := list(islice(left, TOGETHER)):
                for found in pool.map(self.look, some):
                    self.take(*found)
        unneeded = [digest for digest, (at, _) in self.blobs.items() if digest not in self.needed and at < self.before]
        self.garbage += [images.data(digest) for digest in unneeded]
        self.bytes = sum(self.blobs[digest][1] for digest in unneeded)

    def look(self, repository: Repository) -> tuple[Repository, dict[str, str], dict[str, set[str] | None], set[str]]:
        """What its tags mean, what those that are not too old need (None: something that is not there), and what was
        pushed lately without a tag."""
        meant, needs = {}, {}
        for tag, about in repository.tags.items():
            if about.pushed:
                one = next(iter(about.digests), "") if len(about.digests) == 1 else ""
                meant[tag] = one or self.manifests.current(repository.name, tag)
                if not self.expired(repository, tag):
                    needs[tag] = self.manifests.reached(meant[tag]) if meant[tag] else None
        young = [digest for digest, at in repository.revisions.items() if at >= self.before]
        loose = {one for digest in young for one in self.manifests.reached(digest, whole=False) or ()}
        return repository, meant, needs, loose

    def expired(self, repository: Repository, tag: str) -> bool:
        known = images.last_use(repository, tag, self.uses, 0.0)
        return max(known, self.since) < self.oldest or known < self.known

    def too_much(self) -> float:
        """Since when images have to have been used for the registry to hold what it may; 0 where it does."""
        if not self.config["size"]:
            return 0.0
        sizes = {digest: size for digest, (_, size) in self.blobs.items()}
        return min(images.fits(self.kept, sizes, self.config["size"]), float(self.before))

    def take(
        self, repository: Repository, meant: dict[str, str], needs: dict[str, set[str] | None], loose: set[str]
    ) -> None:
        """Decide what of a repository goes."""
        needed, kept = set(loose), []
        for tag, digest in meant.items():
            name = f"{repository.name}:{tag}"
            expired = tag not in needs
            if expired and len(self.doomed) >= self.config["most"]:
                # Of many the rest is for the next run: as whole as it is.
                needs[tag], expired = self.manifests.reached(digest, whole=False), False
            reached = needs.get(tag)
            if reached is None:
                if expired:
                    self.doomed[name] = digest
                else:
                    self.broken += 1
                    # BinderHub asks for the manifest alone: it would start what cannot be pulled.
                    self.garbage += [
                        key for key in repository.keys if key.startswith(images.tag_folder(repository.name, tag))
                    ]
                continue
            kept.append(tag)
            needed |= reached
            last = images.last_use(repository, tag, self.uses, 0.0)
            self.kept[name] = (last, reached if self.config["size"] else set())
        self.needed |= needed
        self.garbage += images.unreached(repository, kept, needed, self.before)


def repositories(bucket: Bucket) -> Iterator[Repository]:
    """Each repository with all of its names."""
    for name, items in groupby(bucket.listed(images.REPOSITORIES), key=lambda item: images.repository_of(item[0])):
        found = Repository(name)
        for key, at, _ in items:
            found.add(key, at)
        yield found


def note(config: dict[str, Any], bucket: Bucket) -> str:
    """Bring the record up to now. On a node that is being made the bucket comes after this."""
    known = os.path.join(config["state"], KNOWN)
    try:
        said = f"{len(records.note(config, bucket)['uses'])} images in the record"
    except Failure as error:
        if error.code in UNMADE and not os.path.exists(known):
            return f"there is nothing to write into yet: {error.code}"
        raise
    with open(known, "w", encoding="ascii"):
        return said


def mark(config: dict[str, Any], bucket: Bucket) -> str:
    """Write down what nobody uses, for ``sweep``; nothing where there is nothing, or where somebody else is at it."""
    plan = os.path.join(config["state"], PLAN)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(plan)
    began = time.time()
    own = records.note(config, bucket)
    every = records.every(config, bucket)
    if there := records.others(config, every, time.time()):
        return f"nothing is removed while {' and '.join(there)} {'have' if there[1:] else 'has'} the bucket too"
    since = images.covered(every.values(), time.time(), records.GONE)
    survey = Survey(config, bucket, images.merged(every.values()), since)
    survey.run()
    if known := survey.too_much():
        survey = Survey(config, bucket, survey.uses, since, known)
        survey.run()
    records.tidy(config, bucket, {name: last for name, (last, _) in survey.kept.items()}, since, began)
    total = sum(size for _, size in survey.blobs.values())
    keys = images.ordered(dict.fromkeys(survey.garbage))
    if not keys:
        return f"nothing to remove: {len(survey.kept)} images, {total / 1e9:.2f} GB"
    broken = f" and {survey.broken} with parts missing" if survey.broken else ""
    days = (survey.now - max(survey.oldest, survey.known)) / DAY
    unused = f"{len(survey.doomed)} images unused for {days:.1f} days" if survey.doomed else "0 images"
    said = f"{unused}{broken}, {len(keys)} objects, {survey.bytes / 1e9:.2f} of {total / 1e9:.2f} GB"
    write(plan, {"cursor": own["cursor"], "doomed": survey.doomed, "keys": keys, "said": said})
    return f"to remove: {said}"


def write(path: str, plan: dict[str, Any]) -> None:
    """The file is there whole, or not at all: it is what the pause goes by."""
    with open(f"{path}.part", "w", encoding="utf-8") as file:
        json.dump(plan, file)
    os.replace(f"{path}.part", path)


# --- while nobody can push -----------------------------------------------------------------------------------------


def await_read_only(config: dict[str, Any]) -> None:
    """Raises Failure where the registry still takes pushes, or is away for too long."""
    push = config["push"]
    parts = urllib.parse.urlsplit(push["url"])
    login = base64.b64encode(f"{push['user']}:{push['password']}".encode()).decode()
    until, why = time.monotonic() + READ_ONLY, ""
    while time.monotonic() < until:
        connection = http.client.HTTPConnection(parts.netloc, timeout=5)
        try:
            # A registry that takes pushes finds this to be no manifest.
            connection.request("PUT", "/v2/binder-node/none/manifests/none", b"-", {"Authorization": f"Basic {login}"})
            why = f"HTTP {(status := connection.getresponse().status)}"
            if status == 405:
                return
        except (OSError, http.client.HTTPException) as error:
            why = str(error)
        finally:
            connection.close()
        time.sleep(0.1)
    raise Failure(f"{push['url']} is not read-only: {why}; nothing is removed")


def spare(plan: dict[str, Any], keys: list[str], bucket: Bucket, requests: Iterable[Request]) -> tuple[list[str], int]:
    """What of ``keys`` may go in spite of what was pushed or used since the mark; and how many doomed images stay."""
    manifests, names, folders, saved = Manifests(bucket), set[str](), set[str](), 0

    def about(request: Request) -> list[tuple[str, str, set[str]]]:
        meant = list(_meant(plan, manifests, request))
        return [(where, tag, manifests.reached(digest, whole=False) or set()) for where, tag, digest in meant]

    with ThreadPoolExecutor(READERS) as pool:
        for found in pool.map(about, dict.fromkeys(requests)):
            for repository, tag, reached in found:
                names.update(images.links(repository, reached), map(images.data, reached))
                if tag:
                    folders.add(images.tag_folder(repository, tag))
                    saved += f"{repository}:{tag}" in plan["doomed"]
    prefixes = tuple(folders)
    return [key for key in keys if key not in names and not (prefixes and key.startswith(prefixes))], saved


def _meant(plan: dict[str, Any], manifests: Manifests, request: Request) -> Iterator[tuple[str, str, str]]:
    """Repository, tag and digest that a request was about, where it matters: a push, or a use of what is to go."""
    repository, doomed = request.repository, plan["doomed"]
    if request.reference.startswith(images.ALGORITHM):
        digest = request.reference[len(images.ALGORITHM) :]
        tags = [
            name[len(repository) + 1 :]
            for name, meant in doomed.items()
            if meant == digest and name.startswith(f"{repository}:")
        ]
        if tags or request.method == "PUT":
            yield from ((repository, tag, digest) for tag in tags or [""])
    elif request.method == "PUT" or request.name in doomed:
        digest = manifests.current(repository, request.reference) or doomed.get(request.name, "")
        if digest:
            yield repository, request.reference, digest


def put_back(plan: dict[str, Any], bucket: Bucket, requests: Iterable[Request]) -> None:
    """Tags that somebody got while they were being removed."""
    for request in dict.fromkeys(requests):
        for repository, tag, digest in _meant(plan, Manifests(bucket), request):
            if tag:
                said = f"{images.ALGORITHM}{digest}".encode()
                bucket.put(f"{images.tag_folder(repository, tag)}index/sha256/{digest}/link", said)
                bucket.put(images.current(repository, tag), said)


def remove(bucket: Bucket, keys: list[str], until: float) -> int:
    """Remove in their order as many as there is time for; how many were left."""
    left = len(keys)
    with ThreadPoolExecutor(REMOVERS) as pool:
        for _, group in groupby(keys, key=images.rank):
            while (some := [list(islice(group, BATCH)) for _ in range(REMOVERS)])[0]:
                if time.monotonic() > until:
                    return left
                list(pool.map(bucket.remove, some))
                left -= sum(map(len, some))
    return left


def sweep(config: dict[str, Any], bucket: Bucket) -> str:
    """Remove what is written down, but for what was used since; for some seconds at most."""
    path = os.path.join(config["state"], PLAN)
    try:
        with open(path, encoding="utf-8") as file:
            plan = json.load(file)
    except FileNotFoundError:
        return ""
    os.unlink(path)
    await_read_only(config)
    began = time.monotonic()
    if there := records.others(config, records.every(config, bucket), time.time()):
        return f"nothing is removed while {' and '.join(there)} {'have' if there[1:] else 'has'} the bucket too"
    found = read(config["journal"], plan["cursor"])
    if not found.whole:
        raise Failure("the journal has lost what was pushed since the mark; nothing is removed")
    keys, saved = spare(plan, plan["keys"], bucket, (request for _, request in found.requests))
    tags = [key for key in keys if images.rank(key) == 0]
    left = remove(bucket, tags, began + config["seconds"])
    late = [request for _, request in read(config["journal"], found.cursor).requests]
    put_back(plan, bucket, late)
    keys, again = spare(plan, [key for key in keys if images.rank(key)], bucket, late)
    left += remove(bucket, keys, began + config["seconds"])
    parts = [f"gone in a pause of {time.monotonic() - began:.1f} s: {plan['said']}"]
    parts += [f"{saved + again} were used again and stay"] if saved + again else []
    parts += [f"{left} objects are left for the next run"] if left else []
    return "; ".join(parts)


def main() -> int:
    os.umask(0o077)
    with open(sys.argv[1], encoding="utf-8") as file:
        config = json.load(file)
    bucket = Bucket(config, SWEEPING if sys.argv[2] == "sweep" else PATIENCE, keep=True)
    try:
        said = {"note": note, "mark": mark, "sweep": sweep}[sys.argv[2]](config, bucket)
    except (Failure, OSError, ET.ParseError, ValueError, KeyError) as error:
        print(f"{sys.argv[2]}: {error}", file=sys.stderr)
        return 1
    if said:
        print(said)
    return 0


if __name__ == "__main__":
    sys.exit(main())
