"""Layer ``k3s``: Kubernetes, and what it needs to be trusted with launches."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from binder_node import remote
from binder_node.binder.client import told
from binder_node.cluster.cryptnono import NAME as CRYPTNONO
from binder_node.errors import StepError
from binder_node.host.k3s import UNIT, kubelet
from binder_node.layout import API_PORT, CONTAINERD_SOCKET, K3S_DATA, K3S_KUBECONFIG, NAMESPACE, REGISTRY_SERVICE
from binder_node.lifecycle.opened import Opened
from binder_node.node import Access
from binder_node.smoke import judge_k3s as judge
from binder_node.smoke.checks import Trouble, check, expect
from binder_node.smoke.judge_k3s import Cluster
from binder_node.spec.model import Spec

API = "k3s.api"
KINDS = "nodes,pods,services,endpointslices.discovery.k8s.io"
KUBELET_PORT = 10250
# Traefik's own, which K3s brings.
LOAD_BALANCER = "kube-system/traefik"
DNS_NAME = "kubernetes.default.svc.cluster.local"


@pytest.fixture(scope="session")
def cluster(kubectl: Callable[[str], Any], spec: Spec) -> Cluster:
    """All that these checks look at, in one question."""
    return Cluster(spec.name, kubectl(f"get {KINDS} --all-namespaces")["items"])


@check("k3s.unit", "K3s runs", needs="machine.ssh")
def test_unit(host: Any, spec: Spec) -> None:
    state = host.run(f"systemctl is-active {UNIT}").stdout.strip()
    if state != "active":
        last = host.run(f"journalctl --no-pager -o cat -n 3 -u {UNIT}").stdout.strip()
        expect(Trouble(f"{UNIT} is {state}: {last}", f"binder-node logs {spec.name} k3s; `binder-node up` starts it"))


@check("k3s.containerd", "its containerd answers", needs="k3s.unit")
def test_containerd(host: Any) -> None:
    done = host.run(f"k3s ctr --address {CONTAINERD_SOCKET} version")
    if done.failed:
        expect(Trouble(done.stderr.strip() or done.stdout.strip(), "see the log of k3s; `systemctl restart k3s`"))


@check(API, "the Kubernetes API says that it is ready", needs="k3s.unit")
def test_api(host: Any, spec: Spec) -> None:
    done = host.run("k3s kubectl get --raw /readyz")
    if done.failed:
        expect(Trouble(done.stderr.strip() or done.stdout.strip(), f"see `binder-node logs {spec.name} k3s`"))


@check("k3s.cryptnono", "cryptnono runs on the node", needs=API, guide=27)
def test_cryptnono(host: Any, spec: Spec) -> None:
    if not spec.abuse.cryptnono or spec.central:
        pytest.skip("it is not wanted (abuse.cryptnono)")
    done = host.run(f"k3s kubectl get daemonset {CRYPTNONO} -n {NAMESPACE} --ignore-not-found -o json")
    expect(judge.cryptnono(done.stdout if done.succeeded else "", spec.name))


# --- the node as the API knows it ------------------------------------------------------------------------------------


@check("k3s.version", "the kubelet runs the version that is pinned", needs=API)
def test_version(cluster: Cluster, host: Any, opened: Opened) -> None:
    reported = cluster.node.get("status", {}).get("nodeInfo", {}).get("kubeletVersion", "unknown")
    binary = judge.version_of(host.run("k3s --version").stdout)
    expect(judge.version(opened.pins.entries["k3s"].version, reported, binary))


@check("k3s.ready", "the node is ready", needs=API)
def test_ready(cluster: Cluster) -> None:
    expect(judge.ready(cluster.node))


@check("k3s.pressure", "neither memory nor disk runs out", needs="k3s.ready", guide=(4, 6))
def test_pressure(cluster: Cluster) -> None:
    expect(judge.pressure(cluster.node))


@check("k3s.schedulable", "pods may start: no cordon, no taint", needs=("k3s.ready", "k3s.pressure"), guide=12)
def test_schedulable(cluster: Cluster) -> None:
    expect(judge.schedulable(cluster.node))


@check("k3s.pods", "the kubelet takes as many pods as the inventory says", needs=API, guide=1)
def test_pods(cluster: Cluster, spec: Spec) -> None:
    expect(judge.pods(cluster.node, spec.kubernetes.max_pods))


@check("k3s.pod-addresses", "there are addresses for them", needs=API, guide=1)
def test_pod_addresses(cluster: Cluster, spec: Spec) -> None:
    expect(judge.pod_addresses(cluster.node, spec.kubernetes.max_pods))


@check("k3s.kubelet", "the kubelet runs with our limits, collector and pulls", needs="k3s.ready", guide=(5, 7))
def test_kubelet(kubectl: Callable[[str], Any], spec: Spec) -> None:
    configz = kubectl(f"get --raw /api/v1/nodes/{spec.name}/proxy/configz")
    expect(judge.kubelet(configz, kubelet(spec)))


@check("k3s.address", "Kubernetes has this machine's address, and no other", needs=API, guide=26)
def test_address(cluster: Cluster, address: str) -> None:
    slices = cluster.kind("EndpointSlice", NAMESPACE)
    expect(judge.address(cluster.node, slices, REGISTRY_SERVICE, address))


# --- certificates ----------------------------------------------------------------------------------------------------


@check("k3s.certificates", "its certificates last for a month at least", needs=API, guide=28)
def test_certificates(host: Any, access: Access) -> None:
    # Files of authorities end in -ca.crt or -ca.nochain.crt; they last ten years and are not K3s's to renew.
    asked = (
        f"for file in {K3S_DATA}/server/tls/*.crt {K3S_DATA}/agent/*.crt; do "
        'case $file in *-ca.crt|*-ca.nochain.crt) ;; *) echo "== $file"; cat "$file";; esac; done'
    )
    found: dict[str, datetime] = {}
    for part in host.check_output(asked).split("== ")[1:]:
        name, _, pem = part.partition("\n")
        if (end := judge.ends(pem)) is not None:
            found[name] = end
    for port, name in ((API_PORT, "the API's"), (KUBELET_PORT, "the kubelet's")):
        if (end := judge.ends(_shown(access, port, name))) is not None:
            found[name] = end
    found |= _own(host)
    expect(judge.certificates(found, judge.utc_now()))


def _shown(access: Access, port: int, name: str) -> str:
    """The certificate, as PEM, that is shown at a port of the node's loopback. Raises StepError where none is."""
    try:
        with remote.tunnel(access, port) as local:
            return ssl.get_server_certificate(("127.0.0.1", local), timeout=10)
    except OSError as error:
        remedy = f"see `binder-node logs {access.name} k3s`"
        raise StepError(access.name, f"see {name} certificate at port {port}", str(error), remedy) from None


