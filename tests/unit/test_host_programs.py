"""Programs of ours on the node: what is put there is all that they need."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from binder_node.host.diff import todo
from binder_node.host.observe import digest
from binder_node.layout import LIB
from tests.unit.host_samples import VARIANTS, as_made, sample_wanted

# Where the version before had them: each with a client of S3 of its own.
BEFORE = (
    "/etc/binder-node/backup.py",
    "/etc/binder-node/events.py",
    *(f"{LIB}/retention/{name}.py" for name in ("__init__", "__main__", "images", "journal", "records", "s3")),
)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_module_that_a_unit_starts_finds_what_it_imports(variant: str, tmp_path: Path) -> None:
    """Among what is put on this node; nothing of this computer's is looked at but Python's own library."""
    components = sample_wanted(VARIANTS[variant]()).components
    for file in (file for component in components for file in component.files if file.path.startswith(f"{LIB}/")):
        path = tmp_path / Path(file.path).relative_to(LIB)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
    units = "".join(unit.content or "" for component in components for unit in component.units)
    started = set(re.findall(r"/usr/bin/python3 -m (\S+)", units))
    assert {"on_node.backup", "watch"} <= started
    modules = [f"{name}.__main__" if (tmp_path / name.replace(".", "/")).is_dir() else name for name in started]
    # -I has it look at no folder but those of the library: ours is put before them.
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import {', '.join(modules)}"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_node_of_the_version_before_loses_its_files_and_starts_nothing_anew(variant: str) -> None:
    """systemd reads the units again; what their timers start next is the new program."""
    wanted = sample_wanted(VARIANTS[variant]())
    seen = as_made(wanted)
    changed: dict[str, dict[str, Any] | None] = {}
    for component in wanted.components:
        if component.name == "metrics":  # younger than that
            continue
        for file in component.all_files():
            if b"-m on_node." in file.content:
                changed[file.path] = {**(seen.files[file.path] or {}), "sha256": digest(b"as it was")}
            elif file.path.startswith(f"{LIB}/on_node/"):
                changed[file.path] = None
    seen.files.update(changed)
    seen.manifest.update(paths=[*BEFORE, *(path for path, about in changed.items() if about)], units=[])
    made = todo(wanted, seen)
    assert made.removed == BEFORE
    assert (made.reload, made.restart, made.enable, made.gone_units) == (True, (), (), ())
    assert {file.path for work in made.works for file in work.files} == set(changed)
