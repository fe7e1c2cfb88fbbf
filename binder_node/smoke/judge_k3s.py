"""What Kubernetes shows, judged. Pure: the API's own documents in, a Trouble or None out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Network
from typing import Any

from binder_node.cluster.waits import HOPELESS, Stuck, stuck
from binder_node.smoke.checks import Trouble

Object = Mapping[str, Any]
AGAIN = "`binder-node up` puts it right"
# A pod is given as long to start as the release's own deadline for what waiting mends.
START_SECONDS = 60.0
# K3s renews its certificates at a start when they have less than 90 days (https://docs.k3s.io/cli/certificate); with
# so few left it was not restarted for two months.
CERTIFICATE_DAYS = 30
# sizing.QUOTA_SHARE leaves a twentieth of the quota to pods that count and serve nobody; three are no pile.
DEAD_SHARE, DEAD_FEW = 0.05, 3
# BinderHub's quota counts these, whatever their phase (binderhub/quota.py).
COUNTED = ("singleuser-server", "binderhub-build")
# `cull.maxAge` (21600 s) and an hour: what is older is nobody's.
ORPHAN_SECONDS = 21600 + 3600.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """The API's objects of one moment, by kind."""

    name: str  # the node's
    items: Sequence[Object]

    def kind(self, kind: str, namespace: str = "") -> list[Object]:
        return [
            item
            for item in self.items
            if item["kind"] == kind and (not namespace or item["metadata"].get("namespace") == namespace)
        ]

    @property
    def node(self) -> Object:
        """The node itself; an empty object where the API knows none of that name."""
        return next((item for item in self.kind("Node") if item["metadata"]["name"] == self.name), {})


# --- the node as the API knows it ------------------------------------------------------------------------------------


def version_of(text: str) -> str:
    """Of what ``k3s --version`` prints.

    >>> version_of("k3s version v1.35.8+k3s1 (0123abcd)")
    'v1.35.8+k3s1'
    """
    words = text.split()
    return words[2] if len(words) > 2 else "unknown"


def version(pinned: str, reported: str, binary: str) -> Trouble | None:
    """``reported`` by the kubelet, ``binary`` what `k3s --version` says of the file that the next start takes."""
    if reported == pinned and binary == pinned:
        return None
    if binary != pinned:
        return Trouble(f"K3s is {binary}, the pins say {pinned}", AGAIN)
    return Trouble(f"the kubelet runs {reported}, the file is {pinned}", "systemctl restart k3s: it was not restarted")


def ready(node: Object) -> Trouble | None:
    """The kubelet says so, and said so lately."""
    condition = _conditions(node).get("Ready")
    if condition is None:
        return Trouble("the API knows no node of this name", "see the kubelet's part of `binder-node logs NODE k3s`")
    if condition.get("status") == "True":
        return None
    message = " ".join(str(condition.get("message", "")).split())
    return Trouble(f"the node is not ready: {condition.get('reason', '')} {message}".rstrip(), "see the log of k3s")


def pressure(node: Object) -> Trouble | None:
    """Memory, disk or process numbers run out: the kubelet evicts pods and takes no new ones."""
    found = [
        f"{kind} ({' '.join(str(condition.get('message', '')).split())})"
        for kind, condition in _conditions(node).items()
        if kind.endswith("Pressure") and condition.get("status") == "True"
    ]
    if not found:
        return None
    return Trouble(f"the kubelet evicts pods: {', '.join(found)}", "lower binderhub.quota until there is room again")


def schedulable(node: Object) -> Trouble | None:
    """Nothing keeps pods off the only node."""
    spec = node.get("spec", {})
    if spec.get("unschedulable"):
        return Trouble("the node is cordoned: no new pod starts", f"k3s kubectl uncordon {node['metadata']['name']}")
    taints = [item["key"] for item in spec.get("taints") or () if item.get("effect") in ("NoSchedule", "NoExecute")]
    if not taints:
        return None
    return Trouble(
        f"pods are kept off: {', '.join(taints)}", "find who set it, then `k3s kubectl taint node NODE KEY-`"
    )


