"""The k3s stand-in on a real machine: what the node tests take for granted of K3s must hold of its stand-in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.k3s_fixtures import K3S, Machine, bare_machine, named, pod, within

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make machines"),
    pytest.mark.skipif(shutil.which("go") is None, reason="the stand-in is built from Go modules"),
]

NETWORK = "198.18.44"
NODE = f"{NETWORK}.20"
CONFIG = f"""\
node-name: standin
node-ip: {NODE}
write-kubeconfig-mode: "0600"
tls-san: [binder.example.org]
secrets-encryption: true
disable: [local-storage, metrics-server]
"""
KUBELET = """\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
maxPods: 77
"""
MANIFEST = """\
apiVersion: v1
kind: Namespace
metadata: {{name: manifest}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: told, namespace: manifest}}
data: {{value: "{value}"}}
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The machine with K3s started by its unit, and three pods that test programs run in."""
    folder = tmp_path_factory.mktemp("k3s")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BINDER_NODE_LOCAL_DIR", str(folder / "machines"))
        yield from _machine(folder)


def _machine(folder: Path) -> Iterator[Machine]:
    with bare_machine(folder, "standin", NETWORK) as made:
        made.write("/etc/rancher/k3s/config.yaml", CONFIG)
        made.write("/etc/rancher/k3s/config.yaml.d/token.yaml", "token: abcdef\n")
        made.write(f"{K3S}/agent/etc/kubelet.conf.d/99-test.conf", KUBELET)
        made.write(f"{K3S}/server/manifests/test.yaml", MANIFEST.format(value="first"))
        made.write(f"{K3S}/server/manifests/skipped.yaml", MANIFEST.format(value="no").replace("manifest", "skipped"))
        made.write(f"{K3S}/server/manifests/skipped.yaml.skip", "")
        made.sh("systemctl daemon-reload && systemctl start k3s", timeout=120)
        made.apply(*(named("Namespace", "", name) for name in ("one", "two")))
        within(20, "the service accounts", lambda: made.kubectl("get sa -A").count("default") >= 5)
        service = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
        made.apply(pod("one", "web", "serve"), pod("one", "client"), pod("two", "other"))
        made.apply(named("Service", "one", "web", spec=service))
        within(20, "CoreDNS and Traefik", lambda: made.kubectl("get pods -n kube-system -o name").count("pod/") == 2)
        for namespace in ("one", "two", "kube-system"):
            made.ready(namespace)
        within(10, "the Service to answer", lambda: made.probe("one", "client", "get http://web").code == 0)
        yield made


def test_version_and_commands_look_like_k3s(machine: Machine) -> None:
    assert machine.sh("k3s --version").stdout.startswith("k3s version v1.35.4+k3s1 ")
    node = json.loads(machine.kubectl("get node standin -o json"))
    assert node["status"]["nodeInfo"]["kubeletVersion"] == "v1.35.4+k3s1"
    assert "node-role.kubernetes.io/control-plane" in node["metadata"]["labels"]
    assert "docker.io/rancher/mirrored-pause:3.6" in machine.sh("k3s ctr images list -q").stdout
    images = json.loads(machine.sh("k3s crictl images -o json").stdout)["images"]
    pinned = {image["repoTags"][0].rpartition(":")[0] for image in images if image["pinned"]}
    assert {"docker.io/rancher/mirrored-coredns-coredns", "docker.io/library/probe"} <= pinned


def test_files_lie_where_k3s_has_them(machine: Machine) -> None:
    assert machine.sh("stat -c %a /etc/rancher/k3s/k3s.yaml").stdout == "600\n"
    assert "server: https://127.0.0.1:6443" in machine.sh("cat /etc/rancher/k3s/k3s.yaml").stdout
    assert machine.sh(f"cat {K3S}/server/token").stdout.endswith("::server:abcdef\n")
    machine.sh(
        f"test -S /run/k3s/containerd/containerd.sock -a -x {K3S}/data/current/bin/bridge -a -L {K3S}/data/cni/bridge"
    )
    names = machine.sh(
        f"openssl x509 -noout -ext subjectAltName -in {K3S}/server/tls/serving-kube-apiserver.crt"
    ).stdout
    assert "DNS:binder.example.org" in names
    assert f"IP Address:{NODE}" in names


@pytest.mark.parametrize(
    "wrong", ["no-such-key: 1", "disable: [no-such-component]", "flannel-backend: wireguard-native"]
)
def test_refuses_what_it_does_not_know(machine: Machine, wrong: str) -> None:
    machine.write("/etc/rancher/k3s/config.yaml.d/wrong.yaml", wrong + "\n")
    try:
        done = machine.sh("k3s server", check=False)
    finally:
        machine.sh("rm /etc/rancher/k3s/config.yaml.d/wrong.yaml")
    assert done.code == 1
    assert wrong.partition(":")[0] in done.stderr


def test_kubelet_drop_in_and_secrets_encryption_take_effect(machine: Machine) -> None:
    assert machine.kubectl("get node standin -o jsonpath='{.status.capacity.pods}'") == "77"
    machine.kubectl("create secret generic hidden --from-literal=key=plainly-to-be-seen")
    assert machine.sh(f"grep -l plainly-to-be-seen {K3S}/server/db/*", check=False).stdout == ""


def test_manifests_are_applied_again_on_change_and_skipped_when_told(machine: Machine) -> None:
    value = "get configmap told -n manifest -o jsonpath='{.data.value}'"
    within(20, "the manifest", lambda: machine.kubectl("get ns manifest --ignore-not-found"))
    within(10, "the ConfigMap", lambda: machine.kubectl(value) == "first")
    machine.write(f"{K3S}/server/manifests/test.yaml", MANIFEST.format(value="second"))
    within(20, "the change", lambda: machine.kubectl(value) == "second")
    assert machine.kubectl("get namespace skipped --ignore-not-found") == ""


def test_logs_exec_dns_and_services(machine: Machine) -> None:
    assert machine.kubectl("logs -n one web") == "serving on 8080\n"
    assert machine.probe("two", "other", "get http://web.one").stdout.startswith("web for 10.42.0.")
    service = machine.kubectl("get service -n one web -o jsonpath='{.spec.clusterIP}'")
    assert machine.probe("one", "client", "resolve web.one.svc.cluster.local").stdout == f"{service}\n"
    assert machine.probe("one", "web", f"get http://{service}").code == 0  # to itself, through its Service


def test_ingress_answers_on_the_nodes_ports_with_the_clients_address(machine: Machine) -> None:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    rule = {"host": "web.example.org", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    spec = {"ingressClassName": "traefik", "rules": [rule]}
    machine.apply(named("Ingress", "one", "web", "networking.k8s.io/v1", spec=spec))

    def answer(scheme: str) -> str:
        argv = ["curl", "-sk", "-m", "3", "-H", "Host: web.example.org", f"{scheme}://{NODE}/"]
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout

    within(20, "Traefik to route", lambda: answer("http").startswith("web for "))
    assert answer("http").endswith(f"({NETWORK}.1)\n")
    assert answer("https").startswith("web for ")
    assert machine.kubectl("get ingress -n one web -o jsonpath='{.status.loadBalancer.ingress[0].ip}'") == NODE


CHART = """\
apiVersion: helm.cattle.io/v1
kind: HelmChartConfig
metadata: {{name: traefik, namespace: kube-system}}
spec:
  valuesContent: |
    additionalArguments: [--entrypoints.web.http.redirections.entrypoint.to=:443]
    {more}
