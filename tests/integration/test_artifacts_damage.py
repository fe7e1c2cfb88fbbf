"""A file that went bad in the cache unnoticed (same size, same time): who finds it, and that the next run mends it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from binder_node import layout, remote
from binder_node.artifacts.model import Artifact
from binder_node.artifacts.store import Store
from binder_node.errors import StepError
from binder_node.events import silent
from binder_node.host.upload import upload_all
from binder_node.host.wanted import Upload
from binder_node.node import Access
from tests.integration import artifacts_fixtures as af
from tests.integration.artifacts_fixtures import Told, Vendor, noise, pins, release, sha256, store

DATA = noise(3_000_000)


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with af.vendor() as made:
        yield made


@pytest.fixture
def mine(vendor: Vendor, tmp_path: Path) -> Store:
    url = vendor.serve("/registry", DATA)
    return store(tmp_path / "cache", pins(tmp_path, registry=release(url, sha256(DATA))))


def rot(path: Path) -> None:
    """Change one byte and nothing that a ``stat`` shows."""
    seen = path.stat()
    path.chmod(0o755)
    with path.open("r+b") as file:
        file.write(b"!")
    path.chmod(seen.st_mode & 0o777)
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))


@pytest.fixture
def access(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Access:
    """A node that is a folder here: its root's shell is one on this machine."""
    monkeypatch.setattr(layout, "STORE", PurePosixPath(tmp_path / "node"))
    monkeypatch.setattr(remote, "ssh_argv", lambda _, command: ["sh", "-c", command])
    return Access("bids", "192.0.2.1", 22, "root", tmp_path / "id", tmp_path / "known_hosts", tmp_path / "config")


def on_the_node(artifact: Artifact) -> Path:
    return Path(str(layout.stored(artifact.name, artifact.sha256)))


def test_the_node_finds_it_and_the_same_again_completes(mine: Store, vendor: Vendor, access: Access) -> None:
    artifact = mine.ensure(["registry"])["registry"]
    rot(artifact.path)
    assert mine.ensure(["registry"])["registry"] == artifact  # not hashed again: nothing shows
    with pytest.raises(StepError) as caught:
        upload_all(access, [Upload(artifact)], silent)
    assert str(caught.value).startswith(
        "bids: upload registry (3 MB): registry was damaged in the cache and is dropped"
    )
    assert caught.value.remedy == "run the same command again: it makes the artifact anew"
    assert not artifact.path.exists()
    assert not on_the_node(artifact).exists()

    again = mine.ensure(["registry"])["registry"]
    upload_all(access, [Upload(again)], silent)
    assert on_the_node(again).read_bytes() == DATA
    assert vendor.count("/registry") == 2


def test_a_file_cut_short_after_it_was_looked_at_is_dropped_too(mine: Store, access: Access) -> None:
    artifact = mine.ensure(["registry"])["registry"]
    artifact.path.chmod(0o755)
    os.truncate(artifact.path, 1000)
    with pytest.raises(StepError, match=r"damaged in the cache and dropped: it has 1000 bytes, not 3000000"):
        upload_all(access, [Upload(artifact)], silent)
    assert mine.ensure(["registry"])["registry"].path.read_bytes() == DATA


def test_a_file_that_is_right_is_not_dropped(mine: Store) -> None:
    artifact = mine.ensure(["registry"])["registry"]
    assert artifact.drop_if_damaged() is False
    assert artifact.path.read_bytes() == DATA


def test_a_file_that_is_not_the_caches_is_never_removed(tmp_path: Path) -> None:
    own = tmp_path / "k3s"
    own.write_bytes(b"mine")
    assert Artifact("k3s", "1", own, "0" * 64, 4).drop_if_damaged() is True
    assert own.read_bytes() == b"mine"


def test_a_bundle_is_not_made_of_it(mine: Store, tmp_path: Path) -> None:
    rot(mine.ensure(["registry"])["registry"].path)
    with pytest.raises(StepError, match=r"registry was damaged in the cache; it was removed -> run the same command"):
        mine.bundle(["registry"], tmp_path / "bundle")
    assert list((tmp_path / "bundle").iterdir()) == []
    mine.bundle(["registry"], tmp_path / "bundle")
    assert (tmp_path / "bundle/registry").read_bytes() == DATA


def test_a_file_that_is_a_link_into_the_cache_is_taken_once(tmp_path: Path) -> None:
    """Whoever builds a file by the cache and names it in an overlay by a link: the copy must not change its source."""
    cache = store(tmp_path / "cache", pins(tmp_path)).cache
    with cache.scratch() as folder:
        (folder / "k3s").write_bytes(DATA)
        built = cache.add("built", "k3s", folder / "k3s", executable=True)
    (tmp_path / "k3s").symlink_to(built.path)
    linked = store(tmp_path / "cache", pins(tmp_path, k3s={"file": {"path": str(tmp_path / "k3s")}}))
    before = built.path.stat()
    assert linked.ensure(["k3s"])["k3s"].path == built.path
    told = Told()
    linked.ensure(["k3s"], told)
    after = built.path.stat()
    assert told.events == []
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert cache.lookup("built") == built
