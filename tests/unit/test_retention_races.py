"""Pushes in steps, between any two requests of a collection: what is told to be pushed is whole afterwards.

The registry is played, a step at a time, as Distribution does it: a push asks whether a layer is there, sends what is
not, and its manifest is refused where a part is missing. The collection is the program's own.
"""

from __future__ import annotations

import hashlib
import json
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from binder_node.host.on_node.retention import __main__ as program
from binder_node.host.on_node.retention import images, journal, records
from binder_node.host.on_node.s3 import Bucket

OLD = 1_000.0
# Where a push stands: its next request is to come, one is under way, all are done.
BETWEEN, INSIDE, DONE = "between", "inside", "done"


def nothing() -> None:
    """In between nothing happens."""


def name_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Played(Bucket):
    """A bucket in memory; ``between`` is called before each request, on whichever thread."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.between: Callable[[], None] = nothing
        self.lock = threading.RLock()

    def get(self, name: str) -> bytes | None:
        with self.lock:
            self.between()
            return self.objects.get(name)

    def has(self, name: str) -> bool:
        return self.get(name) is not None

    def put(self, name: str, body: bytes, kind: str = "") -> None:
        del kind
        with self.lock:
            self.between()
            self.objects[name] = body

    def listed(self, prefix: str) -> Iterator[tuple[str, float, int]]:
        """A page of three, as S3 goes on after the last name of the page before."""
        after = ""
        while True:
            with self.lock:
                self.between()
                names = sorted(name for name in self.objects if name.startswith(prefix) and name > after)[:3]
                page = [(name, OLD, len(self.objects[name])) for name in names]
            if not page:
                return
            yield from page
            after = page[-1][0]

    def remove(self, names: Sequence[str]) -> None:
        with self.lock:
            self.between()
            for name in names:
                self.objects.pop(name, None)


class Registry:
    """What Distribution does with a bucket, without the bucket's own hook; and its access log."""

    def __init__(self, bucket: Played) -> None:
        self.objects, self.log = bucket.objects, list[str]()

    def logged(self, method: str, repository: str, reference: str, status: int) -> None:
        self.log.append(
            f'127.0.0.1 - - [now] "{method} /v2/{repository}/manifests/{reference} HTTP/1.1" {status} 0 "" ""'
        )

    def has(self, repository: str, digest: str) -> bool:
        link = f"{images.REPOSITORIES}{repository}/_layers/sha256/{digest}/link"
        return link in self.objects and images.data(digest) in self.objects

    def upload(self, data: bytes) -> None:
        """A blob that is there is not written again."""
        self.objects.setdefault(images.data(name_of(data)), data)

    def link(self, repository: str, digest: str) -> None:
        self.objects[f"{images.REPOSITORIES}{repository}/_layers/sha256/{digest}/link"] = digest.encode()

    def put(self, repository: str, tag: str, manifest: bytes, layers: list[bytes]) -> Iterator[str]:
        """One request, in the order in which it writes; the drain of a restart waits for its end."""
        for data in layers:
            if not self.has(repository, name_of(data)):
                self.logged("PUT", repository, tag, 400)
                return
            yield INSIDE
        digest, said = name_of(manifest), f"sha256:{name_of(manifest)}".encode()
        self.objects.setdefault(images.data(digest), manifest)
        yield INSIDE
        for name in (
            f"{images.REPOSITORIES}{repository}/_manifests/revisions/sha256/{digest}/link",
            f"{images.tag_folder(repository, tag)}index/sha256/{digest}/link",
            images.current(repository, tag),
        ):
            self.objects[name] = said
            yield INSIDE
        self.logged("PUT", repository, tag, 201)
        yield DONE

    def untag(self, repository: str, tag: str) -> None:
        for name in [name for name in self.objects if name.startswith(images.tag_folder(repository, tag))]:
            del self.objects[name]

    def launch(self, repository: str, tag: str) -> bool:
        found = images.current(repository, tag) in self.objects
        self.logged("GET", repository, tag, 200 if found else 404)
        return found

    def whole(self, repository: str, tag: str, layers: list[bytes]) -> bool:
        said = self.objects.get(images.current(repository, tag), b"").decode().removeprefix("sha256:")
        revision = f"{images.REPOSITORIES}{repository}/_manifests/revisions/sha256/{said}/link"
        there = bool(said) and images.data(said) in self.objects and revision in self.objects
        return there and all(self.has(repository, name_of(data)) for data in layers)


def manifest_of(layers: list[bytes]) -> bytes:
    described = [{"digest": f"sha256:{name_of(data)}"} for data in layers]
    return json.dumps({"config": described[-1], "layers": described[:-1]}).encode()


