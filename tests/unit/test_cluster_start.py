"""The program that begins a user's server, run as a pod runs it, in an environment of its own with stand-ins for
JupyterLab, for the servers' programs and for the module that is put off."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from binder_node.capacity.on_node.parts import pod_part
from binder_node.cluster.start import start_command

# A server's program as pip writes it. It tells what it sees, then does what the test wants of it.
PROGRAM = """\
import json, os, sys
print(json.dumps({
    "name": __name__, "file": __file__, "argv": sys.argv, "pid": os.getpid(), "path": sys.path[0],
    "main": sys.modules["__main__"].__file__, "imported": [name for name in sys.modules if "jupyterlab" in name],
}))
"""
SLOW = """\
print("built the parsers")
from .helpers import *
"""
HELPERS = """\
def is_valid_syntax(term, value=""):
    return (term, value, __name__)
def parse(term):
    return "parsed " + term
"""
IMPORTS = "from rfc3987_syntax import is_valid_syntax\nprint('imported the checks')\n"


@dataclass(frozen=True)
class Image:
    """What of a user's image the program meets."""

    root: Path

    @property
    def bin(self) -> Path:
        return self.root / "bin"

    def package(self, name: str, **modules: str) -> None:
        folder = next(self.root.glob("lib/python3*/site-packages")) / name
        folder.mkdir()
        for module, text in modules.items():
            (folder / f"{module}.py").write_text(text)

    def lab(self, version: str = "4.6.6", app: str = "") -> None:
        self.package("jupyterlab", __init__=f"__version__ = {version!r}\n", labapp=app)

    def slow(self) -> None:
        self.package("rfc3987_syntax", __init__=SLOW, helpers=HELPERS)
        self.package("lark", __init__="")

    def program(self, name: str, more: str = "", first: str | None = None) -> Path:
        path = self.bin / name
        path.write_text(f"{first or f'#!{self.bin}/python3'}\n{PROGRAM}{dedent(more)}")
        path.chmod(0o755)
        return path

    def begin(self, *, path: str = "") -> tuple[dict[str, Any], list[str], int]:
        """What the server told, everything that was printed, and the process that the pod began."""
        repository = self.root / "home"
        repository.mkdir(exist_ok=True)
        environment = {"PATH": f"{path or self.bin}:/usr/bin:/bin", "HOME": str(repository)}
        command = [str(self.bin / "python3"), *start_command()[1:], "--port=8888", "--ServerApp.token=it's $(HOME)"]
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=repository,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        said = process.communicate(timeout=60)[0].splitlines()
        told = [json.loads(line) for line in said if line.startswith("{")]
        assert len(told) == 1, said
        return told[0], said, process.pid


@pytest.fixture
def image(tmp_path: Path) -> Image:
    venv.create(tmp_path, symlinks=True)
    return Image(tmp_path)


def test_the_server_begins_in_the_process_that_looked_for_it(image: Image) -> None:
    image.lab(app=IMPORTS)
    image.slow()
    script = image.program("jupyter-lab")
    told, said, pid = image.begin()
    assert told == {
        "name": "__main__",
        "file": str(script),
        "main": str(script),
        "argv": [str(script), "--port=8888", "--ServerApp.token=it's $(HOME)"],
        "pid": pid,
        "path": str(image.bin),
        "imported": ["jupyterlab", "jupyterlab.labapp"],
    }
    assert said.count("imported the checks") == 1
    assert "built the parsers" not in said


@pytest.mark.parametrize(
    "use",
    [
        "from rfc3987_syntax import is_valid_syntax\nfor _ in '12': print(is_valid_syntax('iri', value='a:b'))",
        "import rfc3987_syntax\nprint((*rfc3987_syntax.parse('iri').split(), rfc3987_syntax.__name__))",
        "from rfc3987_syntax import *\nprint(parse('x'), is_valid_syntax('iri'))",
        "from rfc3987_syntax.helpers import parse\nprint(parse('x'))",
    ],
    ids=["its function", "another one", "everything", "a module of its"],
)
def test_what_was_put_off_is_there_when_it_is_used(image: Image, use: str) -> None:
    image.slow()
    image.program("jupyter-notebook", f"{use}\n")
    _, said, _ = image.begin()
    straight = subprocess.run([image.bin / "python3", "-c", use], text=True, capture_output=True, check=True).stdout
    printed = straight.splitlines()
    # A part of a package is importable without the whole: then the whole is never needed.
    kept = printed if "a:b" in straight or "helpers" not in use else [line for line in printed if "built" not in line]
    assert said[-len(kept) :] == kept
    assert said.count("built the parsers") == kept.count("built the parsers") <= 1


