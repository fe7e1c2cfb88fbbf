"""Walls as they stand: which policies let what through, and whether the firewall's table is the inventory's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from binder_node.cluster.manifests import manifests
from binder_node.smoke import judge_isolation as judge
from binder_node.smoke.policies import Peer, allows, selects
from binder_node.smoke.reach import node_targets
from tests.unit.host_samples import ADDRESS, sample_spec

SPEC = sample_spec()
OWN = {judge.SPACE: "binder"}
TARGETS = node_targets(SPEC, ADDRESS)


def documents(text: str) -> list[dict[str, Any]]:
    from ruamel.yaml import YAML

    return list(YAML(typ="safe").load_all(text))


def ours() -> list[dict[str, Any]]:
    """The policies of a healthy node: our own for builds, and what our values have JupyterHub make for users."""
    from binder_node.cluster.manifests import outward

    builds = [item for item in documents(manifests(SPEC, ADDRESS)) if item["kind"] == "NetworkPolicy"]
    names = {"to": [{"namespaceSelector": {}}], "ports": [{"port": 53, "protocol": "UDP"}]}
    hub = {"to": [{"podSelector": {"matchLabels": {"component": "hub"}}}], "ports": [{"port": 8081}]}
    user = {
        "spec": {
            "podSelector": {"matchLabels": {"component": "singleuser-server"}},
            "policyTypes": ["Egress", "Ingress"],
            "egress": [hub, names, *outward(SPEC, ADDRESS)],
        }
    }
    return [*builds, user]


def pod(name: str, component: str, port: int) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "binder", "labels": {"component": component}},
        "spec": {"containers": [{"ports": [{"containerPort": port}]}]},
        "status": {"podIP": "10.42.0.9"},
    }


PODS = [pod("hub-1", "hub", 8081), pod("binder-1", "binder", 8585)]


def test_a_healthy_nodes_policies_keep_everybody_in() -> None:
    assert list(judge.policies(ours(), TARGETS, PODS, ("hub",))) == []


@pytest.mark.parametrize("gone", [0, 1])
def test_a_policy_that_is_gone_is_told_with_what_it_kept_from(gone: int) -> None:
    left = ours()
    who = "a build pod" if gone == 0 else "a user's server"
    del left[gone]
    (trouble,) = judge.policies(left, TARGETS, PODS, ("hub",))
    assert trouble.reason.startswith(f"no policy keeps {who} from registry, push rights at the node")
    assert "pod binder-1" in trouble.reason


def test_a_policy_more_that_opens_a_private_range_is_told() -> None:
    more = {
        "spec": {
            "podSelector": {},
            "policyTypes": ["Egress"],
            "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}],
        }
    }
    reasons = [trouble.reason for trouble in judge.policies([*ours(), more], TARGETS, PODS, ("hub",))]
    assert len(reasons) == 2
    assert all("kubelet at the pod gateway" in reason for reason in reasons)
    assert all("metadata" not in reason for reason in reasons)


def test_a_wall_around_everything_is_told_too() -> None:
    shut = {"spec": {"podSelector": {}, "policyTypes": ["Egress"]}}
    reasons = [trouble.reason for trouble in judge.policies([shut], TARGETS, PODS, ("hub",))]
    assert reasons == [
        "the policies keep a user's server from the world",
        "the policies keep a build pod from the world",
    ]


@pytest.mark.parametrize(
    ("rule", "address", "port", "good"),
    [
        ({}, "192.0.2.1", 1, True),
        ({"ports": [{"port": 80}]}, "192.0.2.1", 80, True),
        ({"ports": [{"port": 80}]}, "192.0.2.1", 81, False),
        ({"ports": [{"port": 80, "endPort": 90}]}, "192.0.2.1", 85, True),
        ({"ports": [{"port": 80, "protocol": "UDP"}]}, "192.0.2.1", 80, False),
        ({"ports": [{"port": "http"}]}, "192.0.2.1", 1234, True),
        ({"to": [{"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.0/28"]}}]}, "192.0.2.1", 1, False),
        ({"to": [{"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.0/28"]}}]}, "192.0.2.17", 1, True),
        ({"to": [{"ipBlock": {"cidr": "::/0"}}]}, "192.0.2.1", 1, False),
        ({"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["fe80::/10"]}}]}, "192.0.2.1", 1, True),
        ({"to": [{"podSelector": {}}]}, "192.0.2.1", 1, False),
    ],
)
def test_one_rule_of_a_policy(rule: dict[str, Any], address: str, port: int, good: bool) -> None:
    policy = {"spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [rule]}}
    assert allows([policy], {"a": "1"}, OWN, Peer(address, port)) == good


@pytest.mark.parametrize(
    ("peer", "good"),
    [
        ({"podSelector": {"matchLabels": {"x": "1"}}}, True),
        ({"podSelector": {"matchLabels": {"x": "2"}}}, False),
        ({"podSelector": {}, "namespaceSelector": {"matchLabels": {judge.SPACE: "other"}}}, False),
        ({"namespaceSelector": {}}, True),
    ],
)
def test_a_pod_is_known_by_its_labels(peer: dict[str, Any], good: bool) -> None:
    policy = {"spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [peer]}]}}
    assert allows([policy], {}, OWN, Peer("10.42.0.9", 1, {"x": "1"}, OWN)) == good


@pytest.mark.parametrize(
    ("operator", "values", "good"),
    [
        ("In", ["1"], True),
        ("In", ["2"], False),
        ("NotIn", ["2"], True),
        ("Exists", [], True),
        ("DoesNotExist", [], False),
    ],
)
def test_expressions(operator: str, values: list[str], good: bool) -> None:
    assert selects({"matchExpressions": [{"key": "a", "operator": operator, "values": values}]}, {"a": "1"}) == good


def test_a_policy_of_ingress_alone_walls_nobody_in() -> None:
    policy = {"spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}
    assert allows([policy], {}, OWN, Peer("10.0.0.1", 1))


def nft(*rules: tuple[str, int], handle: int = 1, elements: list[str] | None = None) -> str:
    # As nft 1.0.6 writes it: nothing says that rules add to this set.
    sets: dict[str, Any] = {"set": {"name": "fast", "handle": handle, "flags": ["timeout"], "timeout": 60}}
    if elements:
        sets["set"]["elem"] = elements
    items: list[dict[str, Any]] = [
        {"metainfo": {"version": "1"}},
        {"table": {"name": "binder_node", "handle": handle}},
        sets,
    ]
    items += [{"rule": {"chain": chain, "handle": handle + port, "expr": [{"port": port}]}} for chain, port in rules]
    return json.dumps({"nftables": items})


RULES = (("input", 22), ("input", 80), ("forward", 443))


def test_the_same_table_is_the_same_whenever_it_was_loaded() -> None:
    assert judge.table(nft(*RULES, handle=7, elements=["10.10.0.3"]), nft(*RULES), SPEC) is None


@pytest.mark.parametrize(
    ("loaded", "word"),
    [
        ("", "is not loaded"),
        (nft(*RULES[:2]), "1 of forward missing"),
        (nft(*RULES, ("input", 9000)), "1 of input more than wanted"),
        (nft(*reversed(RULES)), "another order"),
    ],
)
def test_another_table_is_told_with_its_chain(loaded: str, word: str) -> None:
    trouble = judge.table(loaded, nft(*RULES), SPEC)
    assert trouble is not None
    assert word in trouble.reason
