"""Go programs whose source, or whose go.mod alone, lies in this repository, built into the product's cache."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from binder_node.artifacts.build import go_version
from binder_node.artifacts.cache import Cache
from binder_node.errors import DeadlineError, StepError
from binder_node.events import Reporter, step

DEADLINE = 1800.0  # seconds for one build; Kubernetes took 300 on two cores


@dataclass(frozen=True, slots=True)
class Program:
    """``folder`` holds go.mod and perhaps source; ``package`` is what is built in it.

    ``overlays``: by (module, file in it), the file below ``folder`` that is compiled in its place: upstream's program
    without the parts that no test here could use.
    """

    name: str
    folder: Path
    package: str = "."
    ldflags: tuple[str, ...] = ()
    overlays: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def key(self, go: str) -> str:
        """Everything that decides the bytes: the folder's content, the flags, the toolchain."""
        content = hashlib.sha256()
        for path in self.sources():
            content.update(f"{path.relative_to(self.folder)}\0{path.stat().st_size}\0".encode())
            content.update(path.read_bytes())
        over = sorted((*place, file) for place, file in self.overlays.items())
        return "testbed go " + json.dumps([self.name, self.package, self.ldflags, over, content.hexdigest(), go])

    def sources(self) -> Iterator[Path]:
        """The files that go into the build, in a fixed order."""
        return (
            path for path in sorted(self.folder.rglob("*")) if path.is_file() and not path.name.endswith("_test.go")
        )


def build(program: Program, cache: Cache, report: Reporter) -> Path:
    """The program's path in the cache, built if it is not there. StepError with Go's last lines if that fails."""
    key = program.key(go_version())
    with cache.lock("go build", "another build", report):  # one at a time: Go takes every core by itself
        if (stored := cache.lookup(key, report)) is None:
            with step(report, "artifacts", f"{program.name} (go build)"), cache.scratch() as scratch:
                stored = cache.add(key, program.name, _build(program, scratch), executable=True)
        return stored.path


def _build(program: Program, scratch: Path) -> Path:
    work, out = scratch / "src", scratch / program.name
    shutil.copytree(program.folder, work)  # Go writes go.mod and go.sum: not in the checkout
    _lay_over(program, work)
    flags = ["-trimpath", "-ldflags", " ".join(("-s", "-w", *program.ldflags))]
    _go(program, work, "build", *flags, "-o", str(out), program.package)
    return out


def _lay_over(program: Program, work: Path) -> None:
    """Give the modules that have overlays a copy of their own: Go's -overlay refuses to touch the module cache."""
    for module in sorted({module for module, _ in program.overlays}):
        _go(program, work, "mod", "download", module)
        found = _go(program, work, "list", "-m", "-f", "{{.Dir}}", module).strip()
        copy = work / "modules" / module
        shutil.copytree(found, copy, ignore=shutil.ignore_patterns("*_test.go", "testdata"))
        for (owner, name), ours in program.overlays.items():
            if owner == module:
                (copy / name).parent.chmod(0o755)
                (copy / name).unlink()  # which must have been there
                shutil.copyfile(work / ours, copy / name)
        _go(program, work, "mod", "edit", f"-replace={module}=./modules/{module}")


def _go(program: Program, work: Path, *arguments: str) -> str:
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod", "GOWORK": "off", "GOOS": "linux"}
    try:
        done = subprocess.run(
            ["go", *arguments], cwd=work, env=env, capture_output=True, text=True, timeout=DEADLINE, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise DeadlineError("here", f"the build of {program.name}", DEADLINE) from error
    if done.returncode:
        raise StepError("here", f"build {program.name}", done.stderr[-4000:], "the last lines are Go's")
    return done.stdout