"""


def test_traefiks_values_are_laid_over_and_unknown_ones_refused(machine: Machine) -> None:
    path = f"{K3S}/server/manifests/chart.yaml"
    arguments = "get deployment -n kube-system traefik -o jsonpath='{.spec.template.spec.containers[0].args}'"

    def redirected() -> bool:
        argv = ["curl", "-s", "-m", "3", "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}", f"http://{NODE}/x"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        return done.stdout == f"301 https://{NODE}/x"

    machine.write(path, CHART.format(more="deployment: {additionalVolumes: [{name: more, emptyDir: {}}]}"))
    within(60, "Traefik to send everybody to https", redirected)
    assert machine.kubectl("get helmchartconfig -n kube-system traefik -o name").startswith("helmchartconfig")
    volumes = "get deployment -n kube-system traefik -o jsonpath='{.spec.template.spec.volumes[*].name}'"
    assert "more" in machine.kubectl(volumes).split()
    before = machine.kubectl(arguments)
    machine.write(path, CHART.format(more="additionalArgument: [--log.level=DEBUG]"))
    log = "journalctl -u k3s -o cat --no-pager | grep 'traefik stays as it is' || true"
    within(20, "the refusal", lambda: "additionalArgument not found" in machine.sh(log).stdout)
    assert machine.kubectl(arguments) == before
    machine.sh(f"rm {path}")
    within(60, "Traefik to answer http again", lambda: not redirected())
    machine.kubectl("rollout status -n kube-system deployment/traefik --timeout=60s", timeout=70)


WEB = {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"]}
CLIENT = {"podSelector": {"matchLabels": {"app": "client"}}, "policyTypes": ["Egress"]}
FROM_CLIENT = [{"podSelector": {"matchLabels": {"app": "client"}}}]
FROM_TWO = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "two"}}}]
EVERYWHERE_BUT_THE_HOST = [{"ipBlock": {"cidr": "0.0.0.0/0", "except": [f"{NETWORK}.1/32"]}}]


@pytest.mark.parametrize(
    ("policy", "allowed"),
    [
        ({**WEB}, set[str]()),
        ({**WEB, "ingress": [{"from": FROM_CLIENT}]}, {"client to web"}),
        ({**WEB, "ingress": [{"from": FROM_TWO, "ports": [{"port": 8080}]}]}, {"other to web"}),
        ({**WEB, "ingress": [{"from": FROM_TWO, "ports": [{"port": 9999}]}]}, set[str]()),
        ({**CLIENT, "egress": [{"to": EVERYWHERE_BUT_THE_HOST}]}, {"client to web", "other to web"}),
        ({**CLIENT, "egress": [{"ports": [{"port": 53, "protocol": "UDP"}]}]}, {"other to web"}),
    ],
)
def test_network_policy_is_enforced(machine: Machine, policy: dict[str, object], allowed: set[str]) -> None:
    """``web`` answers whom the policy lets in; ``client`` reaches what it is let out to."""
    machine.apply(named("NetworkPolicy", "one", "tested", "networking.k8s.io/v1", spec=policy))

    def seen() -> set[str]:
        ways = {"client to web": ("one", "client"), "other to web": ("two", "other")}
        return {way for way, at in ways.items() if machine.probe(*at, "dial web.one.svc.cluster.local:80").code == 0}

    try:
        within(10, f"only {allowed or 'nobody'} to get through", lambda: seen() == allowed)
        if "egress" in policy:
            assert machine.probe("one", "client", f"dial {NETWORK}.1:22").code != 0
    finally:
        machine.kubectl("delete networkpolicy -n one tested")
    within(10, "everybody to get through again", lambda: len(seen()) == 2)


def test_a_restart_leaves_pods_alone_but_not_containerd(machine: Machine) -> None:
    def now() -> tuple[str, str]:
        container = machine.kubectl("get pod -n one web -o jsonpath='{.status.containerStatuses[0].containerID}'")
        return container, machine.sh("pgrep -x containerd").stdout

    before = now()
    began = time.monotonic()
    machine.sh("systemctl restart k3s", timeout=120)
    took = time.monotonic() - began
    after = now()
    assert after[0] == before[0]
    assert after[1] != before[1]
    assert took < 60
    log = machine.sh("journalctl -u k3s -o cat --no-pager | grep -c 'imported . images'").stdout
    assert int(log) == 2, "unchanged image archives were imported again"
    within(60, "the web to answer", lambda: machine.probe("one", "client", "get http://web").code == 0)


def test_killed_it_takes_its_children_along_and_comes_back(machine: Machine) -> None:
    children = machine.sh("pgrep -P $(systemctl show -p MainPID --value k3s)").stdout.split()
    assert len(children) >= 8
    killed = machine.sh("systemctl show -p MainPID --value k3s").stdout.strip()
    machine.sh(f"kill -9 {killed}")

    def back() -> bool:
        # Until systemd has noticed, the unit is still active with the old process.
        shown = machine.sh("systemctl show -p ActiveState,MainPID --value k3s", check=False).stdout.split()
        return "active" in shown and killed not in shown

    within(90, "K3s to be back", back)
    alive = machine.sh(f"for pid in {' '.join(children)}; do kill -0 $pid 2>/dev/null && echo $pid; done; true").stdout
    assert alive.split() == []
    within(60, "the web to answer", lambda: machine.probe("one", "client", "get http://web").code == 0)
