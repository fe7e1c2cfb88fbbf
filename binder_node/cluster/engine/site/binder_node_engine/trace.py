"""What BuildKit's trace (``buildctl build --trace``) says about a failed build."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

# How BuildKit's exporters name their steps (exporter/containerimage/export.go, solver/llbsolver/solver.go v0.33.1).
_EXPORT = "exporting to "


@dataclass(frozen=True)
class Verdict:
    """``failed`` is the first step that failed (none: the builder, or the Dockerfile), ``error`` what it said.

    ``exporting`` is whether everything was built and only writing or pushing the image failed.
    """

    failed: str = ""
    error: str = ""
    exporting: bool = False

    @property
    def exit_code(self) -> int | None:
        """The step's exit code where it has one; BuildKit's ExitError (solver/errdefs, pb) ends with it."""
        code = self.error.rpartition("exit code: ")[2]
        return int(code) if code.isdigit() else None


def read(trace: Path) -> Verdict:
    """Judge by the steps in the file ``trace``, one JSON object a line; a half-written last line is left out."""
    names: dict[str, str] = {}
    errors: dict[str, str] = {}
    try:
        lines = trace.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return Verdict()
    for line in lines:
        try:
            status = json.loads(line)
        except ValueError:
            continue
        for vertex in status.get("vertexes") or ():
            names[vertex["digest"]] = vertex.get("name", "")
            if vertex.get("error"):
                errors.setdefault(vertex["digest"], vertex["error"])
    for digest, error in errors.items():  # the first is the cause: others are cut off by it
        return Verdict(names[digest], error, names[digest].startswith(_EXPORT))
    return Verdict()
