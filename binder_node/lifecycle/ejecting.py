"""``eject``: a node as plain files, with which it can be run without this toolkit."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from binder_node import __version__
from binder_node.artifacts.model import Artifact
from binder_node.artifacts.store import Sources
from binder_node.cluster import operators
from binder_node.cluster import plain as release
from binder_node.cluster.release import CHART, HELM, ReleaseStage
from binder_node.errors import InputError, Problem
from binder_node.events import Reporter, quiet, step
from binder_node.host import plain as host
from binder_node.host.stage import HostStage
from binder_node.lifecycle import ejected
from binder_node.lifecycle.opened import Opened, ensure_artifacts, open_bare, open_node
from binder_node.lifecycle.stages import later_stages
from binder_node.names.records import wanted as records
from binder_node.node import Node
from binder_node.providers import provider_for
from binder_node.spec.model import NodeStorage
from binder_node.storage import plain as storage

STAGE = "eject"
MC = "mc"


@dataclass(frozen=True, slots=True)
class Ejected:
    """What was written: ``bytes`` in all; ``address`` is the machine's that it is for."""

    node: str
    folder: str
    files: int
    bytes: int
    address: str


def eject(opened: Opened, folder: Path, report: Reporter, sources: Sources) -> Ejected:
    """Write everything that makes the node into ``folder``, secrets too; touches no machine.

    Raises:
        InputError: ``folder`` has something in it; another chart makes the release; the node has no address yet.
        StepError: the node has no secrets, or an artifact could not be had.
    """
    _refuse(opened, folder)
    open_bare(opened)  # says that it was never made, before anything is fetched
    node = open_node(opened, report, sources=sources, write=False)
    provider = provider_for(node)
    address = provider.address(provider.inspect(quiet(report)))
    if not address:
        right = f"make it by `binder-node up {opened.spec.name}`"
        raise InputError(Problem(str(opened.inventory), 0, "", "the node has no machine yet, and so no address", right))
    files, artifacts = content(node, address)
    if isinstance(opened.spec.storage, NodeStorage):
        artifacts[f"bin/{MC}"] = (ensure_artifacts(opened, report, sources, only=(MC,))[MC], 0o755)
    with step(report, STAGE, f"write {len(files) + len(artifacts)} files"):
        size = _write(folder, files, artifacts)
    return Ejected(opened.spec.name, str(folder), len(files) + len(artifacts), size, address)


def _refuse(opened: Opened, folder: Path) -> None:
    if opened.spec.central:
        right = "`binder-node federation export` writes the files of such a member"
        raise InputError(Problem(str(opened.inventory), 0, "deploy", "is federation", right))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(Problem(str(folder), 0, "", "is not empty", "name a folder that is new or empty"))


def content(node: Node, address: str) -> tuple[dict[str, tuple[bytes, int]], dict[str, tuple[Artifact, int]]]:
    """Contents and modes of the files, and the artifacts with theirs, by relative path.

    Raises:
        InputError: a values file or a certificate of the inventory is wrong.
    """
    stages = later_stages(node, None, address)
    machine = next(stage for stage in stages if isinstance(stage, HostStage))
    made = next(stage for stage in stages if isinstance(stage, ReleaseStage))
    spec = node.spec
    own = host.plain(machine.wanted)
    names = spec.kubernetes.operators
    files = dict(own.files)
    files |= release.plain(
        made.composed,
        made.digest,
        node.artifacts[CHART].sha256,
        made.certificate.secret() if made.certificate else None,
        operators.objects(names, token_hex(4)) if names else (),
    )
    if isinstance(spec.storage, NodeStorage):
        files |= storage.plain(spec, node.secrets)
    artifacts = {f"{host.ARTIFACTS}/{name}": (upload.artifact, 0o644) for name, upload in own.artifacts.items()}
    artifacts[release.CHART] = (node.artifacts[CHART], 0o644)
    artifacts[f"bin/{HELM}"] = (node.artifacts[HELM], 0o755)
    zone = [line for record in records(spec, address) for line in record.line().splitlines()]
    text = ejected.readme(spec, address, zone, _versions(node), __version__, sorted(files))
    files["README.md"] = (text.encode(), 0o644)
    return files, artifacts


def _versions(node: Node) -> list[tuple[str, str, str]]:
    return sorted((one.name, one.version, one.sha256) for one in node.artifacts.values())


def _write(folder: Path, files: Mapping[str, tuple[bytes, int]], artifacts: Mapping[str, tuple[Artifact, int]]) -> int:
    """Closed to others: secrets are among them. Returns the bytes."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    size = 0
    for relative, (data, mode) in files.items():
        path = folder / relative
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        size += len(data)
    for relative, (artifact, mode) in artifacts.items():
        path = folder / relative
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copyfile(artifact.path, path)
        path.chmod(mode)
        size += artifact.size
    return size
