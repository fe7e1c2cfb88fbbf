"""What a node cleans up by itself: garbage of its registry, pods that serve nobody; how that ended is seen."""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from binder_node.lifecycle.opened import access_of, open_bare, open_spec
from binder_node.storage.endpoint import client
from binder_node.storage.stage import StorageStage
from tests.node.harness import PINS, Home
from tests.node.smoke_faults import DEAD

pytestmark = pytest.mark.node

ETC = "/etc/binder-node"
FORGOTTEN = """
k3s kubectl apply -f - >/dev/null <<EOF
apiVersion: v1
kind: Pod
metadata:
  name: forgotten
  namespace: binder
  labels: {app: jupyterhub, component: singleuser-server}
  annotations: {hub.jupyter.org/username: nobody, hub.jupyter.org/servername: ""}
spec: {schedulerName: nobody, containers: [{name: a, image: none/none:1}]}
EOF
"""


@contextmanager
def edited(home: Home, file: str, script: str) -> Iterator[None]:
    """A file of the node's changed by sed, for the block."""
    home.ssh(f"cp -p {file} /root/kept && sed -i '{script}' {file} && ! cmp -s {file} /root/kept")
    try:
        yield
    finally:
        home.ssh(f"mv /root/kept {file}")


def started(home: Home, unit: str) -> dict[str, str]:
    """A unit run to its end, and what was written down of it."""
    folder = "/var/lib/binder-node/jobs"
    name = unit.removeprefix("binder-node-")
    home.run("ssh", "--", f"systemctl start {unit}")
    found: dict[str, str] = json.loads(home.ssh(f"cat {folder}/{name}.json"))
    return found


def test_garbage_of_the_registry_goes_and_images_stay(home: Home, git: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in home.environment.items():
        if name.startswith("BINDER_NODE_"):
            monkeypatch.setenv(name, value)
    home.launch(f"{git}/minimal.git").ok()
    opened = open_spec(str(home.inventory), Path(PINS))
    garbage = f"docker/registry/v2/blobs/sha256/ab/ab{secrets.token_hex(31)}/data"
    with StorageStage(open_bare(opened), access_of(opened)[0]).endpoint() as endpoint:
        bucket = client(endpoint)
        bucket.put_object(bucket_name=endpoint.bucket, object_name=garbage, data=io.BytesIO(b"x"), length=1)
        with edited(home, f"{ETC}/retention.json", 's/"grace": 86400/"grace": 0/'):
            ran = started(home, "binder-node-retention")
        assert ran["result"] == "success", ran
        assert ran["said"].startswith("gone in a pause of "), ran
        left = bucket.list_objects(bucket_name=endpoint.bucket, prefix=garbage)
        assert list(left) == []
    # It takes pushes again, and what was launched is there.
    assert "CONFIG=/etc/binder-node/registry-push.yaml" in home.ssh(
        "cat /proc/$(systemctl show -P MainPID registry-push)/environ | tr '\\0' ' '"
    )
    phases = [event["data"].get("phase") for event in home.launch(f"{git}/minimal.git").ok().events]
    assert "building" not in phases
    shown = home.run("status").ok().err
    assert "gone in a pause of " in shown


def test_pods_that_serve_nobody_go_and_a_session_stays(home: Home, git: str) -> None:
    kept = home.launch(f"{git}/minimal.git", "--keep").ok()
    session = "jupyter-" + kept.last["data"]["url"].split("/user/")[1].strip("/")
    home.ssh(DEAD + FORGOTTEN)
    with edited(home, f"{ETC}/pods.json", 's/"ended": 600/"ended": -60/; s/"orphan": 3600/"orphan": -60/'):
        ran = started(home, "binder-node-pods")
    assert ran["result"] == "success", ran
    assert "that had ended" in ran["said"], ran
    assert "1 that the hub did not know" in ran["said"], ran
    names = home.ssh("k3s kubectl get pods -n binder -o name")
    assert f"pod/{session}" in names
    assert "dead-" not in names
    assert "forgotten" not in names


def test_a_run_that_fails_is_told_by_smoke_and_by_status(home: Home) -> None:
    with edited(home, f"{ETC}/pods.json", 's/"namespace"/"nowhere"/'):
        ran = started(home, "binder-node-pods")
    assert (ran["result"], ran["said"]) == ("exit-code", "no pod is removed: 'namespace'")
    seen = json.loads(home.run("smoke", "--only", "machine.jobs", "-o", "json").out)
    (check,) = (one for one in seen["checks"] if one["id"] == "machine.jobs")
    assert check["outcome"] == "failed"
    assert "no pod is removed" in check["reason"]
    told = json.loads(home.run("status", "-o", "json").out)["jobs"]
    assert [run["result"] for run in told if run["job"] == "pods"] == ["exit-code"]
    assert started(home, "binder-node-pods")["result"] == "success"
    home.run("smoke", "--only", "machine.jobs").ok()
