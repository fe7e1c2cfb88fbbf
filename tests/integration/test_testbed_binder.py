"""The stand-in BinderHub keeps the contract of the real one's HTTP API."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from binder_node.cluster.engine.executor import executor_source
from tests.integration.binaries import binary
from tests.integration.binder_fixtures import BinderHub, Cluster, Hub, Json, Registry, binderhub, registry
from tests.integration.engine_fixtures import engine_spec
from tests.testbed.world import content, gitserver

pytestmark = pytest.mark.integration
PORT = 20810
USER = {"app": "jupyterhub", "component": "singleuser-server"}
LOG = ['{"phase": "fetching", "message": "Cloning"}', '{"phase": "building", "message": "Step 1"}', "not JSON"]


@dataclass
class Scene:
    binder: BinderHub
    cluster: Cluster
    hub: Hub
    registry: Registry
    repository: str  # URL of a repository with the branch `main`
    commit: str

    @property
    def spec(self) -> str:
        return f"{quote(self.repository, safe='')}/main"

    @property
    def image(self) -> str:
        """The image's name in the registry, without its host."""
        words = self.cluster.created[-1]["spec"]["containers"][0]["args"]
        name: str = next(word for word in words if word.startswith("--image="))
        return name.partition("/")[2].rpartition(":")[0]


def config(scene_registry: Registry, hub: Hub, **more: object) -> str:
    settings = {
        "BinderHub": {"hub_url": "http://hub.test/", "hub_url_local": hub.url, "per_repo_quota": 2},
        "DockerRegistry": {"url": scene_registry.url},
        "KubernetesBuildExecutor": {"build_image": "quay.io/test/r2d:1", "extra_envs": {"A": "b"}},
        "LaunchQuota": {"total_quota": 3},
        "RateLimiter": {"limit": 0},
        **more,
    }
    settings["BinderHub"]["image_prefix"] = f"{scene_registry.host}/binder/i-"  # type: ignore[index]
    lines = [f"c.{name}.update({values!r})" for name, values in settings.items()]
    return "\n".join([*lines, executor_source(engine_spec())])


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    root = tmp_path_factory.mktemp("git")
    made = content.commit(root / "demo.git", "main", {"Dockerfile": "FROM scratch\n"})
    server = gitserver.server("127.0.0.1", PORT + 1, root)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{PORT + 1}/demo.git", made
    server.shutdown()
    server.server_close()


@pytest.fixture
def scene(tmp_path: Path, repository: tuple[str, str]) -> Iterator[Scene]:
    cluster, hub = Cluster(), Hub()
    cluster.script = LOG
    with (
        registry(binary("registry"), PORT + 2, tmp_path) as images,
        binderhub(tmp_path, PORT, config(images, hub), cluster) as binder,
    ):
        yield Scene(binder, cluster, hub, images, *repository)
    for server in (cluster, hub):
        server.shutdown()
        server.server_close()


def phases(events: list[Json]) -> list[str]:
    found: list[str] = []
    for event in events:
        if not found or found[-1] != event["phase"]:
            found.append(event["phase"])
    return found


def test_a_first_launch_builds_in_a_pod_and_ends_with_a_servers_address(scene: Scene) -> None:
    events = scene.binder.launch("git", scene.spec)
    assert phases(events) == ["waiting", "fetching", "building", "unknown", "built", "launching", "ready"]
    ready = events[-1]
    image = f"{scene.registry.host}/{scene.image}:{scene.commit}"
    assert (ready["image"], ready["repo_url"], ready["binder_ref_url"]) == (image, scene.repository, scene.repository)
    assert ready["url"].startswith("http://hub.test/user/demo-")
    assert scene.hub.spawns == [{key: ready[key] for key in scene.hub.spawns[0]}]
    assert {"image", "token", "repo_url", "binder_launch_host", "binder_request"} <= set(scene.hub.spawns[0])
    assert scene.cluster.pods == {}

    [pod] = scene.cluster.created
    [container] = pod["spec"]["containers"]
    assert container["image"] == "quay.io/test/r2d:1"
    assert container["args"][:2] == ["jupyter-repo2docker", "--config=/opt/binder-node/engine/etc/repo2docker.py"]
    assert [f"--ref={scene.commit}", f"--image={image}"] == [
        word for word in container["args"] if word.startswith(("--ref", "--image"))
    ]
    assert container["args"][-2:] == ["--push", scene.repository]
    assert {"name": "A", "value": "b"} in container["env"]
    assert pod["metadata"]["labels"]["component"] == "binderhub-build"
    assert {volume["name"] for volume in pod["spec"]["volumes"]} >= {"binder-node-engine", "docker-config"}


