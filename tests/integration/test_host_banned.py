"""The program that reads the list of who is banned, on a node of namespaces: real nft, real packets, a real server."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from binder_node.host import banned as component
from binder_node.host.banned import banned
from binder_node.layout import BANNED_FETCHED
from tests.integration.firewall_world import (
    NEEDS,
    NODE,
    POD,
    POD_ADDRESS,
    PUBLIC,
    REFUSED,
    World,
    made_world,
    within,
)
from tests.integration.servers import free_port, until
from tests.unit.host_samples import ADDRESS, sample_spec

pytestmark = NEEDS


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    spec = sample_spec(abuse={"banned_url": "https://example.org/banned.txt"})
    with made_world(tmp_path_factory.mktemp("banned"), spec) as made:
        yield made


class Node:
    """The component's own files in a folder, and a server of lists in the node's namespace."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.url, self.list = folder, f"http://127.0.0.1:{port}/banned.txt", folder / "www/banned.txt"
        spec = sample_spec(abuse={"banned_url": self.url}, machine={"state": str(folder / "state")})
        self.state = Path(component.folder(spec))
        self.state.mkdir(parents=True)
        for file in banned(spec, ADDRESS).files:
            path = Path(file.path) if file.path.startswith(str(folder)) else folder / Path(file.path).name
            if file.path.startswith(component.FOLDER):
                path = folder / "lib/on_node/banned" / Path(file.path).name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.content)

    def run(self) -> subprocess.CompletedProcess[str]:
        argv = [*within(NODE), sys.executable, "-m", "on_node.banned", str(self.folder / "banned.json")]
        environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
        where = self.folder / "lib"
        return subprocess.run(argv, cwd=where, env=environment, capture_output=True, text=True, check=False, timeout=90)

    @property
    def repositories(self) -> str:
        return (self.state / BANNED_FETCHED).read_text()


@contextmanager
def serving(folder: Path, port: int) -> Iterator[None]:
    (folder / "www").mkdir(exist_ok=True)
    argv = [
        *within(NODE),
        sys.executable,
        "-m",
        "http.server",
        "--bind",
        "127.0.0.1",
        "-d",
        str(folder / "www"),
        str(port),
    ]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            knock = f"import socket; socket.create_connection(('127.0.0.1', {port}))"
            ask = [*within(NODE), sys.executable, "-c", knock]
            until("the server", lambda: subprocess.run(ask, capture_output=True, check=False).returncode == 0)
            yield
        finally:
            process.terminate()


def test_a_list_is_in_force_and_outlives_what_goes_wrong(world: World, tmp_path: Path) -> None:
    port = free_port()
    node = Node(tmp_path, port)
    world.load()
    assert world.tcp(POD, PUBLIC, 80) == {80: POD_ADDRESS}
    with serving(tmp_path, port):
        node.list.write_text(f"# bad\n{PUBLIC}\ngithub.com/evil\n")
        done = node.run()
        assert (done.returncode, done.stdout) == (0, "1 networks and 1 repositories are banned\n")
        assert world.tcp(POD, PUBLIC, 80) == {80: REFUSED}
        assert node.repositories == "github.com/evil\n"
        # A slip in the list.
        node.list.write_text(f"0.0.0.0/0\n{ADDRESS}\n10.42.0.0/16\ngithub.com\n")
        done = node.run()
        assert done.returncode == 1
        assert "line 1: 0.0.0.0/0 is too much of the world" in done.stderr
        assert f"line 2: {ADDRESS}/32 has the node's own address" in done.stderr
        assert "line 3: 10.42.0.0/16 is in 10.0.0.0/8" in done.stderr
        assert done.stderr.endswith("and 1 more; the last list stays: 1 networks and 1 repositories are banned\n")
        assert world.tcp(POD, PUBLIC, 80) == {80: REFUSED}
    # Nobody answers; and the node has restarted, so that its set is empty.
    world.load()
    assert world.tcp(POD, PUBLIC, 80) == {80: POD_ADDRESS}
    done = node.run()
    assert done.returncode == 1
    assert "cannot be read" in done.stderr
    assert world.tcp(POD, PUBLIC, 80) == {80: REFUSED}
    # A replacement of the table keeps it, too.
    world.replace()
    assert world.tcp(POD, PUBLIC, 80) == {80: REFUSED}
    with serving(tmp_path, port):
        node.list.write_text("# nobody\n")
        assert node.run().returncode == 0
    assert world.tcp(POD, PUBLIC, 80) == {80: POD_ADDRESS}
    assert node.repositories == ""


def test_a_long_list_goes_in_at_once(world: World, tmp_path: Path) -> None:
    port = free_port()
    node = Node(tmp_path, port)
    world.load()
    lines = [f"20.{number // 256}.{number % 256}.{2 * (number % 100)}" for number in range(19_999)]
    with serving(tmp_path, port):
        node.list.write_text("\n".join([*lines, PUBLIC]))
        began = time.monotonic()
        done = node.run()
        assert done.returncode == 0, done.stderr
        assert time.monotonic() - began < 20
        assert world.tcp(POD, PUBLIC, 80) == {80: REFUSED}
        node.list.write_text("# " + "x" * 5_000_000)
        assert "is larger than 4 MB" in node.run().stderr
    assert world.tcp(POD, PUBLIC, 80) == {80: REFUSED}
