"""A canary's build as it runs in BinderHub's pod: by its own executor and configuration, on another build image."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from binder_node.cluster.engine.executor import executor_source
from binder_node.federation.on_binder import canary
from tests.integration.binder_fixtures import Cluster, Json, Played, environment, pod_like
from tests.integration.engine_fixtures import engine_spec

pytestmark = pytest.mark.integration
IMAGE = "quay.io/test/r2d:2"


class Stuck(Cluster):
    """A cluster whose pods never start."""

    def play(self, to: Played, method: str, path: str, query: dict[str, str], body: Any) -> None:
        if method == "GET" and path.rsplit("/", 1)[-1] in self.pods:
            to.reply(200, self.pods[path.rsplit("/", 1)[-1]])
            return
        super().play(to, method, path, query, body)

    def _phase(self, event: str, name: str, phase: str = "") -> None:
        super()._phase(event, name, phase and "Pending")
        if name in self.pods:
            state = {"waiting": {"reason": "ErrImagePull", "message": "no such manifest"}}
            status = {"name": "builder", "image": IMAGE, "imageID": "", "ready": False, "restartCount": 0}
            self.pods[name]["status"]["containerStatuses"] = [{**status, "state": state}]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    yield made
    made.shutdown()
    made.server_close()


def asked(folder: Path, cluster: Cluster, **more: object) -> Json:
    """The script's answer, run as it runs in the pod: from stdin, by BinderHub's Python."""
    settings = (
        "c.BinderHub.image_prefix = 'registry.test:5000/binder/'\nc.KubernetesBuildExecutor.build_image = 'r2d:1'\n"
    )
    config = f"print('extraConfig 10-engine')\n{settings}{executor_source(engine_spec())}"
    own = pod_like(folder, config, cluster)
    question = {
        "config": str(folder / "config.py"),
        "image": IMAGE,
        "url": "https://git.test/canary",
        "ref": "HEAD",
        "name": "binder-node-canary-1:latest",
        "pod": "build-canary-1",
        "seconds": 60,
        "patience": 0,
        **more,
    }
    script = Path(canary.__file__).read_text()
    done = subprocess.run(
        [environment(), "-", json.dumps(question)],
        input=script,
        env=own,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    rows = [row for row in done.stdout.splitlines() if row.startswith(canary.ANSWER)]
    assert rows, done.stderr
    answer: Json = json.loads(rows[0].removeprefix(canary.ANSWER))
    return answer


def test_the_build_is_any_launchs_but_for_its_image_and_name(tmp_path: Path, cluster: Cluster) -> None:
    cluster.script = ['{"phase": "building", "message": "Step 1"}']
    answer = asked(tmp_path, cluster)
    assert (answer["ok"], answer["why"]) == (True, "")
    [pod] = cluster.created
    [container] = pod["spec"]["containers"]
    assert container["image"] == IMAGE
    assert container["args"][1:3] == ["--config=/opt/binder-node/engine/etc/repo2docker.py", "--engine=buildctl"]
    assert "--image=registry.test:5000/binder/binder-node-canary-1:latest" in container["args"]
    assert container["args"][-2:] == ["--push", "https://git.test/canary"]
    assert {volume["name"] for volume in pod["spec"]["volumes"]} >= {"binder-node-engine", "docker-config"}
    assert cluster.pods == {}


def test_a_build_that_fails_tells_its_last_lines(tmp_path: Path, cluster: Cluster) -> None:
    cluster.script = ['{"phase": "building", "message": "Step 1"}', '{"phase": "failed", "message": "no such option"}']
    cluster.outcome = "Failed"
    answer = asked(tmp_path, cluster)
    assert (answer["ok"], answer["why"].splitlines()[-1]) == (False, "no such option")
    assert cluster.pods == {}


def test_an_image_that_is_not_to_be_had_ends_the_wait(tmp_path: Path) -> None:
    stuck = Stuck()
    try:
        answer = asked(tmp_path, stuck)
    finally:
        stuck.shutdown()
        stuck.server_close()
    assert answer["why"] == "its pod does not start: ErrImagePull: no such manifest"
    assert stuck.pods == {}
