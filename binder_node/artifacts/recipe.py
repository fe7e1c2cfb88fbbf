"""How each artifact would be come by: which URL, which commands, which cache key. Pure; the doing is elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from binder_node.artifacts.pins import Kind, ModulePin, Pin, SourceName

DEFAULT_ORDER: tuple[SourceName, ...] = ("file", "release", "module")


@dataclass(frozen=True, slots=True)
class Download:
    """One file on the web. Two artifacts out of one archive have equal Downloads: it is fetched once.

    ``sha256`` None: the list at ``checksums`` decides.
    """

    url: str
    sha256: str | None
    checksums: str | None

    @property
    def file(self) -> str:
        """The name by which the vendor's checksum list knows it."""
        return unquote(PurePosixPath(urlsplit(self.url).path).name)


@dataclass(frozen=True, slots=True)
class Release:
    """A download, or the ``member`` of one that is an archive."""

    name: str
    version: str
    kind: Kind
    download: Download
    member: str | None


@dataclass(frozen=True, slots=True)
class Build:
    """A Go program to be built for ``goos``/``goarch``."""

    name: str
    version: str
    pin: ModulePin
    goos: str
    goarch: str

    def key(self, go: str) -> str:
        """Everything that decides the bytes; ``go`` is the toolchain's version, as ``go1.26.8``."""
        pin = self.pin.model_dump(mode="json")
        return "module " + json.dumps({**pin, "goos": self.goos, "goarch": self.goarch, "go": go}, sort_keys=True)

    def env(self) -> dict[str, str]:
        """What is set over the operator's environment (whose proxy, cache and toolchain choice stay)."""
        return {
            "GOOS": self.goos,
            "GOARCH": self.goarch,
            "CGO_ENABLED": "0",
            "GOFLAGS": "-mod=mod",
            "GOWORK": "off",
            "GO111MODULE": "on",
        }

    def commands(self, out: Path) -> tuple[tuple[str, ...], ...]:
        """The commands, in order, to run in an empty folder so that the program lies at ``out``.

        A go.mod of our own rather than ``go install``: that refuses modules whose go.mod has replace or exclude.
        """
        edits = [f"-replace={old}={new}" for old, new in sorted(self.pin.replace.items())]
        edits += [f"-exclude={version}" for version in self.pin.exclude]
        flags = ["-trimpath", "-ldflags", " ".join(("-s", "-w", *self.pin.ldflags))]
        if self.pin.tags:
            flags += ["-tags", ",".join(self.pin.tags)]
        return (
            ("go", "mod", "init", "build"),
            *((("go", "mod", "edit", *edits),) if edits else ()),
            ("go", "get", f"{self.pin.module}@{self.pin.version}"),
            ("go", "build", "-v", *flags, "-o", str(out), self.pin.package),
        )


@dataclass(frozen=True, slots=True)
class Local:
    """A file of the operator's own."""

    name: str
    version: str
    kind: Kind
    path: Path
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Bundled:
    """A file of a bundle, under the digest in the bundle's manifest."""

    name: str
    version: str
    kind: Kind
    path: Path
    sha256: str


Recipe = Release | Build | Local | Bundled


def origin(way: Recipe) -> str:
    """Where it comes from, for people: a URL, module@version, or path."""
    match way:
        case Release():
            return way.download.url
        case Build():
            return f"{way.pin.package}@{way.pin.version}"
        case Local() | Bundled():
            return str(way.path)


@dataclass(frozen=True, slots=True)
class BundleEntry:
    """What a bundle's manifest says of one artifact; ``file`` is relative to the bundle."""

    name: str
    version: str
    platform: str
    file: str
    sha256: str
    size: int


def platform_of(pin: Pin, arch: str, here: tuple[str, str]) -> tuple[str, str]:
    """(GOOS, GOARCH) that a pin is wanted for: an operator's tool runs ``here``, everything else on the node."""
    return here if pin.needed == "operator" and pin.kind == "binary" else ("linux", arch)


def platform_key(platform: tuple[str, str]) -> str:
    """The key in a pin's ``release`` table."""
    goos, goarch = platform
    return goarch if goos == "linux" else f"{goos}-{goarch}"


def recipes(
    name: str,
    pin: Pin,
    platform: tuple[str, str],
    order: Iterable[SourceName] | None = None,
    bundle: tuple[Path, Mapping[str, BundleEntry]] | None = None,
) -> tuple[Recipe, ...]:
    """The ways to ``name``, best first, that exist for this platform.

    ``order`` is the operator's choice and every way in it counts; without it the pin's own, then release before
    module, and only the first way counts, since a build of minutes should not begin because a download failed. A
    local file is an overlay's explicit word: only a bundle, where one is given, comes before it.
    """
    wanted = tuple(order or pin.sources or DEFAULT_ORDER)
    if pin.file is not None:
        local = Local(name, pin.version, pin.kind, pin.file.path, pin.file.sha256)
        bundled = _recipe("bundle", name, pin, platform, bundle) if "bundle" in wanted else None
        return (local,) if bundled is None else (bundled, local)
    found = [recipe for source in wanted if (recipe := _recipe(source, name, pin, platform, bundle)) is not None]
    return tuple(found if order else found[:1])


def _recipe(
    source: SourceName,
    name: str,
    pin: Pin,
    platform: tuple[str, str],
    bundle: tuple[Path, Mapping[str, BundleEntry]] | None,
) -> Recipe | None:
    key = platform_key(platform)
    if source == "release":
        release = pin.release.get(key) or pin.release.get("any")  # type: ignore[call-overload]
        if release is None:
            return None
        download = Download(release.url, release.sha256, release.checksums)
        return Release(name, pin.version, pin.kind, download, release.member)
    if source == "module" and pin.module is not None:
        return Build(name, pin.module.version, pin.module, *platform)
    if source == "bundle" and bundle is not None:
        folder, manifest = bundle
        entry = manifest.get(name)
        versions = {pin.version, pin.module.version if pin.module else pin.version}
        if entry is None or entry.version not in versions or entry.platform not in (key, "any"):
            return None
        return Bundled(name, entry.version, pin.kind, folder / entry.file, entry.sha256)
    return None
