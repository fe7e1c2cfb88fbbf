"""Driving ``binder-node`` as an operator does: whole processes, their output, their exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPO = Path(__file__).parents[2]
PROGRAM = str(Path(sys.executable).with_name("binder-node"))
# What the node tests run on: the testbed's overlay, unless the environment says otherwise (empty: the real things).
PINS = os.environ.get("BINDER_NODE_PINS", str(REPO / "tests/testbed/pins.toml"))


@dataclass(frozen=True, slots=True)
class Ran:
    """A finished ``binder-node``: exit code, stdout, stderr, and the JSON events of stdout when there are any."""

    argv: list[str]
    code: int
    out: str
    err: str
    events: list[dict[str, Any]] = field(default_factory=list)

    def ok(self) -> Ran:
        assert self.code == 0, f"{' '.join(self.argv)} ended with {self.code}\n{self.out[-3000:]}\n{self.err[-3000:]}"
        return self

    @property
    def shown(self) -> str:
        """Everything that it printed."""
        return self.out + self.err

    @property
    def last(self) -> dict[str, Any]:
        return self.events[-1]


def world(*args: str, environment: Mapping[str, str] | None = None) -> None:
    """The testbed's "internet", by its own command line; ``environment`` None: ours."""
    argv = [sys.executable, "-m", "tests.testbed.world", *args]
    subprocess.run(argv, cwd=REPO, env=environment, check=True, timeout=120)


@dataclass(frozen=True, slots=True)
class Home:
    """A folder that holds everything of one node: inventory, secrets, identity, state, machine."""

    folder: Path
    name: str
    network: str  # its first three bytes, like ``198.18.9``

    @property
    def git(self) -> str:
        """Where the world's repositories are."""
        return f"http://{self.network}.10"

    @property
    def inventory(self) -> Path:
        return self.folder / "inventories" / f"{self.name}.yaml"

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "BINDER_NODE_STATE": str(self.folder / "state"),
            "BINDER_NODE_SECRETS_DIR": str(self.folder / "secrets"),
            "BINDER_NODE_IDENTITY": str(self.folder / "identity.txt"),
            "BINDER_NODE_LOCAL_DIR": str(self.folder / "machines"),
            "BINDER_NODE_PINS": PINS,
            "NO_COLOR": "1",
        }

    def argv(self, *args: str) -> list[str]:
        verb, *rest = args
        return [PROGRAM, verb, str(self.inventory), *rest]

    def start(self, *args: str) -> subprocess.Popen[str]:
        """A run that goes on beside the test."""
        return subprocess.Popen(
            self.argv(*args),
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )

    def run(self, *args: str, timeout: float = 420) -> Ran:
        """A run to its end, within ``timeout`` seconds."""
        return self.call(self.argv(*args), timeout)

    def call(self, argv: list[str], timeout: float = 420) -> Ran:
        """As :meth:`run`, whatever its words are."""
        done = subprocess.run(
            argv,
            cwd=self.folder,
            env=self.environment,
            text=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )
        return Ran(argv, done.returncode, done.stdout, done.stderr, events_in(done.stdout))

    def up(self, timeout: float = 420) -> Ran:
        return self.run("up", "-o", "json", timeout=timeout)

    def launch(self, repo: str, *args: str, timeout: float = 420) -> Ran:
        return self.run("launch", repo, "-o", "json", *args, timeout=timeout)

    def ssh(self, command: str, timeout: float = 120) -> str:
        """A shell line on the machine; its stdout."""
        return self.run("ssh", "--", command, timeout=timeout).ok().out

    def world(self, *args: str) -> None:
        """The testbed's "internet": git and base images, on a host beside the machine."""
        world(*args, "--spec", str(self.inventory), environment=self.environment)

    def new_repository(self, name: str, files: dict[str, str], branch: str = "main") -> str:
        """A repository with these files on the world's git server; its URL."""
        folder = self.folder / "repositories" / name
        for relative, text in files.items():
            path = folder / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.world("repo", name, str(folder), "--branch", branch)
        return f"{self.git}/{name}.git"


@contextmanager
def lent(home: Home) -> Iterator[Home]:
    """``home`` for a while: its world and its machine go with the block."""
    try:
        yield home
    finally:
        home.world("down")
        home.run("destroy", "--yes", home.name).ok()


def events_in(text: str) -> list[dict[str, Any]]:
    """The JSON objects, one a line, at the start of ``text``; none where it is not JSON lines."""
    found: list[dict[str, Any]] = []
    for line in text.splitlines():
        if not line.startswith("{"):
            return []
        try:
            found.append(json.loads(line))
        except ValueError:
            return []
    return found


INVENTORY = """\
name: {name}
provider:
  kind: local
  network: {network}.0/24
  address: {network}.20
{provider}
machine: {{cpus: 2, memory: {memory}, disk: {disk}}}
names: {{binder: {name}.test}}
tls: {{mode: none}}
storage: {storage}
registry:
  cache_days: 7
  mirrors:
    docker.io: [http://{network}.10:5080]
    quay.io: [http://{network}.10:5080]
{more}
"""


def shared_node() -> tuple[str, str]:
    """Name and network of the node that this process's tests share: each process of pytest-xdist has its own."""
    number = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    return ("alpha", "198.18.40") if number == "0" else (f"alpha{number}", f"198.18.3{number}")


def make_home(
    folder: Path,
    name: str,
    network: str,
    *,
    disk: str = "40G",
    memory: str = "12G",
    provider: str = "",
    storage: str = "{kind: node}",
    more: str = "",
) -> Home:
    """A home with an inventory in ``network`` (its first three bytes, like ``198.18.9``)."""
    home = Home(folder, name, network)
    home.inventory.parent.mkdir(parents=True)
    text = INVENTORY.format(
        name=name, network=network, disk=disk, memory=memory, provider=provider, storage=storage, more=more
    )
    home.inventory.write_text(text)
    return home
