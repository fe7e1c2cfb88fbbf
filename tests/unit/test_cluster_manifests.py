"""What K3s keeps in the cluster: exact objects, and who may connect where."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from ruamel.yaml import YAML

from binder_node.cluster.manifests import manifests, outward
from tests.unit.host_samples import ADDRESS, other_spec, sample_spec


def objects(address: str = ADDRESS) -> dict[str, Any]:
    found = YAML(typ="safe").load_all(manifests(sample_spec(), address))
    return {f"{item['kind']} {item['metadata']['name']}": item for item in found}


# Before users' pods, when cores are short.
FIRST = {"resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}


def test_the_objects() -> None:
    assert list(objects()) == [
        "Namespace binder",
        "PriorityClass binder-core",
        "Service registry",
        "EndpointSlice registry-node",
        "NetworkPolicy builds",
        "ServiceAccount metrics",
        "ClusterRole binder-node-metrics",
        "ClusterRoleBinding binder-node-metrics",
        "HelmChartConfig traefik",
    ]


def test_who_asks_for_numbers_reads_the_kubelets_and_nothing_else() -> None:
    found = objects()
    assert found["ClusterRole binder-node-metrics"]["rules"] == [
        {"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]}
    ]
    assert found["ClusterRoleBinding binder-node-metrics"]["subjects"] == [
        {"kind": "ServiceAccount", "name": "metrics", "namespace": "binder"}
    ]


def test_the_registry_is_a_service_for_the_nodes_reading_half() -> None:
    found = objects()
    assert found["Service registry"]["spec"] == {
        "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 5001}]
    }
    piece = found["EndpointSlice registry-node"]
    assert piece["metadata"]["labels"]["kubernetes.io/service-name"] == "registry"
    assert piece["ports"] == [{"name": "http", "protocol": "TCP", "port": 5001}]
    assert piece["endpoints"] == [{"addresses": [ADDRESS], "conditions": {"ready": True}}]


def chart_values(**tls: Any) -> dict[str, Any]:
    found = YAML(typ="safe").load_all(manifests(sample_spec(tls=tls), ADDRESS))
    (config,) = [item for item in found if item["kind"] == "HelmChartConfig"]
    assert config["metadata"]["name"] == "traefik"
    assert config["metadata"]["namespace"] == "kube-system"
    values: dict[str, Any] = YAML(typ="safe").load(config["spec"]["valuesContent"])
    return values


REDIRECT = [
    "--entrypoints.web.http.redirections.entrypoint.to=:443",
    "--entrypoints.web.http.redirections.entrypoint.scheme=https",
    "--entrypoints.web.http.redirections.entrypoint.permanent=true",
]


def test_with_a_certificate_of_ones_own_traefik_sends_everybody_to_https() -> None:
    assert chart_values(mode="files", certificate="/c.pem", key="/k.pem") == {
        "additionalArguments": REDIRECT,
        **FIRST,
    }


def test_by_acme_traefik_keeps_its_store_in_the_state_folder_and_is_alone_with_it() -> None:
    assert chart_values(mode="acme", email="ops@example.org") == {
        "additionalArguments": [
            *REDIRECT,
            "--certificatesresolvers.acme.acme.email=ops@example.org",
            "--certificatesresolvers.acme.acme.caserver=https://acme-v02.api.letsencrypt.org/directory",
            "--certificatesresolvers.acme.acme.storage=/acme/acme.json",
            "--certificatesresolvers.acme.acme.keytype=EC256",
            "--certificatesresolvers.acme.acme.httpchallenge.entrypoint=web",
        ],
        "additionalVolumeMounts": [{"name": "acme", "mountPath": "/acme"}],
        "deployment": {
            "additionalVolumes": [
                {"name": "acme", "hostPath": {"path": "/var/lib/binder-node/acme", "type": "Directory"}}
            ]
        },
        **FIRST,
        "updateStrategy": {"type": "Recreate"},
    }


def test_another_authority_is_trusted_and_a_changed_one_starts_traefik_anew() -> None:
    spec = sample_spec(tls={"mode": "acme", "email": "o@e.org", "directory": "https://ca.test/dir", "challenge": "tls"})
    texts = [manifests(spec, ADDRESS, text) for text in ("one\n", "two\n")]
    for text, pem in zip(texts, ("one\n", "two\n"), strict=True):
        found = {item["kind"]: item for item in YAML(typ="safe").load_all(text)}
        assert found["ConfigMap"]["data"] == {"ca.pem": pem}
        values = YAML(typ="safe").load(found["HelmChartConfig"]["spec"]["valuesContent"])
        mount = values["additionalVolumeMounts"][1]["mountPath"]
        arguments = values["additionalArguments"]
        assert f"--certificatesresolvers.acme.acme.cacertificates={mount}/ca.pem" in arguments
        assert "--certificatesresolvers.acme.acme.caserver=https://ca.test/dir" in arguments
        assert "--certificatesresolvers.acme.acme.tlschallenge=true" in arguments
    mounts = {line for text in texts for line in text.splitlines() if "mountPath: /authority" in line}
    assert len(mounts) == 2


def test_a_plan_without_a_machine_has_no_endpoint_yet() -> None:
    assert objects("")["EndpointSlice registry-node"]["endpoints"] == []


def test_nothing_connects_to_build_pods_and_they_only_outward() -> None:
    policy = objects()["NetworkPolicy builds"]["spec"]
    assert policy["podSelector"] == {"matchLabels": {"component": "binderhub-build"}}
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"] == []
    names, away = policy["egress"]
    assert names == {
        "to": [
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
                "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
            }
        ],
        "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
    }
    assert [away] == outward(sample_spec(), ADDRESS)
    ports = [80, 443, 873, 1094, 1095, 4001, 9418, 16286]
    assert away["ports"] == [{"protocol": "TCP", "port": port} for port in ports]


def allowed(target: str) -> bool:
    (rule,) = outward(sample_spec(), ADDRESS)
    block = rule["to"][0]["ipBlock"]
    address = IPv4Address(target)
    return address in IPv4Network(block["cidr"]) and not any(address in IPv4Network(no) for no in block["except"])


@pytest.mark.parametrize("target", ["140.82.121.3", "1.1.1.1", "198.18.7.1", "198.19.255.255", "172.32.0.1"])
def test_the_outside_is_reached(target: str) -> None:
    assert allowed(target)


@pytest.mark.parametrize(
    "target",
    [
        ADDRESS,  # the node itself
        "169.254.169.254",  # the metadata service
        "10.42.0.7",  # a pod
        "10.43.0.1",  # the API server's Service
        "10.10.0.2",  # a build step
        "10.0.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.100.100.200",
        "127.0.0.1",
        "224.0.0.1",
        "255.255.255.255",
    ],
)
def test_the_inside_is_not(target: str) -> None:
    assert not allowed(target)


def test_the_nodes_own_networks_are_closed_wherever_they_are() -> None:
    spec = sample_spec(kubernetes={"pod_network": "203.1.0.0/16", "service_network": "203.2.0.0/16"})
    (rule,) = outward(spec, ADDRESS)
    assert {"203.1.0.0/16", "203.2.0.0/16"} <= set(rule["to"][0]["ipBlock"]["except"])


def test_each_exception_lies_within_the_block() -> None:
    """Kubernetes refuses a policy otherwise."""
    for spec in (sample_spec(), other_spec()):
        (rule,) = outward(spec, ADDRESS)
        closed = [IPv4Network(one) for one in rule["to"][0]["ipBlock"]["except"]]
        assert all(not one.overlaps(other) for one in closed for other in closed if one is not other)
