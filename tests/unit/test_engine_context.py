"""The build context: two clones of one commit must look the same to BuildKit."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from binder_node.cluster.engine.site.binder_node_engine.context import extract, steady_git, steady_index


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=T", "-c", "user.email=t@example.org"]
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    return subprocess.run([*command, *arguments], env=environment, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    made = tmp_path / "origin"
    made.mkdir()
    git(made, "init", "-q", "-b", "main")
    for length in range(1, 12):  # every length of padding
        (made / ("n" * length)).write_text(str(length))
    (made / "folder").mkdir()
    (made / "folder/script").write_text("x")
    (made / "folder/script").chmod(0o755)
    (made / "link").symlink_to("n")
    git(made, "add", "-A")
    git(made, "commit", "-q", "-m", "One")
    return made


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


@pytest.mark.parametrize("version", [2, 3, 4])
def test_the_index_becomes_what_git_itself_writes_without_a_checkout(origin: Path, version: int) -> None:
    if version == 3:  # the first that has the extended flag, which intent-to-add sets
        (origin / "later").write_text("x")
        git(origin, "add", "-N", "later")
    else:
        git(origin, "update-index", "--index-version", str(version))
    before = (origin / ".git/index").read_bytes()
    assert before[7] == version
    listed = git(origin, "ls-files", "--stage")
    (origin / ".git/index").write_bytes(steady_index(before))
    assert git(origin, "ls-files", "--stage") == listed
    debugged = git(origin, "ls-files", "--debug")
    assert "ctime: 0:0" in debugged
    assert debugged.count("mtime: 0:0") == len(listed.splitlines())
    if version != 3:
        assert git(origin, "status", "--porcelain") == ""


def test_two_clones_are_the_same_and_still_good(origin: Path, tmp_path: Path) -> None:
    clones = []
    for name in ("a", "b"):
        clone = tmp_path / name / "src"
        clone.parent.mkdir()
        git(tmp_path, "clone", "-q", "--no-local", str(origin), str(clone))
        git(clone, "reset", "-q", "--hard", "HEAD")
        time.sleep(1.1)  # another second on every file's clock
        clones.append(clone)
    assert contents(clones[0]) != contents(clones[1])
    for clone in clones:
        steady_git(clone)
    assert contents(clones[0]) == contents(clones[1])
    assert git(clones[0], "status", "--porcelain") == ""
    assert git(clones[0], "log", "--format=%s") == "One\n"


def test_what_is_no_index_and_what_is_no_repository_is_left_alone(tmp_path: Path) -> None:
    assert steady_index(b"DIRC but not really") == b"DIRC but not really"
    assert steady_index(b"") == b""
    steady_git(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "FETCH_HEAD").write_text("keep")
    (tmp_path / ".git").symlink_to(outside)
    steady_git(tmp_path)
    assert (outside / "FETCH_HEAD").read_text() == "keep"


def test_modes_and_links_survive_the_archive(tmp_path: Path) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, mode in (("Dockerfile", 0o644), ("src/run", 0o4777)):
            entry = tarfile.TarInfo(name)
            entry.mode, entry.size = mode, 1
            tar.addfile(entry, io.BytesIO(b"x"))
        link = tarfile.TarInfo("src/data")
        link.type, link.linkname = tarfile.SYMTYPE, "/srv/data"
        tar.addfile(link)
    archive.seek(0)
    extract(archive, tmp_path / "context")
    assert (tmp_path / "context/src/run").stat().st_mode & 0o7777 == 0o4777
    assert (tmp_path / "context/src/data").readlink() == Path("/srv/data")
