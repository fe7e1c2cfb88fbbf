"""The release stage against a real API server, with real Helm, over a real sshd; only pods and BinderHub are played."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from binder_node.artifacts.model import Artifact
from binder_node.cluster import kube, release, waits
from binder_node.cluster.helm import Helm
from binder_node.cluster.look import look
from binder_node.cluster.release import ReleaseStage
from binder_node.errors import DeadlineError, StepError
from binder_node.events import Event, silent
from binder_node.node import Access, Node
from tests.integration.binaries import binary
from tests.integration.binder_server import Played, played
from tests.integration.cluster_fixtures import Api, api, apply_manifests, deployments_ready, node_of
from tests.testbed import chart
from tests.unit.host_samples import sample_secrets, sample_spec

pytestmark = pytest.mark.integration
# Loopback addresses are plenty; port 80 of this one is BinderHub's.
ADDRESS = "127.0.6.50"


@dataclass(frozen=True)
class Made:
    api: Api
    access: Access
    artifacts: dict[str, Artifact]
    folder: Path

    def stage(self, **said: Any) -> ReleaseStage:
        spec = sample_spec(**said)
        node = Node(spec, sample_secrets(), self.artifacts, {"build": "r2d:1"}, self.folder)
        return ReleaseStage(node, self.access, ADDRESS)

    def helm(self) -> Helm:
        return Helm("bids-1", self.artifacts["helm"].path, self.api.kubeconfig)


def artifact(name: str, path: Path) -> Artifact:
    content = path.read_bytes()
    return Artifact(name, "1", path, hashlib.sha256(content).hexdigest(), len(content))


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("cluster")
    artifacts = {
        "helm": artifact("helm", binary("helm")),
        "binderhub-chart": artifact("binderhub-chart", chart.package(folder / "binderhub.tgz")),
    }
    with api(folder) as found:
        apply_manifests(found, sample_spec(), "198.18.7.20")
        with node_of(found, "bids-1") as access:
            yield Made(found, access, artifacts, folder)


@pytest.fixture
def made(machine: Made, monkeypatch: pytest.MonkeyPatch) -> Made:
    monkeypatch.setattr(kube, "K3S_KUBECONFIG", machine.api.kubeconfig)
    monkeypatch.setattr(kube, "API_PORT", machine.api.port)
    machine.helm().uninstall()
    machine.api.kubectl("delete", "pods", "--all", "-n", "binder", "--force", "--grace-period=0")
    return machine


@pytest.fixture
def hub() -> Iterator[Played]:
    with played(address=(ADDRESS, 80)) as server:
        server.routes["GET /health"] = lambda to: to.reply(200, {"ok": True, "checks": []})
        server.routes["GET /versions"] = lambda to: to.reply(200, {"binderhub": "1"})
        yield server


def secrets_in(text: str) -> list[str]:
    return [word for word in text.split() if "secret-" in word and "_" in word.partition("secret-")[2]]


def test_install_then_nothing_to_do_then_an_update(made: Made, hub: Played) -> None:
    stage = made.stage()
    (change,) = stage.changes(stage.inspect(silent))
    assert (change.action, change.what) == ("create", "release binder (BinderHub chart 1)")
    told: list[Event] = []
    with deployments_ready(made.api):
        stage.apply(stage.inspect(silent), told.append)
    assert hub.seen[0].headers["host"] == "bids.example.org"
    assert told[-1].data["versions"] == {"binderhub": "1"}

    again = made.stage()
    assert again.changes(again.inspect(silent)) == []

    smaller = made.stage(binderhub={"quota": 3})
    changes = smaller.changes(smaller.inspect(silent))
    assert [f"{one.action} {one.what}" for one in changes] == [
        "update release binder (BinderHub chart 1), revision 1 is deployed",
        "update Deployment binder",
        "update Secret binder-secret",
    ]
    assert secrets_in("".join(one.diff for one in changes)) == []
    with deployments_ready(made.api):
        smaller.apply(smaller.inspect(silent), silent)
    after = made.stage(binderhub={"quota": 3})
    assert after.changes(after.inspect(silent)) == []


@pytest.mark.usefixtures("hub")
def test_pods_that_are_not_ready_are_waited_for_again(made: Made) -> None:
    stage = made.stage()
    made.helm().upgrade(stage.node.artifacts["binderhub-chart"].path, stage.composed.values, stage.digest)
    seen = stage.inspect(silent)
    (change,) = stage.changes(seen)
    assert (change.action, change.what) == ("run", "wait for binder 0/1, hub 0/1, proxy 0/1")
    with deployments_ready(made.api):
        stage.apply(seen, silent)
    assert stage.changes(stage.inspect(silent)) == []
    assert len(stage.inspect(silent).revisions) == 1


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("first", [True, False])
def test_a_helm_that_was_killed_is_no_obstacle(made: Made, monkeypatch: pytest.MonkeyPatch, first: bool) -> None:
    monkeypatch.setattr(release, "PENDING_SECONDS", 1.0)
    stage = made.stage()
    if not first:
        made.helm().upgrade(stage.node.artifacts["binderhub-chart"].path, stage.composed.values, stage.digest)
    killed(made)
    status = "pending-install" if first else "pending-upgrade"
    assert [revision.status for revision in look(made.access).revisions][-1] == status
    told: list[Event] = []
    with deployments_ready(made.api):
        stage.apply(stage.inspect(silent), told.append)
    assert f"was left {status}: forgotten" in next(event.message for event in told if event.kind == "warn")
    assert stage.changes(stage.inspect(silent)) == []


def killed(made: Made) -> None:
    """A Helm that dies while it waits for pods that nobody starts."""
    values = made.folder / "values.yaml"
    values.write_text("registry: {password: x}\njupyterhub: {proxy: {secretToken: x}}\n")
    before = len(look(made.access).revisions)
    child = subprocess.Popen(
        [str(binary("helm")), "upgrade", "--install", "binder", str(made.artifacts["binderhub-chart"].path), "-n",
         "binder", "--kubeconfig", str(made.api.kubeconfig), "--wait", "-f", str(values)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while not (len(found := look(made.access).revisions) > before and found[-1].pending):
            assert time.monotonic() < deadline, "helm never began"
            time.sleep(0.1)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(10)


def test_values_that_the_chart_does_not_know_are_refused_before_anything_is_made(made: Made, tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("replicass: 2\n")
    stage = made.stage(binderhub={"values": [str(file)]})
    with pytest.raises(StepError, match="replicass"):
        stage.apply(stage.inspect(silent), silent)
    assert look(made.access).revisions == ()


def test_objects_that_the_api_refuses_leave_nothing_behind(made: Made, tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("service: {type: NoSuchType}\n")
    stage = made.stage(binderhub={"values": [str(file)]})
    with pytest.raises(StepError, match="NoSuchType") as caught:
        stage.apply(stage.inspect(silent), silent)
    assert secrets_in(str(caught.value)) == []
    assert look(made.access).revisions == ()


def test_an_unhealthy_binderhub_is_named(made: Made, hub: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "HEALTH_SECONDS", 1.0)
    checks = [{"service": "Docker registry", "ok": False}, {"service": "JupyterHub API", "ok": True}]
    hub.routes["GET /health"] = lambda to: to.reply(503, {"ok": False, "checks": checks})
    stage = made.stage()
    with deployments_ready(made.api), pytest.raises(DeadlineError, match="Docker registry: not ok"):
        stage.apply(stage.inspect(silent), silent)


# --- waiting -------------------------------------------------------------------------------------------------------


@pytest.fixture
def waiter(made: Made) -> Iterator[waits.Waiter]:
    with kube.reached(made.access, made.folder) as cluster, kube.client(cluster) as client:
        yield waits.Waiter("bids-1", client, lambda text: text.replace("hunter2", "***"))


def test_a_wait_ends_and_names_what_is_missing(waiter: waits.Waiter) -> None:
    told: list[Event] = []
    with pytest.raises(DeadlineError, match="waited 1 s for the release's pods") as caught:
        waiter.until_ready(["hub"], told.append, seconds=1)
    assert "hub is not there" in str(caught.value)
    assert [event.message for event in told] == ["waiting for hub is not there"]


def test_a_pod_that_cannot_start_ends_the_wait_with_its_reason_and_events(made: Made, waiter: waits.Waiter) -> None:
    pod(made.api, "InvalidImageName", "couldn't parse image hunter2")
    with pytest.raises(StepError) as caught:
        waiter.until_ready(["hub"], silent, seconds=20)
    text = str(caught.value)
    assert text.startswith("bids-1: start hub-x: hub-x: InvalidImageName (couldn't parse image ***)")
    assert "Failed: no such image" in text


def pod(found: Api, reason: str, message: str) -> None:
    """A pod of the hub's that waits for ever, and an event about it."""
    import json

    about = {"name": "hub-x", "namespace": "binder"}
    made: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**about, "labels": {"component": "hub"}},
        "spec": {"containers": [{"name": "hub", "image": "x"}]},
    }
    found.kubectl("apply", "-f", "-", given=json.dumps(made))
    waiting = {"name": "hub", "image": "x", "imageID": "", "ready": False, "restartCount": 0}
    status = {"containerStatuses": [{**waiting, "state": {"waiting": {"reason": reason, "message": message}}}]}
    patch = json.dumps({"status": status})
    found.kubectl("patch", "pod", "hub-x", "-n", "binder", "--subresource=status", "--type=merge", "-p", patch)
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "hub-x.1", "namespace": "binder"},
        "involvedObject": {"kind": "Pod", **about},
        "type": "Warning",
        "reason": "Failed",
        "message": "no such image",
    }
    found.kubectl("apply", "-f", "-", given=json.dumps(event))


def test_a_node_without_k3s_is_told(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube, "K3S_KUBECONFIG", Path("/nowhere/k3s.yaml"))
    with pytest.raises(StepError, match="fetch the kubeconfig") as caught:
        kube.fetch_kubeconfig(made.access)
    assert "binder-node up bids-1" in str(caught.value)
