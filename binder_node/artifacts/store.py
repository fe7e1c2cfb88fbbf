"""The room's door: :meth:`Store.ensure` makes artifacts be in the cache and says where."""

from __future__ import annotations

import platform as machine
import sys
import tarfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from binder_node.artifacts import checksums
from binder_node.artifacts.bundle import read_manifest, write_bundle
from binder_node.artifacts.cache import Cache, Stored, digest, disk
from binder_node.artifacts.model import Artifact
from binder_node.artifacts.pins import Pins, SourceName
from binder_node.artifacts.recipe import (
    DEFAULT_ORDER,
    Build,
    Bundled,
    BundleEntry,
    Download,
    Local,
    Recipe,
    Release,
    origin,
    platform_key,
    platform_of,
    recipes,
)
from binder_node.errors import InputError, Problem, StepError
from binder_node.events import Event, Reporter, silent, step

if TYPE_CHECKING:
    from binder_node.artifacts.download import Patience, Web

STAGE = "artifacts"
SOURCE_OF: Mapping[type, SourceName] = {Release: "release", Build: "module", Local: "file", Bundled: "bundle"}
_ARCH = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True, slots=True)
class Sources:
    """Where artifacts may come from. ``order``: the operator's choice, best first; empty: each pin's own.

    ``bundle`` is the folder that ``artifacts bundle`` made; with one and no order, it is the only source.
    """

    order: tuple[SourceName, ...] = ()
    bundle: Path | None = None

    def __post_init__(self) -> None:
        if "bundle" in self.order and self.bundle is None:
            wrong = "the source bundle needs its folder"
            raise InputError(Problem("", 0, "--source", wrong, "say where it is by --bundle DIR"))

    @property
    def wanted(self) -> tuple[SourceName, ...]:
        return self.order or (("bundle",) if self.bundle else ())


@dataclass(frozen=True, slots=True)
class Limits:
    """``downloads``: how many at once; ``build``: seconds for one build."""

    downloads: int = 4
    build: float = 3600.0


def here() -> tuple[str, str]:
    """(GOOS, GOARCH) of this machine."""
    return sys.platform, _ARCH.get(machine.machine().lower(), machine.machine().lower())


