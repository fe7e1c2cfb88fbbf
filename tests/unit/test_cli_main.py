"""The command line as an operator meets it: help, mistakes, confirmations, colours, what it loads."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from binder_node import __version__
from binder_node.cli.lazy import LazyCommand, LazyGroup, commands_of
from binder_node.cli.main import COMMANDS as LINES
from binder_node.cli.main import app
from binder_node.cli.reference import EXIT_CODES, VARIABLES, examples, markdown
from binder_node.errors import BinderNodeError

ROOT = Path(__file__).parents[2]
# Nothing of these is needed to show help, and each costs a start between 50 and 700 ms.
HEAVY = (
    "pydantic",
    "hcloud",
    "requests",
    "ruamel",
    "rich.console",
    "httpx",
    "kubernetes",
    "minio",
    "pyinfra",
    "paramiko",
    "websockets",
    "pytest",
    "testinfra",
)


def every_command() -> dict[str, Any]:
    root: Any = typer.main.get_command(app)
    found: dict[str, Any] = {}
    for name, command in root.commands.items():
        inner = command.loaded() if isinstance(command, LazyGroup) else {}
        whole = command.loaded() if isinstance(command, LazyCommand) else command
        found |= {f"{name} {sub}": subcommand for sub, subcommand in inner.items()} or {name: whole}
    return found


COMMANDS = every_command()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in, with no setting, secret or lock of the real user's."""
    monkeypatch.chdir(tmp_path)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BINDER_NODE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("BINDER_NODE_IDENTITY", str(tmp_path / "identity.txt"))
    monkeypatch.setenv("BINDER_NODE_LOCAL_DIR", str(tmp_path / "machines"))
    monkeypatch.setenv("BINDER_NODE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def script(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The real script in a process of its own, without a terminal."""
    code = "from binder_node.cli.main import run; run()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does_and_shows_an_example_that_parses(name: str) -> None:
    shown = run(*name.split(), "--help")
    assert shown.exit_code == 0
    assert "Example" in shown.stdout
    found = examples(COMMANDS[name])
    assert found
    for example in found:
        words = re.split(r" [|>] ", example)[0].split(" -- ")[0].split()
        assert words[0] == "binder-node"
        known = " ".join(words[1:3]) if " ".join(words[1:3]) in COMMANDS else words[1]
        options = {option for param in COMMANDS[known].params for option in param.opts}
        assert {word for word in words if re.fullmatch(r"--?[a-z-]+", word)} <= options


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_and_option_says_what_it_is(name: str) -> None:
    assert [param.name for param in COMMANDS[name].params if not param.help] == []


@pytest.mark.parametrize(("panel", "module"), LINES)
def test_the_roots_help_says_what_the_commands_say(panel: str, module: str) -> None:
    whole = commands_of(module)
    said = {name: (one.rich_help_panel, " ".join(one.help.split("\n\n")[0].split())) for name, one in whole.items()}
    assert said == {name: (panel, line) for name, line in LINES[panel, module].items()}


def test_the_reference_is_what_the_commands_say() -> None:
    page = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    assert page == markdown(), "run `python -m binder_node.cli.reference > docs/reference/cli.md`"


def test_the_reference_has_every_exit_code_and_every_variable_of_the_code() -> None:
    kinds: set[type[BinderNodeError]] = {BinderNodeError, *all_kinds(BinderNodeError)}
    codes = {kind.exit_code for kind in kinds}
    assert codes <= EXIT_CODES.keys()
    # What the build engine reads in its pod is no operator's.
    files = [file for file in (ROOT / "binder_node").rglob("*.py") if "engine" not in file.parts]
    said = {name for file in files for name in re.findall(r"BINDER_NODE_[A-Z0-9_]+", file.read_text(encoding="utf-8"))}
    assert said == {name for name in VARIABLES if name.startswith("BINDER_NODE_")}


def all_kinds(kind: type[BinderNodeError]) -> set[type[BinderNodeError]]:
    return {found for child in kind.__subclasses__() for found in (child, *all_kinds(child))}


def test_version() -> None:
    assert run("--version").stdout == f"binder-node {__version__}\n"


def test_a_wrong_inventory_is_told_line_by_line_and_nothing_else(home: Path) -> None:
    (home / "bad.yaml").write_text("name: bad\nprovider: {kind: local}\nmachin: {}\nnames: {binder: NOT}\n")
    for verb in ("plan", "up", "status", "launch", "logs", "destroy"):
        more = {"launch": ["gh/a/b"], "logs": ["k3s"]}.get(verb, [])
        told = run(verb, "bad.yaml", *more)
        assert (told.exit_code, told.stdout) == (2, ""), verb
        lines = told.stderr.splitlines()
        assert "bad.yaml:3: machin: unknown key; did you mean machine?" in lines
        assert all(re.fullmatch(r"bad\.yaml:\d+: [a-z.]+: .+; .+", line) for line in lines), lines
        assert len(lines) > 2
    assert sorted(path.name for path in home.iterdir()) == ["bad.yaml"]


def test_a_node_that_is_not_there_is_named(home: Path) -> None:
    told = run("up", "nowhere")
    assert (told.exit_code, told.stdout) == (2, "")
    assert "inventories/nowhere.yaml" in told.stderr
    assert list(home.iterdir()) == []


def test_tracebacks_are_for_debug_only(home: Path) -> None:
    (home / "bad.yaml").write_text("name: bad\n")
    quiet, loud = script("check", "bad.yaml"), script("--debug", "check", "bad.yaml")
    assert (quiet.returncode, "Traceback" in quiet.stderr) == (2, False)
    assert loud.returncode != 0
    assert "InputError" in loud.stderr
    assert "load_inventory" in loud.stderr


@pytest.fixture
def node() -> str:
    """The inventory of a machine that was never made, in 203.0.113.0/24 (RFC 5737: nobody is there)."""
    assert run("init", "lone", "--provider", "ssh", "--address", "203.0.113.7").exit_code == 0
    return "lone"


@pytest.mark.parametrize("answer", [[], ["--yes", "other"], ["--yes", ""], ["--yes", "LONE"]])
def test_destroy_wants_the_nodes_name(home: Path, node: str, answer: list[str]) -> None:
    before = sorted(home.rglob("*"))
    refused = script("destroy", node, *answer)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "nothing was done" in refused.stderr
    assert node in refused.stderr
    assert sorted(home.rglob("*")) == before


def test_unlock_says_who_holds_the_lock_and_wants_the_name_too(home: Path, node: str) -> None:
    assert "not locked" in run("unlock", node).stderr
    lock = home / "state" / node / "lock"
    lock.parent.mkdir(parents=True)
    lock.write_text(json.dumps({"pid": 4711, "user": "ana", "host": "laptop", "verb": "up", "since": 0}))
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        blocked = script("destroy", node, "--yes", node)
        assert blocked.returncode == 4
        assert "up by ana@laptop, process 4711" in blocked.stderr
        refused = script("unlock", node)
        assert refused.returncode == 2
        assert "process 4711" in refused.stderr
        assert lock.exists()
        assert script("unlock", node, "--yes", node).returncode == 0
    assert not lock.exists()


def test_a_component_that_there_is_not_is_told_with_those_that_there_are(node: str) -> None:
    told = run("logs", node, "mysql")
    assert (told.exit_code, told.stdout) == (2, "")
    assert "'mysql'" in told.stderr
    assert {"k3s", "buildkit", "hub", "binder"} <= set(re.findall(r"\w+", told.stderr))


def test_a_source_that_there_is_not_is_told(node: str) -> None:
    told = run("plan", node, "--source", "release,torrent")
    assert (told.exit_code, told.stdout) == (2, "")
    assert "torrent" in told.stderr
    assert "release" in told.stderr


@pytest.mark.parametrize("setting", [{}, {"NO_COLOR": "1"}])
def test_no_escape_codes_without_a_terminal(
    home: Path, node: str, setting: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in setting.items():
        monkeypatch.setenv(name, value)
    (home / "bad.yaml").write_text("name: bad\n")
    for words in (["check", node], ["check", "bad.yaml"], ["destroy", node], ["--help"], ["logs", node, "hub"]):
        done = script(*words)
        assert "\x1b" not in done.stdout + done.stderr, words


@pytest.mark.parametrize(("setting", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colour_is_for_terminals_and_can_be_refused(
    home: Path, node: str, setting: dict[str, str], coloured: bool
) -> None:
    lock = home / "state" / node / "lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        shown = on_a_terminal({**os.environ, "TERM": "xterm-256color", **setting}, "destroy", node, "--yes", node)
    assert "locked" in shown
    assert ("\x1b[31m" in shown) is coloured


def on_a_terminal(environment: dict[str, str], *arguments: str) -> str:
    """What the script writes to a terminal."""
    import pty

    ours, theirs = pty.openpty()
    code = "from binder_node.cli.main import run; run()"
    argv = [sys.executable, "-c", code, *arguments]
    subprocess.run(argv, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, check=False)
    os.close(theirs)
    with os.fdopen(ours, "rb", buffering=0) as screen:
        return (screen.read(65536) or b"").decode()


def test_starting_loads_nothing_heavy() -> None:
    code = f"import sys, binder_node.cli.main; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("words", [["up"], ["frobnicate"], ["up", "a", "--nope"], ["check", "a", "-o", "xml"]])
def test_a_wrong_command_line_ends_with_2(words: list[str]) -> None:
    told = run(*words)
    assert (told.exit_code, told.stdout) == (2, "")
    assert "Usage:" in told.stderr
