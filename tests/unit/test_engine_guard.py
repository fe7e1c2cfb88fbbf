"""What the guard takes for the folder that a step writes, and how large it finds it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from binder_node.cluster.engine import guard

STORE = "/var/lib/rancher/k3s/agent/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots"
STEP = (
    f"612 580 0:71 / / rw,relatime - overlay overlay rw,lowerdir={STORE}/4/fs,upperdir={STORE}/28/fs,"
    f"workdir={STORE}/28/work"
)


def test_the_folder_is_the_roots_own_upper_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = {
        1: f"613 612 0:75 / /proc rw - proc proc rw\n{STEP},uuid=on\n",
        2: "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n" + STEP.replace(" / / ", " / /elsewhere "),
        3: "20 1 0:20 / / rw - overlay overlay rw,lowerdir=/ro,upperdir=/live/upper,workdir=/live/work\n",  # a live CD
    }
    for process, table in tables.items():
        (tmp_path / str(process)).mkdir()
        (tmp_path / str(process) / "mountinfo").write_text(table)
    monkeypatch.setattr(guard, "PROC", tmp_path)
    assert [guard.written(process) for process in (1, 2, 3, 4)] == [Path(f"{STORE}/28/fs"), None, None, None]


def test_sizes_are_those_of_the_disk_and_links_count_once(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/file").write_bytes(os.urandom(3_000_000))
    os.link(tmp_path / "a/file", tmp_path / "a/b/again")
    with (tmp_path / "sparse").open("wb") as sparse:
        sparse.truncate(10**9)
    (tmp_path / "loop").symlink_to(tmp_path)
    assert 3_000_000 <= guard.size(tmp_path) < 3_100_000


@pytest.mark.parametrize(("unified", "where"), [(True, "builds/buildkit"), (False, "memory/builds/buildkit")])
def test_steps_are_found_under_both_kinds_of_control_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unified: bool, where: str
) -> None:
    monkeypatch.setattr(guard, "CGROUPS", tmp_path)
    if unified:
        (tmp_path / "cgroup.controllers").touch()
    assert list(guard.groups("/builds")) == []
    (tmp_path / where / "step").mkdir(parents=True)
    (tmp_path / where / "cgroup.procs").touch()
    (tmp_path / where / "step/cgroup.procs").write_text("12\n34\n")
    (group,) = guard.groups("builds")
    assert (group.name, guard.processes(group)) == ("step", [12, 34])