@dataclass
class Store:
    """Makes artifacts present. Safe to use from several processes over one cache.

    ``arch`` is the node's (``amd64``, ``arm64``); an operator's tools are fetched for this machine.
    """

    cache: Cache
    pins: Pins
    sources: Sources = field(default_factory=Sources)
    arch: str = "amd64"
    limits: Limits = field(default_factory=Limits)
    patience: Patience | None = None

    def ensure(self, names: Sequence[str], report: Reporter = silent) -> dict[str, Artifact]:
        """Every one of ``names`` from the cache, or come by; by name.

        Downloads go ``limits.downloads`` at a time, builds one at a time, both at once. Raises InputError (no such
        name, or no source for it) before anything is fetched, and the first StepError or DeadlineError after all
        that was under way has ended, so that what succeeded is kept.
        """
        plan = self.plan(names)
        found = {name: hit for name, ways in plan.items() if (hit := self._cached(ways, report)) is not None}
        missing = {name: ways for name, ways in plan.items() if name not in found}
        if missing:
            found |= self._come_by(missing, report)
        return {name: found[name] for name in plan}

    def plan(self, names: Sequence[str]) -> dict[str, tuple[Recipe, ...]]:
        """The ways to each name, best first. InputError names all that have none."""
        plan = {}
        problems = []
        for name in self.pins.pick(list(names)):
            plan[name] = self._ways(name)
            if not plan[name]:
                pin = self.pins.entries[name]
                platform = platform_of(pin, self.arch, here())
                wanted = ", ".join(self.sources.wanted or pin.sources or DEFAULT_ORDER)
                wrong = f"{pin.version} for {'/'.join(platform)} is not to be had from: {wanted}"
                right = "choose another --source, or give it a file in a pins overlay"
                problems.append(Problem(str(self.pins.overlay or ""), 0, name, wrong, right))
        if problems:
            raise InputError(*problems)
        return plan

    def cached(self, names: Sequence[str]) -> dict[str, Artifact]:
        """Those of ``names`` that :meth:`ensure` would not have to come by."""
        hits = ((name, self._cached(ways, silent)) for name, ways in self.plan(names).items())
        return {name: hit for name, hit in hits if hit is not None}

    def platform(self, name: str) -> str:
        """The platform that ``name`` is wanted for, as bundles say it: ``amd64``, ``darwin-arm64``, ``any``."""
        pin = self.pins.entries[name]
        return "any" if pin.kind == "chart" else platform_key(platform_of(pin, self.arch, here()))

    def describe(self, names: Sequence[str]) -> list[dict[str, object]]:
        """One row a name: ``name``, ``version``, ``kind``, ``needed``, ``source`` (of the file in the cache, else where
        :meth:`ensure` would turn first; None: there is no way), ``from`` (a URL, module or path), ``cached``, and when
        it is, ``sha256``, ``size`` in bytes and ``path``.
        """
        rows: list[dict[str, object]] = []
        for name in self.pins.pick(list(names)):
            pin, ways = self.pins.entries[name], self._ways(name)
            row: dict[str, object] = {"name": name, "version": pin.version, "kind": pin.kind, "needed": pin.needed}
            found = self._hit(ways, silent)
            way = found[0] if found else next(iter(ways), None)
            row |= {"source": None, "from": None, "cached": found is not None, "sha256": None, "size": None}
            if way is not None:
                row |= {"version": way.version, "source": SOURCE_OF[type(way)], "from": origin(way)}
            if found is not None:
                stored = found[1]
                row |= {"sha256": stored.sha256, "size": stored.size, "path": str(stored.path)}
            rows.append(row)
        return rows

    def bundle(self, names: Sequence[str], folder: Path, report: Reporter = silent) -> dict[str, Artifact]:
        """:meth:`ensure`, and all of it written to ``folder`` for ``--bundle``. Raises as that does, and StepError when
        the folder cannot be written."""
        made = self.ensure(names, report)
        with step(report, STAGE, f"write {len(made)} artifacts to {folder}"):
            write_bundle(folder, made, {name: self._platform(name) for name in made})
        return made

    def _platform(self, name: str) -> str:
        pin = self.pins.entries[name]
        return "any" if pin.kind == "chart" else platform_key(platform_of(pin, self.arch, here()))

    # --- looking ---------------------------------------------------------------------------------------------

    @cached_property
    def _bundle(self) -> Mapping[str, BundleEntry]:
        return read_manifest(self.sources.bundle) if self.sources.bundle else {}

    @cached_property
    def _go(self) -> str:
        from binder_node.artifacts.build import go_version

        return go_version()

    def _ways(self, name: str) -> tuple[Recipe, ...]:
        bundle = (self.sources.bundle, self._bundle) if self.sources.bundle else None
        pin = self.pins.entries[name]
        return recipes(name, pin, platform_of(pin, self.arch, here()), self.sources.wanted, bundle)

    def _cached(self, ways: Iterable[Recipe], report: Reporter) -> Artifact | None:
        """The first way's file that is in the cache already: what lies here need not be fetched in a better way."""
        found = self._hit(ways, report)
        return None if found is None else _artifact(*found)

    def _hit(self, ways: Iterable[Recipe], report: Reporter) -> tuple[Recipe, Stored] | None:
        for way in ways:
            key = self._key(way)
            stored = self.cache.lookup(key, report) if key else None
            if stored is not None:
                return way, stored
        return None

    def _key(self, way: Recipe) -> str | None:
        """What the cache knows the result by; None when that cannot be known yet."""
        match way:
            case Release():
                sha256 = self._expected(way.download)
                return None if sha256 is None else f"release {way.name} {sha256} {way.member or ''}"
            case Build():
                try:
                    return way.key(self._go)
                except StepError:
                    return None  # no Go here: another way may be cached, else the build itself says so
            case Bundled():
                return f"bundle {way.name} {way.sha256}"
            case Local():
                try:
                    seen = way.path.stat()
                except OSError:
                    return None
                return f"file {way.path} {seen.st_size} {seen.st_mtime_ns} {seen.st_ino} {way.sha256 or ''}"

    def _expected(self, download: Download) -> str | None:
        return download.sha256 or checksums.read_lock(self.pins.lock).get(download.url)

    # --- coming by -------------------------------------------------------------------------------------------

    def _come_by(self, missing: Mapping[str, tuple[Recipe, ...]], report: Reporter) -> dict[str, Artifact]:
        from contextlib import closing

        from binder_node.artifacts.download import Patience, Web

        # Entries out of one archive go one after the other in one thread: they would only wait for each other.
        lines: dict[object, list[str]] = {}
        for name, ways in missing.items():
            first = ways[0]
            lines.setdefault(first.download if isinstance(first, Release) else name, []).append(name)
        halt = threading.Event()
        with (
            closing(Web(self.patience or Patience(), halt)) as web,
            ThreadPoolExecutor(self.limits.downloads, "fetch") as fetchers,
            ThreadPoolExecutor(1, "build") as builders,
        ):
            worker = _Worker(self, web, report, halt)
            running: list[Future[dict[str, Artifact]]] = []
            for line in lines.values():
                pool = builders if isinstance(missing[line[0]][0], Build) else fetchers
                running.append(pool.submit(worker.each, {name: missing[name] for name in line}))
            try:
                wait(running)
            except BaseException:  # Ctrl-C: nothing may go on behind the operator's back
                halt.set()
                for future in running:
                    future.cancel()
                raise
        failures = [error for future in running if (error := future.exception()) is not None]
        for error in failures[1:]:
            report(Event("warn", STAGE, str(error)))
        if failures:
            raise failures[0]
        return {name: artifact for future in running for name, artifact in future.result().items()}


@dataclass(slots=True)
class _Worker:
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
            return _artifact(way, stored)

    def _release(self, way: Release) -> Stored:
        cache, download = self.store.cache, way.download
        with cache.lock(f"download {download.url}", f"another process's download of {download.file}", self.report):
            sha256 = self.store._expected(download) or self._first_use(download)
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
        with self.store.cache.lock(f"lock file {path}", f"another process's change to {path}"):
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

        cache, key = self.store.cache, way.key(self.store._go)
        # One build at a time, over all processes: Go takes every core by itself.
        with cache.lock("go build", "another build", self.report):
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
        key = self.store._key(way)
        if key is None or not way.path.is_file():
            raise StepError("here", doing, "there is no such file", "mend the path, or make the bundle again")
        cache = self.store.cache
        with cache.lock(key, f"another process's copy of {way.name}", self.report):
            if (stored := cache.lookup(key, self.report)) is not None:
                return stored
            cache.room(way.path.stat().st_size, way.name)
            with cache.scratch() as folder, disk(doing, cache.root):
                copy = folder / way.name
                shutil.copyfile(way.path, copy)
                seen = digest(copy)
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


def _artifact(way: Recipe, stored: Stored) -> Artifact:
    return Artifact(way.name, way.version, stored.path, stored.sha256, stored.size)