def _own(host: Any) -> dict[str, datetime]:
    """The client certificate of K3s's own kubeconfig, which `binder-node kubeconfig` copies."""
    import base64

    from ruamel.yaml import YAML

    user = YAML(typ="safe", pure=True).load(host.check_output(f"cat {K3S_KUBECONFIG}"))["users"][0]["user"]
    end = judge.ends(base64.b64decode(user.get("client-certificate-data", "")).decode())
    return {str(K3S_KUBECONFIG): end} if end is not None else {}


# --- pods ------------------------------------------------------------------------------------------------------------


@check("k3s.system-pods", "Kubernetes' own pods run", needs=("k3s.ready", "k3s.containerd"))
def test_system_pods(cluster: Cluster) -> None:
    expect(judge.waiting(cluster.kind("Pod", "kube-system"), judge.utc_now()))


@check("k3s.dead-pods", "no pile of finished pods eats the quota", needs=API, guide=(1, 2, 3))
def test_dead_pods(cluster: Cluster, spec: Spec) -> None:
    # A central deploy has a namespace of its own.
    expect(
        judge.dead_pods(cluster.kind("Pod", "" if spec.central else NAMESPACE), spec.binderhub.quota, judge.utc_now())
    )


@check("k3s.load-balancers", "ports 80 and 443 have one owner", needs=API, guide=24)
def test_load_balancers(cluster: Cluster) -> None:
    expect(judge.load_balancers(cluster.kind("Service"), LOAD_BALANCER))


# Asked from the host with nothing but Python: a question for one A record (RFC 1035); the answer's last four bytes.
ASK = """
import socket, struct, sys
server, name = sys.argv[1:]
question = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\\0\\0\\1\\0\\1"
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
    asked.settimeout(2)
    for attempt in range(2):
        try:
            asked.sendto(struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + question, (server, 53))
            answer = asked.recv(512)
        except OSError as error:
            said = f"{server}: {error}"
            continue
        said = socket.inet_ntoa(answer[-4:]) if struct.unpack(">H", answer[6:8])[0] else f"no such name: {name}"
        break
print(said)
"""


@check("k3s.dns", "the cluster's DNS answers", needs="k3s.system-pods")
def test_dns(host: Any, cluster: Cluster) -> None:
    addresses = {
        item["metadata"]["name"]: item["spec"]["clusterIP"]
        for item in cluster.kind("Service")
        if item["metadata"]["namespace"] in ("kube-system", "default")
    }
    server = addresses.get("kube-dns", "")
    answer = host.check_output("python3 -c %s %s %s", ASK, server, DNS_NAME) if server else "there is no kube-dns"
    expect(judge.cluster_dns(answer, {addresses.get("kubernetes", "")}))


@check("k3s.ingress", "the web's port answers, from here", needs="k3s.system-pods")
def test_ingress(address: str, spec: Spec) -> None:
    import httpx

    # Whatever the answer: who is behind is the layer `binder`'s question.
    try:
        answer = httpx.get(f"http://{address}/", headers={"Host": "smoke.invalid"}, timeout=10, trust_env=False)
    except httpx.HTTPError as error:
        remedy = "k3s kubectl get pods -n kube-system -l app.kubernetes.io/name=traefik: is it there?"
        expect(Trouble(f"port 80 at {address}: {error or type(error).__name__}", remedy))
        return
    if answer.status_code >= 500:
        expect(Trouble(f"port 80 at {address}: {told(answer)}", f"see `binder-node status {spec.name}`"))
