"""Bundles: a folder with everything, and its manifest of digests, for a machine with no internet."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from binder_node.artifacts.cache import digest
from binder_node.artifacts.model import Artifact
from binder_node.artifacts.recipe import BundleEntry
from binder_node.errors import InputError, Problem, StepError

MANIFEST = "manifest.json"
FORMAT = 1


def read_manifest(folder: Path) -> dict[str, BundleEntry]:
    """What the bundle has, by name. InputError if it is no bundle, or of another format."""
    path = folder / MANIFEST
    remedy = "make it with `binder-node artifacts bundle DIR`"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["format"] != FORMAT:
            wrong = f"has format {raw['format']}, this version reads {FORMAT}"
            raise InputError(Problem(str(path), 0, "format", wrong, remedy))
        entries = {name: BundleEntry(**{"name": name, **entry}) for name, entry in raw["artifacts"].items()}
    except OSError as error:
        raise InputError(Problem(str(path), 0, "", f"cannot be read: {error.strerror}", remedy)) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(Problem(str(path), 0, "", f"is no bundle's manifest: {error}", remedy)) from error
    outside = [entry for entry in entries.values() if Path(entry.file).name != entry.file]
    if outside:
        raise InputError(*(Problem(str(path), 0, e.name, f"{e.file} is not in the bundle", remedy) for e in outside))
    return entries


def render_manifest(entries: Mapping[str, BundleEntry]) -> str:
    """The manifest's text: JSON, sorted, so that equal bundles are equal files."""
    artifacts = {name: {k: v for k, v in asdict(entry).items() if k != "name"} for name, entry in entries.items()}
    return json.dumps({"format": FORMAT, "artifacts": artifacts}, indent=2, sort_keys=True) + "\n"


def write_bundle(
    folder: Path, artifacts: Mapping[str, Artifact], platforms: Mapping[str, str]
) -> dict[str, BundleEntry]:
    """Copy the artifacts into ``folder`` and write the manifest last: a folder with one is whole.

    ``platforms`` is each artifact's (``amd64``, ``any``, ...). Entries of an older bundle there are replaced.
    """
    entries = {
        name: BundleEntry(name, art.version, platforms[name], name, art.sha256, art.size)
        for name, art in artifacts.items()
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)
        for name, art in artifacts.items():
            fresh = folder / f".{name}.new"
            shutil.copyfile(art.path, fresh)
            if digest(fresh) != art.sha256:
                fresh.unlink()
                raise _wrong(folder, art)
            fresh.chmod(0o644)
            fresh.replace(folder / name)
        fresh = folder / f".{MANIFEST}.new"
        with fresh.open("w", encoding="utf-8") as file:
            file.write(render_manifest(entries))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(folder / MANIFEST)
    except OSError as error:
        raise StepError("here", f"write the bundle {folder}", str(error), "give a folder with room for it") from error
    return entries


def _wrong(folder: Path, artifact: Artifact) -> StepError:
    doing = f"write the bundle {folder}"
    if artifact.drop_if_damaged():
        reason = f"{artifact.name} was damaged in the cache; it was removed"
        return StepError("here", doing, reason, "run the same command again: it is made anew")
    return StepError("here", doing, f"{artifact.name} was damaged on its way there", "check that disk")