def test_a_launch_of_an_image_that_is_there_builds_nothing(scene: Scene) -> None:
    scene.binder.launch("git", scene.spec)
    scene.registry.push(scene.image, scene.commit)
    assert phases(scene.binder.launch("git", scene.spec)) == ["built", "launching", "ready"]
    assert len(scene.cluster.created) == 1


def test_a_build_that_fails_ends_the_stream_with_its_reason_before(scene: Scene) -> None:
    scene.cluster.script = ['{"phase": "failed", "message": "exit code: 3"}']
    scene.cluster.outcome = "Failed"
    assert scene.binder.launch("git", scene.spec) == [
        {"phase": "waiting", "message": "Waiting for build to start...\n"},
        {"phase": "failed", "message": "exit code: 3"},
    ]
    assert scene.hub.spawns == []


@pytest.mark.parametrize("ref", ["nowhere", "main/deeper"])
def test_a_ref_that_is_not_there_fails_without_a_status(scene: Scene, ref: str) -> None:
    [event] = scene.binder.launch("git", f"{quote(scene.repository, safe='')}/{ref}")
    assert event["phase"] == "failed"
    assert "Could not resolve ref" in event["message"]
    assert "status_code" not in event


def test_an_accept_header_that_is_a_list_is_refused_inside_the_stream(scene: Scene) -> None:
    assert scene.binder.launch("git", scene.spec, "text/event-stream, */*") == [
        {"phase": "failed", "status_code": 400, "message": "Missing Accept header: text/event-stream\n"}
    ]


def test_the_quota_counts_pods_that_have_ended_too(scene: Scene) -> None:
    for number, phase in enumerate(["Running", "Succeeded", "Pending"]):
        scene.cluster.put(f"jupyter-{number}", USER, phase)
    [event] = scene.binder.launch("git", scene.spec)
    assert event == {"phase": "failed", "message": "Too many users on this BinderHub! Try again soon.\n"}
    assert scene.cluster.created == []


def test_the_quota_of_one_repository_goes_by_its_image(scene: Scene) -> None:
    scene.binder.launch("git", scene.spec)
    for number in range(2):
        scene.cluster.put(f"jupyter-{number}", USER, "Running", f"{scene.registry.host}/{scene.image}:old")
    scene.registry.push(scene.image, scene.commit)
    events = scene.binder.launch("git", scene.spec)
    assert phases(events) == ["built", "failed"]
    assert events[-1]["message"] == f"Too many users running {scene.repository}! Try again soon.\n"


def test_versions_tells_the_build_image_that_is_configured(scene: Scene) -> None:
    found = httpx.get(f"{scene.binder.url}/versions").json()
    assert found["builder_info"] == {"build_image": "quay.io/test/r2d:1"}
    assert found["builder"] == "quay.io/test/r2d:1"


def test_health_is_lost_with_the_registry_and_not_by_a_full_house(scene: Scene) -> None:
    for number in range(4):
        scene.cluster.put(f"jupyter-{number}", USER, "Failed")
    answer = httpx.get(f"{scene.binder.url}/health")
    assert answer.status_code == 200
    checks = {check.pop("service"): check for check in answer.json()["checks"]}
    assert checks == {
        "Docker registry": {"ok": True},
        "JupyterHub API": {"ok": True},
        "Pod quota": {
            "total_pods": 4,
            "build_pods": 0,
            "user_pods": 4,
            "quota": 3,
            "ok": False,
            "_ignore_failure": True,
        },
    }


def test_health_says_503_when_the_registry_does_not_answer(scene: Scene) -> None:
    scene.registry.process.terminate()
    scene.registry.process.wait(10)
    answer = httpx.get(f"{scene.binder.url}/health", timeout=20)
    assert answer.status_code == 503
    assert json.loads(answer.text)["ok"] is False


def test_requests_over_the_rate_limit_fail_with_429_inside_the_stream(
    tmp_path: Path, repository: tuple[str, str]
) -> None:
    cluster, hub = Cluster(), Hub()
    nowhere = Registry("http://127.0.0.1:1", None)  # type: ignore[arg-type]  # never asked
    limited = config(nowhere, hub, RateLimiter={"limit": 1})
    spec = f"{quote(repository[0], safe='')}/nowhere"
    with binderhub(tmp_path, PORT + 3, limited, cluster) as binder:
        assert "status_code" not in binder.launch("git", spec)[0]
        assert binder.launch("git", spec)[0]["status_code"] == 429
    for server in (cluster, hub):
        server.shutdown()
        server.server_close()
