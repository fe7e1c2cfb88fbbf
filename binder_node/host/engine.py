"""The build engine's folder, which build pods mount read-only."""

from __future__ import annotations

from collections.abc import Mapping

from binder_node.artifacts.model import Artifact
from binder_node.host.wanted import Component, Copy, File, Folder, Link, Upload
from binder_node.layout import BIN, ENGINE_STATE
from binder_node.spec.model import Spec


def engine(spec: Spec, artifacts: Mapping[str, Artifact], files: Mapping[str, bytes]) -> Component:
    """``files`` are the engine's own, by path relative to its folder; ``buildctl`` is put beside them."""
    root = f"{spec.machine.state}/{ENGINE_STATE}"
    folders = sorted({parent for path in files for parent in _parents(path)} | {"bin"})
    buildctl = Upload(artifacts["buildctl"])
    return Component(
        "engine",
        folders=tuple(Folder(f"{root}/{folder}") for folder in folders),
        uploads=(buildctl,),
        # The folder is mounted alone: a link to the store would dangle in the pod.
        copies=(Copy(artifacts["buildctl"], f"{root}/bin/buildctl"),),
        files=tuple(File(f"{root}/{path}", content) for path, content in sorted(files.items())),
        links=(Link(str(BIN / "buildctl"), buildctl.path),),
    )


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]
