"""What the checks of Kubernetes say of the API's documents."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from binder_node.host.k3s import kubelet
from binder_node.smoke import judge_k3s as judge
from tests.unit.host_samples import sample_spec
from tests.unit.test_smoke_judge_machine import reason

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def node(**more: Any) -> dict[str, Any]:
    conditions = {"Ready": "True", "DiskPressure": "False", "MemoryPressure": "False", **more.pop("conditions", {})}
    return {
        "kind": "Node",
        "metadata": {"name": "bids-1"},
        "spec": {"podCIDR": "10.42.0.0/23", **more.pop("spec", {})},
        "status": {
            "capacity": {"pods": "161"},
            "addresses": [{"type": "InternalIP", "address": "203.0.113.9"}, {"type": "Hostname", "address": "bids-1"}],
            "conditions": [
                {"type": kind, "status": status, "reason": "Because", "message": "it  says so"}
                for kind, status in conditions.items()
            ],
            **more,
        },
    }


def pod(name: str = "a", component: str = "", phase: str = "Running", old: float = 3600.0, **status: Any) -> Any:
    made = (NOW - timedelta(seconds=old)).isoformat().replace("+00:00", "Z")
    labels = {"component": component} if component else {}
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "binder", "labels": labels, "creationTimestamp": made},
        "status": {"phase": phase, **status},
    }


READY: dict[str, Any] = {"conditions": [{"type": "Ready", "status": "True"}]}


@pytest.mark.parametrize(
    ("reported", "binary", "said"),
    [
        ("v1.35.8+k3s1", "v1.35.8+k3s1", ""),
        ("v1.35.7+k3s1", "v1.35.8+k3s1", "the kubelet runs v1.35.7+k3s1, the file is v1.35.8+k3s1"),
        ("v1.35.7+k3s1", "v1.35.7+k3s1", "K3s is v1.35.7+k3s1, the pins say v1.35.8+k3s1"),
    ],
)
def test_version(reported: str, binary: str, said: str) -> None:
    assert reason(judge.version("v1.35.8+k3s1", reported, binary)) == said


def test_a_version_that_is_none() -> None:
    assert judge.version_of("") == "unknown"


def test_ready() -> None:
    assert judge.ready(node()) is None
    said = reason(judge.ready(node(conditions={"Ready": "Unknown"})))
    assert said == "the node is not ready: Because it says so"
    assert judge.Cluster("other", [node()]).node == {}
    assert "knows no node" in reason(judge.ready({}))


def test_pressure() -> None:
    assert judge.pressure(node()) is None
    said = reason(judge.pressure(node(conditions={"DiskPressure": "True"})))
    assert said == "the kubelet evicts pods: DiskPressure (it says so)"


def test_schedulable() -> None:
    assert judge.schedulable(node()) is None
    assert judge.schedulable(node(spec={"taints": [{"key": "a", "effect": "PreferNoSchedule"}]})) is None
    assert "cordoned" in reason(judge.schedulable(node(spec={"unschedulable": True})))
    assert "pods are kept off: a" in reason(
        judge.schedulable(node(spec={"taints": [{"key": "a", "effect": "NoExecute"}]}))
    )


def test_the_kubelets_pods() -> None:
    assert judge.pods(node(), 161) is None
    said = reason(judge.pods(node(capacity={"pods": "110"}), 161))
    assert said.startswith("the node takes 110 pods, the inventory says 161")


@pytest.mark.parametrize(
    ("network", "wanted", "enough"),
    [("10.42.0.0/24", 110, True), ("10.42.0.0/24", 300, False), ("10.42.0.0/22", 300, True), ("", 30, False)],
)
def test_pod_addresses(network: str, wanted: int, enough: bool) -> None:
    assert (judge.pod_addresses(node(spec={"podCIDR": network}), wanted) is None) is enough


def test_the_kubelets_own_configuration() -> None:
    wanted = kubelet(sample_spec())
    running = {"kubeletconfig": {**wanted, "maxPods": 110, "somethingElse": 1}}
    assert judge.kubelet(running, wanted) is None  # the number of pods is a check of its own
    running["kubeletconfig"] |= {"serializeImagePulls": True, "imageGCHighThresholdPercent": 85}
    said = reason(judge.kubelet(running, wanted))
    assert "imageGCHighThresholdPercent is 85, not 75" in said
    assert "serializeImagePulls is True, not False" in said
    assert judge.kubelet({}, wanted) is not None


def behind(address: str) -> dict[str, Any]:
    labels = {"kubernetes.io/service-name": "registry"}
    return {"kind": "EndpointSlice", "metadata": {"labels": labels}, "endpoints": [{"addresses": [address]}]}


@pytest.mark.parametrize(
    ("machine", "slice_", "said"),
    [
        ("203.0.113.9", "203.0.113.9", ""),
        ("203.0.113.9", "198.51.100.1", "the Service registry leads to 198.51.100.1; the machine is 203.0.113.9"),
        ("203.0.113.8", "203.0.113.8", "the node is 203.0.113.9 and the Service registry leads to 203.0.113.8"),
    ],
)
def test_addresses(machine: str, slice_: str, said: str) -> None:
    address = machine if said.count("and") == 0 else "203.0.113.7"
    found = reason(judge.address(node(), [behind(slice_), {"metadata": {}}], "registry", address))
    assert found.startswith(said) if said else not found


def test_certificates() -> None:
    good = {"a.crt": NOW + timedelta(days=31)}
    assert judge.certificates(good, NOW) is None
    said = reason(
        judge.certificates({**good, "b.crt": NOW + timedelta(days=29), "c.crt": NOW - timedelta(days=2)}, NOW)
    )
    assert said == "certificates end: b.crt in 29 days, c.crt in -2 days"
    assert judge.ends("no certificate") is None


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (pod(**READY), ""),
        (pod(phase="Succeeded"), ""),  # a finished job
        (pod(phase="Pending", old=5), ""),  # it may still start
        (pod(phase="Pending", old=90), "a: Pending (is being made)"),
        (
            pod(
                old=5,
                phase="Pending",
                containerStatuses=[
                    {"name": "c", "state": {"waiting": {"reason": "ErrImageNeverPull", "message": "no image"}}}
                ],
            ),
            "a: ErrImageNeverPull (no image)",
        ),
    ],
)
def test_pods_that_should_run(found: Any, said: str) -> None:
    assert reason(judge.waiting([found], NOW)) == said


def test_dead_pods() -> None:
    running = [pod(str(number), "singleuser-server") for number in range(50)]
    ended = [pod(f"e{number}", "binderhub-build", "Failed", reason="OutOfpods") for number in range(4)]
    assert judge.dead_pods([*running, *ended[:3]], 60, NOW) is None
    said = reason(judge.dead_pods([*running, *ended], 60, NOW))
    assert said == "of 54 pods that the quota of 60 counts 4 have ended (4 OutOfpods)"
    assert judge.dead_pods([*running, *ended], 100, NOW) is None  # 5 % of the quota
    others = [pod(str(number), "hub", "Failed") for number in range(9)]
    assert judge.dead_pods(others, 60, NOW) is None  # the quota does not count them
    old = pod("old", "singleuser-server", old=8 * 3600.0)
    assert "1 are older than any session may be" in reason(judge.dead_pods([*running, old], 60, NOW))


def test_load_balancers() -> None:
    def service(namespace: str, name: str, kind: str) -> dict[str, Any]:
        return {"metadata": {"namespace": namespace, "name": name}, "spec": {"type": kind}}

    good = [service("kube-system", "traefik", "LoadBalancer"), service("binder", "hub", "ClusterIP")]
    assert judge.load_balancers(good, "kube-system/traefik") is None
    said = reason(judge.load_balancers([*good, service("binder", "binder", "LoadBalancer")], "kube-system/traefik"))
    assert said == "a second Service of type LoadBalancer: binder/binder"


def test_dns() -> None:
    assert judge.cluster_dns("10.43.0.1", {"10.43.0.1"}) is None
    said = reason(judge.cluster_dns("10.43.0.10: timed out", {"10.43.0.1"}))
    assert said == "the cluster's DNS does not answer: 10.43.0.10: timed out"
