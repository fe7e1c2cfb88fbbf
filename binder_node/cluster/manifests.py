"""What K3s itself keeps in the cluster: everything that the release stands on and that is not the chart's."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, collapse_addresses
from typing import Any

from binder_node.cluster.cryptnono import cryptnono_chart
from binder_node.cluster.dump import yaml_stream
from binder_node.cluster.ingress import AUTHORITY, traefik
from binder_node.layout import METRICS_ACCOUNT, NAMESPACE, OUTWARD, PULL_PORT, REGISTRY_SERVICE, RESERVED
from binder_node.spec.model import Spec

Manifest = dict[str, Any]

OWN = {"app.kubernetes.io/managed-by": "binder-node"}
# Core pods live longer than users' when memory runs out; the number is the federation's own.
PRIORITY, PRIORITY_VALUE = "binder-core", 10000
METRICS_ROLE = "binder-node-metrics"
# BinderHub gives its build pods this label (binderhub/build.py, _component_label).
BUILD_PODS = {"component": "binderhub-build"}


def manifests(spec: Spec, address: str, authority: str = "", cryptnono: tuple[bytes, str] | None = None) -> str:
    """One YAML stream for K3s's manifests folder. ``address`` is the node's own, empty while it is not known;
    ``authority`` is the text of ``tls.authority``, ``cryptnono`` its chart and that one's version, where it shall run.
    """
    return yaml_stream(
        [
            _namespace(),
            _priority(),
            _registry_service(),
            _registry_endpoint(address),
            _build_policy(spec, address),
            *(_metrics() if spec.measured else ()),
            *_traefik(spec, authority),
            *([cryptnono_chart(*cryptnono, PRIORITY, OWN)] if cryptnono else []),
        ]
    )


def outward(spec: Spec, address: str) -> list[Manifest]:
    """The egress rule that user and build pods share: the federation's ports, towards the public internet only.

    Neither private or reserved ranges (the metadata service is in one), nor pods and Services, nor the node itself.
    """
    networks = [IPv4Network(network) for network in RESERVED]
    networks += [spec.kubernetes.pod_network, spec.kubernetes.service_network, spec.buildkit.network]
    networks += [IPv4Network(address)] if address else []
    closed = [str(network) for network in collapse_addresses(networks)]
    return [
        {
            "to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": closed}}],
            "ports": [{"protocol": "TCP", "port": port} for port in OUTWARD],
        }
    ]


def _namespace() -> Manifest:
    # Build pods mount the engine's folder from the node, which every other level of pod security forbids.
    labels = {**OWN, "pod-security.kubernetes.io/enforce": "privileged"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}


def _priority() -> Manifest:
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": PRIORITY, "labels": OWN},
        "value": PRIORITY_VALUE,
        "globalDefault": False,
        "description": "BinderHub, JupyterHub and its proxy: before users' pods.",
    }


def _registry_service() -> Manifest:
    """The registry's reading half as pods see it: a Service without a selector, for what runs on the host."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": REGISTRY_SERVICE, "namespace": NAMESPACE, "labels": OWN},
        "spec": {"ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": PULL_PORT}]},
    }


def _registry_endpoint(address: str) -> Manifest:
    # No kubernetes.io/service-name controller manages this slice: managed-by says that it is ours to keep.
    labels = {
        **OWN,
        "kubernetes.io/service-name": REGISTRY_SERVICE,
        "endpointslice.kubernetes.io/managed-by": "binder-node",
    }
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{REGISTRY_SERVICE}-node", "namespace": NAMESPACE, "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": "http", "protocol": "TCP", "port": PULL_PORT}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}] if address else [],
    }


def _build_policy(spec: Spec, address: str) -> Manifest:
    """Build pods clone repositories; the steps of a build run in BuildKit's network, which is the firewall's.

    The chart's own `networkPolicy` renders nothing, and user pods have JupyterHub's.
    """
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "builds", "namespace": NAMESPACE, "labels": OWN},
        "spec": {
            "podSelector": {"matchLabels": BUILD_PODS},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [],
            "egress": [_names(), *outward(spec, address)],
        },
    }


def _metrics() -> Iterator[Manifest]:
    """Whoever asks the kubelet for its numbers: it reads these, and nothing else in the cluster."""
    name, role = {"name": METRICS_ACCOUNT, "namespace": NAMESPACE}, {"name": METRICS_ROLE, "labels": OWN}
    yield {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {**name, "labels": OWN},
        "automountServiceAccountToken": False,
    }
    yield {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": role,
        "rules": [{"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]}],
    }
    yield {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": role,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": METRICS_ROLE},
        "subjects": [{"kind": "ServiceAccount", **name}],
    }


def _traefik(spec: Spec, authority: str) -> Iterator[Manifest]:
    """What K3s's helm-controller lays over the values of the chart that it brings."""
    from ruamel.yaml.scalarstring import LiteralScalarString

    about = {"namespace": "kube-system", "labels": OWN}
    if authority:
        metadata, data = {"name": AUTHORITY, **about}, {"ca.pem": LiteralScalarString(authority)}
        yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    yield {
        "apiVersion": "helm.cattle.io/v1",
        "kind": "HelmChartConfig",
        "metadata": {"name": "traefik", **about},
        "spec": {"valuesContent": LiteralScalarString(yaml_stream([traefik(spec, authority)]))},
    }


def _names() -> Manifest:
    inside = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    }
    return {"to": [inside], "ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]}
