"""What Kubernetes' network policies let a pod connect to. Pure: the policies and pods are the API's JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

Labels = Mapping[str, str]
Policy = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Peer:
    """Where to: an address, and the labels of the pod that has it and of its namespace, where a pod has it."""

    address: str
    port: int
    labels: Labels = field(default_factory=dict)
    namespace: Labels = field(default_factory=dict)

    @property
    def is_pod(self) -> bool:
        return bool(self.namespace)


def selects(selector: Mapping[str, Any] | None, labels: Labels) -> bool:
    """Whether a label selector takes ``labels``; an empty one takes everything.

    >>> selects({"matchLabels": {"a": "1"}}, {"a": "1", "b": "2"}), selects({}, {}), selects(None, {})
    (True, True, False)
    """
    if selector is None:
        return False
    return all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items()) and all(
        _expression(one, labels) for one in selector.get("matchExpressions") or ()
    )


def _expression(one: Mapping[str, Any], labels: Labels) -> bool:
    key, values = one["key"], one.get("values") or ()
    match one["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:  # DoesNotExist, the last there is
            return key not in labels


def walled(policies: Iterable[Policy], labels: Labels) -> list[Policy]:
    """The policies that say where a pod with ``labels`` may connect to; none: wherever it likes."""
    return [
        policy
        for policy in policies
        if selects(policy["spec"].get("podSelector") or {}, labels)
        and "Egress" in (policy["spec"].get("policyTypes") or (["Egress"] if policy["spec"].get("egress") else []))
    ]


def allows(policies: Iterable[Policy], labels: Labels, own: Labels, peer: Peer) -> bool:
    """Whether a pod with ``labels``, in the namespace labelled ``own``, may connect to ``peer`` by TCP.

    A port that is given by a name counts as the peer's: rather a refusal too few than a wall that is not there.
    """
    over = walled(policies, labels)
    if not over:
        return True
    rules = [rule for policy in over for rule in policy["spec"].get("egress") or ()]
    return any(_port(rule, peer) and _to(rule, own, peer) for rule in rules)


def _port(rule: Mapping[str, Any], peer: Peer) -> bool:
    ports = rule.get("ports") or ()
    return not ports or any(_one_port(port, peer.port) for port in ports)


def _one_port(port: Mapping[str, Any], wanted: int) -> bool:
    number = port.get("port")
    if port.get("protocol", "TCP") != "TCP":
        return False
    if number is None or isinstance(number, str):
        return True
    return int(number) <= wanted <= int(port.get("endPort", number))


def _to(rule: Mapping[str, Any], own: Labels, peer: Peer) -> bool:
    peers = rule.get("to") or ()
    return not peers or any(_one_peer(one, own, peer) for one in peers)


def _one_peer(one: Mapping[str, Any], own: Labels, peer: Peer) -> bool:
    if block := one.get("ipBlock"):
        # An address is in no network of the other family.
        address = ip_address(peer.address)
        return address in ip_network(block["cidr"]) and not any(
            address in ip_network(network) for network in block.get("except") or ()
        )
    if not peer.is_pod:
        return False
    pods, spaces = one.get("podSelector"), one.get("namespaceSelector")
    same = peer.namespace == own if spaces is None else selects(spaces, peer.namespace)
    return same and (pods is None or selects(pods, peer.labels))
