"""What is done for one artifact that is not in the cache: download, unpack, build or copy, under the cache's locks."""

from __future__ import annotations

import tarfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from binder_node.artifacts import checksums
from binder_node.artifacts.cache import Stored, digest, disk
from binder_node.artifacts.model import Artifact
from binder_node.artifacts.pins import SourceName
from binder_node.artifacts.recipe import Build, Bundled, Download, Local, Recipe, Release
from binder_node.errors import StepError
from binder_node.events import Event, Reporter, step

if TYPE_CHECKING:
    from binder_node.artifacts.download import Web
    from binder_node.artifacts.store import Store

STAGE = "artifacts"
SOURCE_OF: Mapping[type, SourceName] = {Release: "release", Build: "module", Local: "file", Bundled: "bundle"}


@dataclass(slots=True)
class Worker:
    """What a thread does for one line of artifacts."""

    store: Store
    web: Web
    report: Reporter
    halt: threading.Event

    def each(self, line: Mapping[str, tuple[Recipe, ...]]) -> dict[str, Artifact]:
        return {name: self._one(name, ways) for name, ways in line.items()}

    def _one(self, name: str, ways: tuple[Recipe, ...]) -> Artifact:
        """Try each way; a failure is a warning as long as there is another way."""
        for way in ways[:-1]:
            try:
                return self._make(name, way)
            except StepError as error:
                if self.halt.is_set():
                    raise
                self.report(Event("warn", STAGE, f"{name}: {error}; trying the next source", {"name": name}))
        return self._make(name, ways[-1])

    def _make(self, name: str, way: Recipe) -> Artifact:
        source = SOURCE_OF[type(way)]
        with step(self.report, STAGE, f"{name} {way.version}", name=name, source=source) as told:
            match way:
                case Release():
                    stored = self._release(way)
                case Build():
                    stored = self._build(way)
                case Local() | Bundled():
                    stored = self._copy(way)
            told |= {"sha256": stored.sha256, "size": stored.size}
            return made(way, stored)

    def _release(self, way: Release) -> Stored:
        cache, download = self.store.cache, way.download
        with cache.lock(
            f"download {download.url}", f"another process's download of {download.file}", self.report, self.halt
        ):
            sha256 = self.store.expected(download) or self._first_use(download)
            key = f"release {way.name} {sha256} {way.member or ''}"
            if (stored := cache.lookup(key, self.report)) is not None:
                return stored
            executable = way.kind == "binary"
            if way.member is None:
                return self._download(download, sha256, key, way.name, executable)
            archive = self._download(download, sha256, f"archive {sha256}", download.file, executable=False)
            with cache.scratch() as folder, disk(f"unpack {download.file}", cache.root):
                return cache.add(key, way.name, extract(archive.path, way.member, folder), executable=executable)

    def _first_use(self, download: Download) -> str:
        """Ask the vendor's list, and remember what it said."""
        sha256 = self.web.digest_of(download)
        path = self.store.pins.lock
        with self.store.cache.lock(f"lock file {path}", f"another process's change to {path}", self.report, self.halt):
            digests = checksums.read_lock(path) | {download.url: sha256}
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                fresh = path.with_name(path.name + ".new")
                fresh.write_text(checksums.render_lock(digests), encoding="utf-8")
                fresh.replace(path)
            except OSError as error:
                raise StepError(
                    "here", f"remember the digest of {download.file}", str(error), f"make {path} writable"
                ) from error
        return sha256

    def _download(self, download: Download, sha256: str, key: str, name: str, executable: bool) -> Stored:
        from binder_node.artifacts.download import Transfer

        cache = self.store.cache
        if (stored := cache.lookup(key, self.report)) is not None:
            return stored
        part = cache.part(f"{download.url} {sha256}")
        Transfer(self.web, download, sha256, cache, part, self.report, name).run()
        return cache.add(key, name, part, executable=executable, sha256=sha256)

    def _build(self, way: Build) -> Stored:
        from binder_node.artifacts.build import build

        cache, key = self.store.cache, way.key(self.store.go)
        # One build at a time, over all processes: Go takes every core by itself.
        with cache.lock("go build", "another build", self.report, self.halt):
            if (stored := cache.lookup(key, self.report)) is not None:
                return stored
            cache.room(0, way.name)
            with cache.scratch() as folder, disk(f"build {way.name}", cache.root):
                made = build(way, folder, self.report, self.halt, self.store.limits.build)
                return cache.add(key, way.name, made, executable=True)

    def _copy(self, way: Local | Bundled) -> Stored:
        """Into the cache, so that what was verified stays what it was whatever happens to the original."""
        import shutil

        doing = f"take {way.name} from {way.path}"
        key = self.store.key(way)
        if key is None or not way.path.is_file():
            raise StepError("here", doing, "there is no such file", "mend the path, or make the bundle again")
        cache = self.store.cache
        with cache.lock(key, f"another process's copy of {way.name}", self.report, self.halt):
            if (stored := cache.lookup(key, self.report)) is not None:
                return stored
            cache.room(way.path.stat().st_size, way.name)
            with cache.scratch() as folder, disk(doing, cache.root):
                copy = folder / way.name
                shutil.copyfile(way.path, copy)
                seen = digest(copy)
                if self.store.key(way) != key:
                    raise StepError("here", doing, "it changed while it was read", "run it again when it is whole")
                if way.sha256 is not None and seen != way.sha256:
                    reason = f"wrong digest: it has sha256 {seen}, expected {way.sha256}"
                    raise StepError("here", doing, reason, "the file was damaged or changed: fetch or bundle it again")
                return cache.add(key, way.name, copy, executable=way.kind == "binary", sha256=seen)


def extract(archive: Path, member: str, folder: Path) -> Path:
    """Take the regular file ``member`` (a leading ``./`` does not count) out of a tar archive into ``folder``."""
    import shutil

    doing, remedy = f"unpack {archive.name}", "the pin's member is wrong for this version"
    try:
        with tarfile.open(archive, "r:*") as tar:
            for info in tar:
                if info.name.removeprefix("./") == member and info.isreg():
                    source = tar.extractfile(info)
                    assert source is not None  # isreg
                    with source, (folder / "member").open("wb") as target:
                        shutil.copyfileobj(source, target, 1 << 20)
                    return folder / "member"
    except (tarfile.TarError, EOFError) as error:
        raise StepError("here", doing, str(error), remedy) from error
    raise StepError("here", doing, f"it has no file {member}", remedy)


def made(way: Recipe, stored: Stored) -> Artifact:
    """The artifact that ``stored`` is."""
    return Artifact(way.name, way.version, stored.path, stored.sha256, stored.size)