def test_what_would_fail_still_fails(image: Image) -> None:
    text = "for _ in '12':\n    try:\n        {}\n    except ImportError as error:\n        print(error)\n"
    image.package("rfc3987_syntax", __init__="import lark\nraise ImportError('built for another Python')\n")
    image.program("jupyter-notebook", text.format("import rfc3987_syntax"))
    assert image.begin()[1][-2:] == ["No module named 'lark'"] * 2
    # Where it is there, its failure is that of the first use.
    image.package("lark", __init__="")
    used = "from rfc3987_syntax import is_valid_syntax as valid; print('imported'); valid('iri')"
    image.program("jupyter-notebook", text.format(used))
    assert image.begin()[1][-4:] == ["imported", "built for another Python"] * 2


def test_what_is_not_installed_is_still_not_there(image: Image) -> None:
    image.program("jupyter-notebook", "try:\n    import rfc3987_syntax\nexcept ImportError:\n    print('none')\n")
    assert image.begin()[1][-1] == "none"


def test_what_cannot_be_put_off_is_no_reason_not_to_begin(image: Image) -> None:
    hook = (
        "import sys\nclass Finder:\n    def find_spec(self, name, *_):\n        if 'rfc' in name: raise OSError('no')\n"
    )
    packages = next(image.root.glob("lib/python3*/site-packages"))
    (packages / "hook.py").write_text(f"{hook}sys.meta_path.insert(0, Finder())\n")
    (packages / "hook.pth").write_text("import hook\n")
    image.program("jupyter-notebook")
    told, said, pid = image.begin()
    assert told["pid"] == pid
    assert "Nothing is put off: no" in said


@pytest.mark.parametrize(
    ("version", "app"),
    [("2.3.2", ""), ("4.0.0", "raise RuntimeError('broken')"), (None, "")],
    ids=["too old", "broken", "none"],
)
def test_without_a_lab_it_is_the_notebook_server(image: Image, version: str | None, app: str) -> None:
    if version is not None:
        image.lab(version, app)
    image.program("jupyter-lab")
    script = image.program("jupyter-notebook")
    assert image.begin()[0]["file"] == str(script)


def test_a_repository_with_files_named_like_modules_starts_as_any(image: Image) -> None:
    image.lab()
    script = image.program("jupyter-lab", "import string\nprint(string.digits)\n")
    home = image.root / "home"
    home.mkdir()
    for name in ("jupyterlab.py", "string.py", "shutil.py"):
        (home / name).write_text("raise SystemExit('the repository was imported')\n")
    told, said, _ = image.begin()
    assert told["file"] == str(script)
    assert said[-1] == "0123456789"


def test_movable_scripts_run_here_too(image: Image) -> None:
    first = "#!/bin/sh\n'''exec' \"$(dirname -- \"$(realpath -- \"$0\")\")\"/'python' \"$0\" \"$@\"\n' '''"
    image.program("jupyter-notebook", first=first)
    told, _, pid = image.begin()
    assert (told["pid"], told["path"]) == (pid, str(image.bin))


@pytest.mark.parametrize(
    "first",
    ["#!/usr/bin/env python3", "#!{bin}/python3 -s", "#!{base}"],
    ids=["whichever is found", "with options", "another one's"],
)
def test_what_is_not_sure_to_be_this_interpreters_is_begun_as_upstream_does(image: Image, first: str) -> None:
    image.lab()
    image.slow()
    text = first.format(bin=image.bin, base=os.path.realpath(sys.executable))
    script = image.program("jupyter-lab", first=text)
    told, said, pid = image.begin()
    # `exec` keeps the process; nothing that was imported or put off comes along.
    assert (told["pid"], told["argv"][0], told["imported"]) == (pid, str(script), [])
    assert "Starting jupyter-lab by its own interpreter" in said


def test_a_program_of_the_users_own_in_front_is_the_one_that_begins(image: Image) -> None:
    image.lab()
    image.program("jupyter-lab")
    own = image.root / "own"
    own.mkdir()
    (own / "jupyter-lab").write_text('#!/bin/sh\nprintf \'{"own": "%s %s"}\\n\' "$1" "$2"\n')
    (own / "jupyter-lab").chmod(0o755)
    assert image.begin(path=f"{own}:{image.bin}")[0] == {"own": "--port=8888 --ServerApp.token=it's $(HOME)"}


def test_an_image_without_any_server_says_so(image: Image) -> None:
    done = subprocess.run(
        [image.bin / "python3", *start_command()[1:]],
        env={"PATH": str(image.bin)},
        text=True,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "FileNotFoundError" in done.stderr


def test_the_servers_core_seconds_count_as_sessions() -> None:
    assert pod_part(" ".join(start_command())) == "sessions"
