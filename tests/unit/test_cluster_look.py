"""What is seen of a release, why a pod does not start, and what a kubeconfig says: from the texts that tools print."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ruamel.yaml import YAML

from binder_node.cluster.kube import kubeconfig
from binder_node.cluster.look import Revision, Seen, seen
from binder_node.cluster.waits import Stuck, Workload, stuck, workload

HELM = {"owner": "helm", "name": "binder"}


def line(kind: str, metadata: dict[str, Any], replicas: str = "", status: Any = None) -> str:
    return f"{kind}\t{json.dumps(metadata)}\t{replicas}\t{json.dumps(status) if status else ''}"


def deployment(name: str, *, generation: int = 1, observed: int = 1, **status: int) -> str:
    labels = {"app.kubernetes.io/managed-by": "Helm"}
    meta = {"name": name, "labels": labels, "generation": generation}
    return line("Deployment", meta, "2", {"observedGeneration": observed, **status})


def test_an_empty_namespace() -> None:
    assert seen("") == Seen()


def test_revisions_in_their_order_with_what_made_them() -> None:
    text = "\n".join(
        [
            line("Secret", {"name": "x", "labels": {**HELM, "version": "10", "status": "pending-upgrade"}}),
            line("Secret", {"name": "y", "labels": {**HELM, "version": "9", "status": "deployed",
                                                    "binder-node/digest": "abc"}}),
            line("Secret", {"name": "z", "labels": {"owner": "helm", "name": "other", "version": "1",
                                                    "status": "deployed"}}),
            line("Secret", {"name": "hub"}),
        ]
    )  # fmt: skip
    found = seen(text)
    assert found.revisions == (Revision(9, "deployed", "abc"), Revision(10, "pending-upgrade", ""))
    assert found.current == Revision(10, "pending-upgrade", "")
    assert found.current.pending
    assert found.deployed == Revision(9, "deployed", "abc")


def test_workloads_and_certificate() -> None:
    text = "\n".join(
        [
            deployment("hub", updatedReplicas=2, availableReplicas=2, replicas=2),
            deployment("binder", updatedReplicas=1, availableReplicas=2, replicas=2),
            line("Deployment", {"name": "somebody-elses"}, "1"),
            line("Secret", {"name": "binder-tls", "labels": {"binder-node/digest": "d1"}}),
        ]
    )
    found = seen(text)
    assert found.workloads == (Workload("binder", 2, 1), Workload("hub", 2, 2))
    assert found.certificate == "d1"


@pytest.mark.parametrize(
    ("generation", "status", "ready"),
    [
        (1, {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}, 1),
        # The old pod is available, the new one not yet made.
        (1, {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 1}, 0),
        # The controller has not looked at the newest version.
        (2, {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}, 0),
        (1, {}, 0),
    ],
)
def test_only_pods_of_the_newest_version_count(generation: int, status: dict[str, int], ready: int) -> None:
    found = workload({"metadata": {"name": "hub", "generation": generation}, "spec": {"replicas": 1}, "status": status})
    assert (found.ready, found.ok) == (ready, ready == 1)


def pod(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "hub-x"}, "status": status}


def waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    return {"name": "hub", "state": {"waiting": {"reason": reason, "message": message}}, **more}


def test_a_ready_pod_is_not_stuck_and_one_that_goes_is_not_either() -> None:
    assert stuck(pod(conditions=[{"type": "Ready", "status": "True"}])) is None
    assert stuck({"metadata": {"name": "x", "deletionTimestamp": "now"}, "status": {"phase": "Pending"}}) is None


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (
            {"containerStatuses": [waiting("ImagePullBackOff", "Back-off\n pulling  image")]},
            Stuck("hub-x", "hub", "ImagePullBackOff", "Back-off pulling image"),
        ),
        # The kubelet's two words for the same are one, so that they do not start the clock anew.
        (
            {"containerStatuses": [waiting("ErrImagePull", "no such host")]},
            Stuck("hub-x", "hub", "ImagePullBackOff", "no such host"),
        ),
        (
            {
                "containerStatuses": [
                    waiting(
                        "CrashLoopBackOff",
                        lastState={"terminated": {"reason": "OOMKilled", "exitCode": 137}},
                        restartCount=3,
                    )
                ]
            },
            Stuck("hub-x", "hub", "CrashLoopBackOff", "OOMKilled, exit code 137, 3 restarts"),
        ),
        (
            {
                "phase": "Pending",
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
                ],
            },
            Stuck("hub-x", "", "Unschedulable", "0/1 nodes"),
        ),
        (
            {"phase": "Pending", "containerStatuses": [waiting("ContainerCreating")]},
            Stuck("hub-x", "hub", "Pending", "is being made"),
        ),
        (
            {"phase": "Failed", "reason": "OutOfpods", "message": "Node didn't have enough resource: pods"},
            Stuck("hub-x", "", "OutOfpods", "Node didn't have enough resource: pods"),
        ),
    ],
)
def test_why_a_pod_is_not_ready(status: dict[str, Any], expected: Stuck) -> None:
    assert stuck(pod(**status)) == expected


K3S = """\
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: Q0E=
    server: https://127.0.0.1:6443
  name: default
contexts:
- context:
    cluster: default
    user: default
  name: default
current-context: default
kind: Config
users:
- name: default
  user:
    client-certificate-data: Q0VSVA==
    client-key-data: S0VZ
"""


def test_a_kubeconfig_for_elsewhere() -> None:
    assert YAML(typ="safe").load(kubeconfig(K3S, "https://203.0.113.10:6443", "bids-1")) == {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "bids-1",
                "cluster": {"certificate-authority-data": "Q0E=", "server": "https://203.0.113.10:6443"},
            }
        ],
        "users": [{"name": "bids-1", "user": {"client-certificate-data": "Q0VSVA==", "client-key-data": "S0VZ"}}],
        "contexts": [{"name": "bids-1", "context": {"cluster": "bids-1", "user": "bids-1", "namespace": "binder"}}],
        "current-context": "bids-1",
    }


def test_long_certificates_stay_on_their_line() -> None:
    long = "QUJD" * 500
    assert long in kubeconfig(K3S.replace("Q0E=", long), "https://203.0.113.10:6443", "bids-1")