def pods(node: Object, wanted: int) -> Trouble | None:
    """The kubelet's limit as the scheduler sees it."""
    real = node.get("status", {}).get("capacity", {}).get("pods", "nothing")
    if str(real) == str(wanted):
        return None
    return Trouble(
        f"the node takes {real} pods, the inventory says {wanted}: launches beyond it end as OutOfpods",
        f"the kubelet did not take its file: {AGAIN}, or `systemctl restart k3s`",
    )


def pod_addresses(node: Object, wanted: int) -> Trouble | None:
    """As many addresses as pods, and as many again for those that go while others come."""
    network = node.get("spec", {}).get("podCIDR", "")
    room = IPv4Network(network).num_addresses - 2 if network else 0
    if room >= 1.5 * wanted or (wanted <= 127 and room >= 254):
        return None
    return Trouble(
        f"the node has {room} pod addresses ({network or 'no network'}) for {wanted} pods",
        "a node keeps the network that it was first given: lower kubernetes.max_pods, or make the node anew",
    )


def kubelet(configz: Object, wanted: Object) -> Trouble | None:
    """``configz``: the configuration that the kubelet runs with; ``wanted``: our file, but for ``maxPods``."""
    running = configz.get("kubeletconfig", {})
    wrong = [
        f"{key} is {running.get(key)}, not {value}"
        for key, value in wanted.items()
        if key not in ("apiVersion", "kind", "maxPods") and running.get(key) != value
    ]
    if not wrong:
        return None
    return Trouble(f"the kubelet runs with {'; '.join(wrong)}", f"{AGAIN}, or `systemctl restart k3s`")


def address(node: Object, slices: Iterable[Object], service: str, wanted: str) -> Trouble | None:
    """The address that Kubernetes has for the node, and for what runs on the host, is the machine's."""
    found = {item["address"] for item in node.get("status", {}).get("addresses") or () if item["type"] == "InternalIP"}
    behind = {
        address
        for item in slices
        if (item["metadata"].get("labels") or {}).get("kubernetes.io/service-name") == service
        for endpoint in item.get("endpoints") or ()
        for address in endpoint["addresses"]
    }
    wrong = [f"the node is {', '.join(sorted(found)) or 'nowhere'}"] if found != {wanted} else []
    if behind != {wanted}:
        wrong.append(f"the Service {service} leads to {', '.join(sorted(behind)) or 'nowhere'}")
    if not wrong:
        return None
    return Trouble(f"{' and '.join(wrong)}; the machine is {wanted}", f"an address of another machine? {AGAIN}")


def _conditions(node: Object) -> dict[str, Object]:
    return {item["type"]: item for item in node.get("status", {}).get("conditions") or ()}


# --- certificates ----------------------------------------------------------------------------------------------------


def certificates(ends: Mapping[str, datetime], now: datetime) -> Trouble | None:
    """``ends``: when each certificate does, by its file or port."""
    soon = [f"{name} in {(end - now).days} days" for name, end in ends.items() if (end - now).days < CERTIFICATE_DAYS]
    if not soon:
        return None
    some = ", ".join(soon[:3]) + (f" and {len(soon) - 3} more" if len(soon) > 3 else "")
    return Trouble(
        f"certificates end: {some}",
        "systemctl restart k3s renews them; then `binder-node kubeconfig` for every copy that somebody keeps",
    )


def ends(pem: str) -> datetime | None:
    """When the first certificate of a PEM text ends (K3s's files hold the leaf first); None where there is none."""
    from cryptography import x509

    if "-----BEGIN CERTIFICATE-----" not in pem:
        return None
    start = pem.index("-----BEGIN CERTIFICATE-----")
    return x509.load_pem_x509_certificate(pem[start:].encode()).not_valid_after_utc


