"""The engine's folder as the node gets it, and what the engine knows of its pod and its credentials."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from binder_node.cluster.engine.files import engine_config, engine_files
from binder_node.cluster.engine.site.binder_node_engine import room
from binder_node.cluster.engine.site.binder_node_engine.credentials import docker_config, merged
from tests.integration.engine_fixtures import engine_spec


def test_the_folder_is_a_package_that_python_finds_by_its_entry_point(tmp_path: Path) -> None:
    for name, contents in engine_files(engine_spec()).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(contents)
    asked = (
        "from importlib.metadata import entry_points\n"
        "(found,) = entry_points(group='repo2docker.engines')\n"
        "print(found.name, found.value)\n"
        "import binder_node_engine.command, binder_node_engine.trace, binder_node_engine.room, sys\n"
        "print('binder_node' in sys.modules)"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path / "site")}
    said = subprocess.check_output([sys.executable, "-S", "-c", asked], env=environment, text=True, cwd=tmp_path)
    assert said.splitlines() == ["buildctl binder_node_engine.engine:BuildctlEngine", "False"]


def test_the_guard_runs_on_a_bare_python(tmp_path: Path) -> None:
    (tmp_path / "guard.py").write_bytes(engine_files(engine_spec())["bin/guard.py"])
    done = [sys.executable, "-S", "-I", str(tmp_path / "guard.py"), "--parent", "no-such-group-of-a-test", "--sweep"]
    assert subprocess.check_output(done, text=True) == "ended 0 left-over processes of builds\n"


def test_the_settings_come_from_the_inventory() -> None:
    c = SimpleNamespace(BuildctlEngine=SimpleNamespace(), Repo2Docker=SimpleNamespace())
    spec = engine_spec(worker="oci", memory="3G", disk="1500M", wait_below=15)
    exec(engine_config(spec), {"c": c})
    assert vars(c.BuildctlEngine) == {
        "registry_insecure": True,
        "unpack": False,
        "memory_limit": 3_000_000_000,
        "disk_limit": 1_500_000_000,
        "wait_below_percent": 15,
        "stop_below_percent": 4,
    }
    assert vars(c.Repo2Docker) == {}  # nothing is restricted unless told


def test_credentials_are_added_to_what_is_there() -> None:
    existing = {"auths": {"quay.io": {"auth": "eA=="}}, "credHelpers": {"gcr.io": "gcloud"}}
    given = {"registry": "registry.example.org:5000", "username": "push", "password": "pass"}
    assert merged(existing, given) == {
        "auths": {"quay.io": {"auth": "eA=="}, "registry.example.org:5000": {"auth": "cHVzaDpwYXNz"}},
        "credHelpers": {"gcr.io": "gcloud"},
    }


def test_the_credentials_file_is_private_and_does_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    given = {"registry": "r:1", "username": "push", "password": "pass"}
    with docker_config(given) as environment:
        file = Path(environment["DOCKER_CONFIG"]) / "config.json"
        assert json.loads(file.read_text()) == {"auths": {"r:1": {"auth": "cHVzaDpwYXNz"}}}
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert not file.parent.exists()
    with docker_config({}) as environment:
        assert environment["DOCKER_CONFIG"] == str(tmp_path)


def test_the_smallest_limit_that_is_set_holds(tmp_path: Path) -> None:
    (tmp_path / "memory").write_text("1500000000")
    assert room.pod_limit(tmp_path, "memory") == 1_500_000_000
    assert room.pod_limit(tmp_path / "none", "memory") == 0
    assert room.smallest(2_000_000_000, 1_500_000_000, 0) == 1_500_000_000
    assert room.smallest(0, 0) == 0
    assert [room.readable(size) for size in (1_500_000_000, 450_000_000)] == ["1.5 GB", "450 MB"]
