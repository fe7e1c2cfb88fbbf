"""The room's door: :meth:`Store.ensure` makes artifacts be in the cache and says where."""

from __future__ import annotations

import platform as machine
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from binder_node.artifacts import checksums
from binder_node.artifacts.bundle import read_manifest, write_bundle
from binder_node.artifacts.cache import Cache, Stored
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
from binder_node.artifacts.worker import SOURCE_OF, STAGE, Worker, made
from binder_node.errors import BinderNodeError, InputError, Problem, StepError
from binder_node.events import Event, Reporter, silent, step

if TYPE_CHECKING:
    from binder_node.artifacts.download import Patience

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
                if "bundle" in self.sources.wanted:
                    right = "make the bundle with this version of binder-node and the same --pins"
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
            write_bundle(folder, made, {name: self.platform(name) for name in made})
        return made

    # --- looking ---------------------------------------------------------------------------------------------

    @cached_property
    def _bundle(self) -> Mapping[str, BundleEntry]:
        return read_manifest(self.sources.bundle) if self.sources.bundle else {}

    @cached_property
    def go(self) -> str:
        """The local toolchain's version. StepError if there is none."""
        from binder_node.artifacts.build import go_version

        return go_version()

    def _ways(self, name: str) -> tuple[Recipe, ...]:
        bundle = (self.sources.bundle, self._bundle) if self.sources.bundle else None
        pin = self.pins.entries[name]
        return recipes(name, pin, platform_of(pin, self.arch, here()), self.sources.wanted, bundle)

    def _cached(self, ways: Iterable[Recipe], report: Reporter) -> Artifact | None:
        """The first way's file that is in the cache already: what lies here need not be fetched in a better way."""
        found = self._hit(ways, report)
        return None if found is None else made(*found)

    def _hit(self, ways: Iterable[Recipe], report: Reporter) -> tuple[Recipe, Stored] | None:
        for way in ways:
            key = self.key(way)
            stored = self.cache.lookup(key, report) if key else None
            if stored is not None:
                return way, stored
        return None

    def key(self, way: Recipe) -> str | None:
        """What the cache knows the result by; None when that cannot be known yet."""
        match way:
            case Release():
                sha256 = self.expected(way.download)
                return None if sha256 is None else f"release {way.name} {sha256} {way.member or ''}"
            case Build():
                try:
                    return way.key(self.go)
                except StepError:
                    return None  # no Go here: another way may be cached, else the build itself says so
            case Bundled():
                return f"bundle {way.name} {way.sha256}"
            case Local():
                try:
                    seen = way.path.stat()
                except OSError:
                    return None
                about = f"{seen.st_size} {seen.st_mtime_ns} {seen.st_ino} {way.sha256 or ''}"
                return f"file {way.name} {way.kind} {way.path} {about}"

    def expected(self, download: Download) -> str | None:
        """The digest that the pins or ``pins.lock`` name."""
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
            worker = Worker(self, web, report, halt)
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
        errors = [error for future in running if (error := future.exception()) is not None]
        for error in errors[1:]:
            if isinstance(error, BinderNodeError):
                report(Event("warn", STAGE, str(error)))
        return {name: artifact for future in running for name, artifact in future.result().items()}