# --- pods ------------------------------------------------------------------------------------------------------------


def waiting(pods: Iterable[Object], now: datetime) -> Trouble | None:
    """Pods that should run and do not. One that was made just now may still start."""
    found = [item for pod in pods if (item := stuck(pod)) and _matters(item, pod, now)]
    if not found:
        return None
    more = f" and {len(found) - 2} more" if len(found) > 2 else ""
    return Trouble("; ".join(map(str, found[:2])) + more, f"k3s kubectl describe pod -n kube-system {found[0].pod}")


def _matters(item: Stuck, pod: Object, now: datetime) -> bool:
    if pod.get("status", {}).get("phase") == "Succeeded":  # a finished job: K3s installs its charts by jobs
        return False
    return item.reason in HOPELESS or age(pod, now) > START_SECONDS


def age(item: Object, now: datetime) -> float:
    """Seconds since an object was made."""
    made = datetime.fromisoformat(str(item["metadata"]["creationTimestamp"]).replace("Z", "+00:00"))
    return (now - made).total_seconds()


def dead_pods(pods: Iterable[Object], quota: int, now: datetime) -> Trouble | None:
    """Finished pods and forgotten ones: BinderHub's quota counts them, and they serve nobody."""
    counted = [pod for pod in pods if (pod["metadata"].get("labels") or {}).get("component") in COUNTED]
    ended = [pod for pod in counted if pod.get("status", {}).get("phase") in ("Succeeded", "Failed")]
    old = [pod for pod in counted if pod not in ended and age(pod, now) > ORPHAN_SECONDS]
    if not old and len(ended) <= max(DEAD_FEW, DEAD_SHARE * quota):
        return None
    why = Counter(str(pod["status"].get("reason") or pod["status"]["phase"]) for pod in ended)
    parts = (
        [f"{len(ended)} have ended ({', '.join(f'{count} {name}' for name, count in why.items())})"] if ended else []
    )
    parts += [f"{len(old)} are older than any session may be"] if old else []
    first = (old or ended)[0]["metadata"]["name"]
    return Trouble(
        f"of {len(counted)} pods that the quota of {quota} counts {' and '.join(parts)}",
        f"k3s kubectl delete pod -n binder {first} ...; is the hub up, which removes them?",
    )


def cryptnono(daemonset: str, node: str) -> Trouble | None:
    """``daemonset`` is its object as JSON, empty where there is none: pods that scan or mine would not be ended."""
    found = json.loads(daemonset) if daemonset.strip() else {}
    status = found.get("status", {})
    wanted, ready = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
    if found and 0 < wanted <= ready:
        return None
    reason = f"cryptnono is up on {ready} of {wanted} machines" if found else "cryptnono is not installed"
    what = "k3s kubectl describe helmchart -n kube-system cryptnono; k3s kubectl get pods -n binder"
    return Trouble(reason, f"binder-node ssh {node} -- '{what}': it needs its images, eBPF and kernel headers")


def load_balancers(services: Iterable[Object], own: str) -> Trouble | None:
    """K3s's ServiceLB gives ports 80 and 443 to one Service: ``own``, as namespace/name."""
    others = [name for item in services if item["spec"].get("type") == "LoadBalancer" and (name := _name(item)) != own]
    if not others:
        return None
    return Trouble(
        f"a second Service of type LoadBalancer: {', '.join(others)}", f"{own} has the ports: make it ClusterIP"
    )


def _name(item: Object) -> str:
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"


def cluster_dns(answer: str, wanted: Collection[str]) -> Trouble | None:
    """``answer``: the address that the cluster's DNS gave, or what went wrong."""
    if answer in wanted:
        return None
    return Trouble(
        f"the cluster's DNS does not answer: {answer}",
        "k3s kubectl get pods -n kube-system -l k8s-app=kube-dns: is there one, and ready?",
    )


def utc_now() -> datetime:
    return datetime.now(UTC)
