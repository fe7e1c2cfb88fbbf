"""The build executor's source, executed as BinderHub's configuration file does, on a stand-in for the base class."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest
from kubernetes import client

from binder_node.cluster.engine.executor import executor_source
from binder_node.spec.model import Spec

ENGINE = "/opt/binder-node/engine"


class Base:
    """What of binderhub b9fad995's KubernetesBuildExecutor the subclass builds on."""

    def __init__(self) -> None:
        self.extra_envs = {"PYTHONPATH": "/theirs", "EXTRA": "1"}
        self.submitted: dict[str, str] | None = None

    def get_builder_volumes(self) -> tuple[list[Any], list[Any]]:
        return [client.V1Volume(name="docker-config")], [client.V1VolumeMount(name="docker-config", mount_path="/x")]

    def get_r2d_cmd_options(self) -> list[str]:
        return ["--ref=abc", "--push", "--engine=theirs"]

    def submit(self) -> None:
        self.submitted = self.extra_envs


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    package, module = ModuleType("binderhub"), ModuleType("binderhub.build")
    cast(Any, module).KubernetesBuildExecutor = Base
    monkeypatch.setitem(sys.modules, "binderhub", package)
    monkeypatch.setitem(sys.modules, "binderhub.build", module)
    spec = cast(Spec, SimpleNamespace(machine=SimpleNamespace(state=Path("/data/binder'node"))))
    c = SimpleNamespace(BinderHub=SimpleNamespace(), BuildctlBuildExecutor=SimpleNamespace())
    exec(executor_source(spec), {"c": c})
    return c


def test_the_engine_and_the_builder_are_mounted_read_only(config: SimpleNamespace) -> None:
    volumes, mounts = config.BinderHub.build_class().get_builder_volumes()
    by_name = {volume.name: volume for volume in volumes}
    assert [mount.name for mount in mounts] == [
        "docker-config",
        "binder-node-engine",
        "binder-node-buildkit",
        "binder-node-pod",
    ]
    assert {mount.mount_path: mount.read_only for mount in mounts} == {
        "/x": None,
        ENGINE: True,
        "/run/buildkit": True,
        "/run/binder-node/pod": True,
    }
    # The folder of the socket, so that a restarted buildkitd is found again; a quote in a path stays a path.
    assert by_name["binder-node-buildkit"].host_path == client.V1HostPathVolumeSource(
        path="/run/buildkit", type="Directory"
    )
    assert by_name["binder-node-engine"].host_path.path == "/data/binder'node/engine"
    assert config.BuildctlBuildExecutor.docker_host is None


def test_the_pod_is_told_its_own_memory_limit(config: SimpleNamespace) -> None:
    volumes, _ = config.BinderHub.build_class().get_builder_volumes()
    (fact,) = volumes[-1].downward_api.items
    assert (fact.path, fact.resource_field_ref.resource) == ("memory", "limits.memory")
    assert fact.resource_field_ref.container_name == "builder"


def test_an_operators_values_have_the_last_word(config: SimpleNamespace) -> None:
    build = config.BinderHub.build_class()
    assert build.get_r2d_cmd_options() == [
        f"--config={ENGINE}/etc/repo2docker.py",
        "--engine=buildctl",
        "--ref=abc",
        "--push",
        "--engine=theirs",
    ]
    build.submit()
    assert build.submitted == {
        "BUILDKIT_HOST": "unix:///run/buildkit/buildkitd.sock",
        "PYTHONPATH": "/theirs",
        "BINDER_NODE_ENGINE": ENGINE,
        "BINDER_NODE_POD": "/run/binder-node/pod",
        "EXTRA": "1",
    }
