"""The testbed's "internet": what a node beside it gets from its git server and its registry, and that it goes away."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.binaries import binary
from tests.testbed.images import oci, recipes
from tests.testbed.world import content
from tests.testbed.world.host import REGISTRY_PORT, RUN, World, in_namespace, ip

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
]
NAME, BRIDGE, NEIGHBOUR = "world-test", "bn20800", "bn20800-node"
ADDRESS = "198.18.208.10"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """A world on a bridge of its own, with a neighbour (a bare network namespace) at .20 to look at it from."""
    made = World(NAME, BRIDGE, ADDRESS, 24, "198.18.208.1")
    registry = binary("registry")
    storage = content.registry_storage(print)
    ip("link", "add", BRIDGE, "type", "bridge")
    try:
        ip("link", "set", BRIDGE, "up")
        ip("netns", "add", NEIGHBOUR)
        ip("link", "add", "bn20800v", "type", "veth", "peer", "name", "eth0", "netns", NEIGHBOUR)
        ip("link", "set", "bn20800v", "master", BRIDGE, "up")
        ip("-netns", NEIGHBOUR, "address", "add", "198.18.208.20/24", "dev", "eth0")
        ip("-netns", NEIGHBOUR, "link", "set", "eth0", "up")
        made.up(registry, storage, content.repositories())
        yield made
        made.down()
        assert not made.folder.exists()
        assert not Path("/run/netns", made.namespace).exists()
        assert not Path("/sys/class/net", made.link).exists()
    finally:
        made.down()
        subprocess.run(["ip", "netns", "delete", NEIGHBOUR], check=False)
        subprocess.run(["ip", "link", "delete", BRIDGE], check=False)


def neighbours_git(*words: str) -> str:
    with in_namespace(NEIGHBOUR):
        return content.git(*words)


def fetch(path: str, accept: str = "*/*") -> bytes:
    request = urllib.request.Request(f"http://{ADDRESS}:{REGISTRY_PORT}/v2/{path}", headers={"Accept": accept})
    with in_namespace(NEIGHBOUR), urllib.request.urlopen(request, timeout=10) as answer:
        return bytes(answer.read())


def test_every_demo_repository_is_cloned_by_its_address(world: World, tmp_path: Path) -> None:
    for name, branches in content.REPOSITORIES.items():
        url = f"http://{world.address}/{name}.git"
        lines = [line.split("\t") for line in neighbours_git("ls-remote", "--", url).splitlines()]
        refs = {ref: made for made, ref in lines}
        assert {f"refs/heads/{branch}" for branch in branches} | {"HEAD"} == set(refs)
        assert refs["HEAD"] == refs["refs/heads/main"]
    neighbours_git("clone", "--quiet", "--", f"http://{world.address}/minimal", str(tmp_path / "clone"))
    assert (tmp_path / "clone/Dockerfile").read_text().startswith("FROM docker.io/binder-node/base:1\n")


def test_a_fresh_commit_on_a_demo_repository_is_served_and_the_cache_keeps_the_old(
    world: World, tmp_path: Path
) -> None:
    (tmp_path / "fresh.txt").write_text("new")
    made = content.commit(world.git / "minimal.git", "fresh", tmp_path)
    seen = neighbours_git("ls-remote", "--", f"http://{world.address}/minimal.git", "fresh")
    assert seen.split() == [made, "refs/heads/fresh"]
    assert "fresh" not in content.git(
        "branch", "--list", environment={"GIT_DIR": f"{content.repositories()}/minimal.git"}
    )


def test_the_same_files_give_the_same_commit(tmp_path: Path) -> None:
    files = {"a.txt": "a", "folder/b.txt": "b"}
    one, two = (content.commit(tmp_path / folder / "same.git", "main", files) for folder in ("one", "two"))
    assert one == two


@pytest.mark.parametrize(
    "recipe", [recipes.BASE, *recipes.PRELOADED], ids=lambda recipe: recipe.name.rpartition("/")[2]
)
@pytest.mark.usefixtures("world")
def test_an_image_is_whole_in_the_mirror(recipe: recipes.Recipe) -> None:
    path, _, tag = recipe.name.partition("/")[2].rpartition(":")
    manifest = fetch(f"{path}/manifests/{tag}", oci.MANIFEST_TYPE)
    assert oci.sha256(manifest) == oci.sha256(recipes.build_image(recipe, print).manifest())
    parsed = json.loads(manifest)
    for blob in (parsed["config"], *parsed["layers"]):
        data = fetch(f"{path}/blobs/{blob['digest']}")
        assert (len(data), "sha256:" + hashlib.sha256(data).hexdigest()) == (blob["size"], blob["digest"])


def test_up_again_leaves_the_servers_that_run(world: World) -> None:
    before = {path.name: path.read_text() for path in (RUN / NAME).glob("*.pid")}
    world.up(Path("/nonexistent"), Path("/nonexistent"), Path("/nonexistent"))
    assert {path.name: path.read_text() for path in (RUN / NAME).glob("*.pid")} == before != {}
