"""What the pins say: which version of what, where it comes from, under which digest; and the overlay over them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from binder_node.errors import InputError, Problem

BUILT_IN = Path(__file__).with_name("pins.toml")
LOCK_NAME = "pins.lock"

SourceName = Literal["file", "bundle", "release", "module"]
Kind = Literal["binary", "images", "chart"]
Needed = Literal["node", "operator", "optional"]
Platform = Literal["amd64", "arm64", "darwin-amd64", "darwin-arm64", "any"]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+/[^\s]*[^\s/]$")]
# Names become file names in the cache and on the node.
PinName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$")]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ReleasePin(Model):
    """The vendor's download for one platform. ``sha256`` is of the file at ``url``, before ``member`` is taken out."""

    url: Url
    sha256: Sha256 | None = None
    checksums: Url | None = None
    member: str | None = None


class ModulePin(Model):
    """A main package of a Go module at an exact version.

    ``replace`` (module -> module@version) and ``exclude`` (module@version) repeat those of the module's own go.mod,
    which Go leaves out of account when the module is not the main one.
    """

    module: str
    version: Annotated[str, StringConstraints(pattern=r"^v\d")]
    package: str
    ldflags: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    replace: Mapping[str, str] = Field(default_factory=dict)
    exclude: tuple[str, ...] = ()


class FilePin(Model):
    """A file of the operator's own; a relative path is relative to the pins file that names it."""

    path: Path
    sha256: Sha256 | None = None


class Pin(Model):
    """One artifact: where it may come from, and who needs it. ``release`` is by platform (Linux has no prefix).

    ``feed``: where newer versions are told when that is not where the files lie. ``held``: why a node keeps this
    version though another is pinned; written by `upgrade` alone.
    """

    version: str
    kind: Kind = "binary"
    needed: Needed = "node"
    sources: tuple[SourceName, ...] = ()
    release: Mapping[Platform, ReleasePin] = Field(default_factory=dict)
    module: ModulePin | None = None
    file: FilePin | None = None
    feed: Annotated[str, StringConstraints(pattern=r"^(github:[\w.-]+/[\w.-]+)?$")] = ""
    held: str = ""

    @model_validator(mode="after")
    def _comes_from_somewhere(self) -> Pin:
        if not (self.release or self.module or self.file):
            raise ValueError("comes from nowhere: it has no release, module or file")
        return self


class PinsFile(Model):
    """What one file says: its tables by name, container images, and the order of sources for what is below it."""

    images: Mapping[str, str] = Field(default_factory=dict)
    sources: tuple[SourceName, ...] = ()
    entries: Mapping[PinName, Pin]


@dataclass(frozen=True, slots=True)
class Pins:
    """Every pin by name, the container images the pins fix, and the file where first-use digests are remembered."""

    entries: Mapping[str, Pin]
    images: Mapping[str, str]
    lock: Path
    overlay: Path | None = None

    @property
    def preload(self) -> tuple[str, ...]:
        """Names of the tarballs of container images that the node's image store is handed before its first pod."""
        return tuple(name for name, pin in self.entries.items() if pin.kind == "images")

    def needed(self, *who: Needed) -> tuple[str, ...]:
        """Names of the pins that any of ``who`` needs, in the order of the file."""
        return tuple(name for name, pin in self.entries.items() if pin.needed in who)

    def pick(self, names: tuple[str, ...] | list[str]) -> tuple[str, ...]:
        """``names`` themselves, without doubles; InputError names every one that no pin has."""
        unknown = [name for name in names if name not in self.entries]
        if unknown:
            known = "one of " + ", ".join(self.entries)
            where = str(self.overlay or BUILT_IN.name)
            raise InputError(*(Problem(where, 0, name, "no such artifact", known) for name in unknown))
        return tuple(dict.fromkeys(names))


def load_pins(overlay: Path | None = None, own: Path | None = None, held: Path | None = None) -> Pins:
    """The built-in pins, with ``overlay``'s entries and images in place of, or besides, those of the same name, and
    those of ``own``, a node's, over both; ``held`` is what the node keeps for now, whatever the others say.

    A file's ``sources`` are the order for every pin below it, and of its own that do not say one themselves.

    Raises InputError with every mistake in a file at once.
    """
    base = _read(BUILT_IN)
    entries, images, order = dict(base.entries), dict(base.images), tuple[SourceName, ...]()
    for path in filter(None, (overlay, own, held)):
        over = _read(path)
        entries, images, order = {**entries, **over.entries}, {**images, **over.images}, over.sources or order
        fresh = set(over.entries) if not over.sources else set(entries)
        for name in fresh if order else ():
            if name not in over.entries or not entries[name].sources:
                entries[name] = entries[name].model_copy(update={"sources": order})
    return Pins(entries=entries, images=images, lock=_lock_folder(overlay) / LOCK_NAME, overlay=overlay)


def _lock_folder(overlay: Path | None) -> Path:
    if overlay is not None:
        return overlay.absolute().parent
    import platformdirs

    return platformdirs.user_config_path("binder-node")


def _read(path: Path) -> PinsFile:
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(Problem(str(path), 0, "", f"cannot be read: {error.strerror}", "give a pins file")) from error
    except UnicodeDecodeError as error:
        raise InputError(Problem(str(path), 0, "", f"is not UTF-8: {error.reason}", "save it as UTF-8")) from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(
            Problem(str(path), 0, "", f"is not TOML: {error}", "see docs/reference/artifacts.md")
        ) from error
    return parse_pins(raw, path)


def parse_pins(raw: Mapping[str, Any], path: Path) -> PinsFile:
    """Validate one file's tables; relative file paths become absolute, from the folder of ``path``."""
    of_the_file = {name: raw[name] for name in ("images", "sources") if name in raw}
    entries = {name: table for name, table in raw.items() if name not in of_the_file}
    try:
        parsed = PinsFile.model_validate({**of_the_file, "entries": entries})
    except ValidationError as error:
        raise InputError(*(_problem(path, dict(detail)) for detail in error.errors())) from error
    here = path.absolute().parent
    return parsed.model_copy(update={"entries": {name: _anchored(pin, here) for name, pin in parsed.entries.items()}})


def _anchored(pin: Pin, here: Path) -> Pin:
    if pin.file is None:
        return pin
    return pin.model_copy(update={"file": pin.file.model_copy(update={"path": here / pin.file.path})})


def _problem(path: Path, detail: dict[str, Any]) -> Problem:
    place = [str(part) for part in detail["loc"] if part not in ("entries", "[key]")]
    wrong = {"extra_forbidden": "is not a key here", "missing": "is missing"}.get(detail["type"], detail["msg"])
    return Problem(str(path), 0, ".".join(place), wrong, "see docs/reference/artifacts.md")