def pushing(registry: Registry, repository: str, tag: str, layers: list[bytes], mount: str) -> Iterator[str]:
    """A push in steps, begun anew whenever it is refused; yields where it stands after each."""
    while True:
        for data in layers:
            digest = name_of(data)
            there = registry.has(repository, digest)
            yield BETWEEN
            if there:
                continue
            if mount and registry.has(mount, digest):
                yield BETWEEN
                registry.link(repository, digest)
                continue
            registry.upload(data)
            yield BETWEEN
            registry.link(repository, digest)
            yield BETWEEN
        for where in registry.put(repository, tag, manifest_of(layers), layers):
            while where == DONE:
                yield DONE
            yield where
        yield BETWEEN


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "machine-id").write_text("1234")
    return {
        "node": "bids-1", "machine_id": str(tmp_path / "machine-id"), "state": str(tmp_path),
        "keep_days": 0, "size": 0, "grace": 0, "most": 9, "seconds": 60, "prefix": "uses/", "journal": [],
    }  # fmt: skip


def told(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program reads the played registry's log, and takes its word that it is read-only."""

    def lines(_command: Sequence[str], cursor: str) -> Iterator[tuple[str, float, str]]:
        found = list(enumerate(registry.log))
        return ((str(place), OLD, line) for place, line in found if place >= int(cursor or 0))

    monkeypatch.setattr(journal, "lines", lines)
    monkeypatch.setattr(program, "await_read_only", lambda _config: None)


@pytest.mark.parametrize("seed", range(150))
def test_a_push_in_steps_at_any_moment_is_whole(
    seed: int, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    draw, bucket = random.Random(seed), Played()
    registry = Registry(bucket)
    told(registry, monkeypatch)
    shared, base = [b"shared %d" % number for number in range(2)], b"base"
    kept = [base, b"config of what is kept"]
    for repository, tag, layers in (
        ("a", "old", [*shared, b"config"]),
        ("b", "kept", kept),
        ("a", "gone", [base, b"c"]),
    ):
        list(zip(pushing(registry, repository, tag, layers, ""), range(60), strict=False))
    registry.untag("a", "old")
    registry.untag("a", "gone")
    pushes = []
    for number in range(3):
        repository = draw.choice(["a", "b", f"new-{number}"])
        layers = [draw.choice(shared), base, b"config %d" % draw.randrange(2)]
        pushes.append((repository, f"t{number}", layers, draw.choice(["", "a"])))
    running = [pushing(registry, *push) for push in pushes]
    stand = [BETWEEN] * len(running)
    eager = draw.choice([0.05, 0.3, 0.9])

    def between() -> None:
        while draw.random() < eager:
            number = draw.randrange(len(running))
            stand[number] = next(running[number])

    for _ in range(2):
        bucket.between = between
        program.mark(config, bucket)
        between()
        # The registry ends the requests that it has, and takes no other until it is restarted again.
        bucket.between = nothing
        for number, run in enumerate(running):
            while stand[number] == INSIDE:
                stand[number] = next(run)
        program.sweep(config, bucket)
        for (repository, tag, layers, _mount), ended in zip(pushes, stand, strict=True):
            assert ended != DONE or registry.whole(repository, tag, layers), (repository, tag)
        assert registry.whole("b", "kept", kept)
    bucket.between = nothing
    for number, run in enumerate(running):
        assert any(next(run) == DONE for _ in range(200)), "it was never taken"
        assert registry.whole(*pushes[number][:3])
    # Nothing is left that none of them needs.
    program.mark(config, bucket)
    program.sweep(config, bucket)
    needed = {images.data(name_of(data)) for _, _, layers, _ in pushes for data in [*layers, manifest_of(layers)]}
    needed |= {images.data(name_of(data)) for data in [*kept, manifest_of(kept)]}
    assert {name for name in bucket.objects if name.startswith(images.BLOBS)} == needed


def test_an_image_that_is_launched_while_it_is_removed_is_put_back(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = Played()
    registry = Registry(bucket)
    told(registry, monkeypatch)
    layers = [b"layer", b"config"]
    list(zip(pushing(registry, "a", "1", layers, ""), range(60), strict=False))
    config |= {"keep_days": 1}
    monkeypatch.setattr(images, "covered", lambda *_: OLD)
    monkeypatch.setattr(records, "noted", lambda _record, found, now: {
        "since": OLD, "noted": now, "cursor": found.cursor, "uses": {}})  # fmt: skip
    assert program.mark(config, bucket).startswith("to remove: 1 images unused for 1.0 days")
    removed: list[str] = []
    gone = Played.remove

    def remove(self: Played, names: Sequence[str]) -> None:
        if not removed and names:
            registry.launch("a", "1")  # its last answer
        removed.extend(names)
        gone(self, names)

    monkeypatch.setattr(Played, "remove", remove)
    said = program.sweep(config, bucket)
    assert "1 were used again and stay" in said
    assert any("/tags/1/" in name for name in removed)
    assert registry.whole("a", "1", layers)
