"""A backup put back on a machine before anything on it starts: where its parts go, and whether they may. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from binder_node.host.backup import HUB_DATABASE, K3S_DATABASE, NODE_PASSWORD
from binder_node.host.observe import Seen
from binder_node.layout import ACME_STATE, HUB_STATE, NAMESPACE, RANCHER_STATE, RESTORED
from binder_node.spec.model import Spec

# In memory: nothing of it stays on a disk but what is put in its place.
ARCHIVE = "/run/binder-node/restore.tar.gz"
# The newest form of an archive that this version knows (on_node/backup.py writes it).
FORMAT = 1
# To the node, over a slow line; and the deletion of every pod.
SECONDS = 600


@dataclass(frozen=True, slots=True)
class Restore:
    """A backup in clear: a gzipped tar on this computer that only its user reads.

    ``name`` tells it from others, ``taken`` is when (ISO 8601), ``files`` is what it holds, bytes by name.
    """

    name: str
    taken: str
    archive: Path
    files: Mapping[str, int]

    def describe(self) -> str:
        size = sum(self.files.values()) / 1e6
        return f"{self.name}, taken {self.taken[:16].replace('T', ' ')} UTC ({size:.1f} MB)"


def places(spec: Spec) -> dict[str, str]:
    """Where each part of an archive goes, by the beginning of its names. What is not here is not put anywhere."""
    state = spec.machine.state
    release = {} if spec.central else {"hub/": f"{state}/{HUB_STATE}/", "acme/": f"{state}/{ACME_STATE}/"}
    # Below the state folder: K3s's own folder is a bind mount that may not be there yet.
    return {
        **release,
        "k3s/": f"{state}/{RANCHER_STATE}/k3s/server/",
        "node/": f"{Path(NODE_PASSWORD).parent}/",
    }


def databases(spec: Spec) -> list[str]:
    """Without one of these a machine is bare."""
    there = places(spec)
    hub = [] if spec.central else [f"{there['hub/']}{HUB_DATABASE}"]
    return [*hub, f"{there['k3s/']}db/{K3S_DATABASE}"]


def hindrance(spec: Spec, seen: Seen, restore: Restore | None) -> str:
    """Why the machine is left alone; empty where it is not. A machine is made from one backup, once."""
    state = seen.restored.get("state", "")
    if restore is None:
        return f"backup {seen.restored.get('name')} was put back half-way" if state == "placing" else ""
    there = [path for path in databases(spec) if seen.paths.get(path) is not None]
    return f"it is no bare machine, it has {' and '.join(there)}" if there and not state else ""


def wanted(restore: Restore | None, seen: Seen) -> bool:
    """Whether there is something to put back, or to bring to its end."""
    return restore is not None and seen.restored.get("state") != "done"


def unsettled(seen: Seen) -> bool:
    """Whether all was put back, and the cluster may still have pods of the machine before: any ``up`` ends that."""
    return seen.restored.get("state") == "placed"


def question(spec: Spec, restore: Restore) -> dict[str, Any]:
    """What on_node/restore.py is told."""
    return {
        "archive": ARCHIVE,
        "name": restore.name,
        "taken": restore.taken,
        "places": places(spec),
        "databases": databases(spec),
        "marker": str(RESTORED),
    }


# Pods of the machine that is gone: the kubelet would start people's servers again, empty. Those of Deployments come
# back by themselves, from a new generation on (paused and not), so that the next look does not take them for the old.
SETTLE = (
    "set -e; k3s kubectl delete pods --all-namespaces --all --force --grace-period=0 --timeout=180s > /dev/null; "
    f"for each in $(k3s kubectl get deployments -n {NAMESPACE} -o name); do for paused in true false; do "
    f"""k3s kubectl patch -n {NAMESPACE} "$each" -p '{{"spec": {{"paused": '$paused'}}}}' > /dev/null; done; done; """
    f"""sed -i 's/"state": "placed"/"state": "done"/' {RESTORED}; rm -f {ARCHIVE}"""
)
