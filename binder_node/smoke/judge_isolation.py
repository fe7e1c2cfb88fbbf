"""The walls as they are loaded: the firewall's table, and the network policies. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from binder_node.host.firewall import TABLE
from binder_node.layout import NAMESPACE
from binder_node.smoke.checks import Trouble
from binder_node.smoke.policies import Peer, allows
from binder_node.smoke.reach import Target
from binder_node.spec.model import Spec

# The labels of the pods in which users' code runs (kubespawner's and BinderHub's own).
USER_PODS = {"app": "jupyterhub", "component": "singleuser-server", "release": "binder"}
BUILD_PODS = {"component": "binderhub-build"}
SPACE = "kubernetes.io/metadata.name"
# A public address of nobody's (no range of layout.RESERVED holds it): where users' code has to get to.
PUBLIC = Peer("8.8.8.8", 443)
# In nftables' JSON: what differs between two loads of the same rules.
_CHANGING = ("handle", "position", "packets", "bytes")


def rules(text: str, growing: Collection[str] = ()) -> list[Any]:
    """The table in ``nft -j -s list table``'s JSON, without handles, and without what is in the ``growing`` sets."""
    found = [item for item in json.loads(text or "{}").get("nftables", []) if "metainfo" not in item]
    return [_plain(item, growing) for item in found]


def empty_sets(text: str) -> set[str]:
    """Names of the table's sets that its rules fill as packets come: freshly loaded they hold nothing."""
    sets = [item["set"] for item in json.loads(text).get("nftables", []) if "set" in item]
    return {str(one["name"]) for one in sets if not one.get("elem")}


def _plain(item: Any, growing: Collection[str]) -> Any:
    if isinstance(item, dict):
        left_out = {*_CHANGING, *(["elem"] if item.get("name") in growing else [])}
        return {key: _plain(value, growing) for key, value in item.items() if key not in left_out}
    return [_plain(one, growing) for one in item] if isinstance(item, list) else item


def table(loaded: str, wanted: str, spec: Spec) -> Trouble | None:
    """The firewall's table in force is the one that the inventory makes; both are nft's JSON."""
    growing = empty_sets(wanted)
    now, right = rules(loaded, growing), rules(wanted)
    if now == right:
        return None
    remedy = f"`binder-node up {spec.name}`, then on the node `systemctl restart binder-node-firewall`"
    if not now:
        return Trouble(f"table inet {TABLE} is not loaded: builds reach everything that the node has", remedy)
    missing, more = [item for item in right if item not in now], [item for item in now if item not in right]
    parts = [f"{_named(missing)} missing"] * bool(missing) + [f"{_named(more)} more than wanted"] * bool(more)
    said = " and ".join(parts) or "its rules stand in another order"
    return Trouble(f"table inet {TABLE} is not what the inventory makes: {said}", remedy)


def _named(items: Sequence[Mapping[str, Any]]) -> str:
    chains = sorted({str(rule.get("chain") or rule.get("name")) for item in items for rule in item.values()})
    return f"{len(items)} of {', '.join(chains)}"


def policies(
    found: Sequence[Mapping[str, Any]],
    targets: Iterable[Target],
    pods: Sequence[Mapping[str, Any]],
    spared: Iterable[str],
) -> Iterator[Trouble]:
    """No policy lets users' code, in its pod or in a build's, to anything but the world and what it is meant to use.

    ``targets`` are addresses of the node; ``pods`` those of the release, of which those whose component is ``spared``
    may be asked by users' servers.
    """
    remedy = "K3s's manifests and the release make the policies: run `binder-node up`; see docs/explanation/firewall.md"
    own = {SPACE: NAMESPACE}
    for who, labels in (("a user's server", USER_PODS), ("a build pod", BUILD_PODS)):
        peers = {target.what: Peer(target.address, target.port) for target in targets}
        peers |= {
            f"pod {name}": peer
            for name, component, peer in _pods(pods)
            if not (labels == USER_PODS and component in spared)
        }
        if open_ := [what for what, peer in peers.items() if allows(found, labels, own, peer)]:
            yield Trouble(f"no policy keeps {who} from {', '.join(open_)}", remedy)
        if not allows(found, labels, own, PUBLIC):
            yield Trouble(f"the policies keep {who} from the world", remedy)


def _pods(pods: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, Peer]]:
    for pod in pods:
        meta, address = pod["metadata"], (pod.get("status") or {}).get("podIP")
        ports = [port["containerPort"] for one in pod["spec"]["containers"] for port in one.get("ports") or ()]
        labels = meta.get("labels") or {}
        if address and ports:
            space = {SPACE: meta.get("namespace", NAMESPACE)}
            yield meta["name"], labels.get("component", ""), Peer(address, ports[0], labels, space)
