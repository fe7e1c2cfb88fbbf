"""The release as it is, in one round trip: the node's own kubectl over the shared ssh connection.

A second `up` finds everything done by this alone: no tunnel, no Helm, no Kubernetes client.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from binder_node import remote
from binder_node.cluster.helm import DIGEST
from binder_node.cluster.kube import sudo
from binder_node.cluster.served import Served
from binder_node.cluster.values import TLS_SECRET
from binder_node.cluster.waits import Workload, workload
from binder_node.errors import StepError
from binder_node.layout import NAMESPACE, RELEASE
from binder_node.node import Access

SECONDS = 30.0
# Metadata and status only: a Secret's content stays where it is. Missing fields come out empty.
FIELDS = '{range .items[*]}{.kind}{"\\t"}{.metadata}{"\\t"}{.spec.replicas}{"\\t"}{.status}{"\\n"}{end}'
PENDING = ("pending-install", "pending-upgrade", "pending-rollback", "uninstalling")


@dataclass(frozen=True, slots=True)
class Revision:
    """One of Helm's records. ``digest`` is of the chart and values that made it, empty where not we did."""

    number: int
    status: str
    digest: str

    @property
    def pending(self) -> bool:
        """Helm was at it: it is now, or it was killed."""
        return self.status in PENDING


@dataclass(frozen=True, slots=True)
class Seen:
    """Revisions in their order; Deployments by name; the certificate's digest; names whose
    ordered certificate nobody would trust; what a new release would change:
    its values' diff, and (``create``, ``update`` or ``delete``; the object; its diff)."""

    revisions: tuple[Revision, ...] = ()
    workloads: tuple[Workload, ...] = ()
    certificate: str = ""
    untrusted: tuple[Served, ...] = ()
    values: str = ""
    differences: tuple[tuple[str, str, str], ...] = ()

    @property
    def current(self) -> Revision | None:
        return self.revisions[-1] if self.revisions else None

    @property
    def deployed(self) -> Revision | None:
        """The newest that Helm brought to an end."""
        return next((item for item in reversed(self.revisions) if item.status in ("deployed", "superseded")), None)


def look(access: Access) -> Seen:
    """Ask the node.

    Raises:
        StepError: ssh failed, or K3s does not answer.
    """
    command = f"{sudo(access)}k3s kubectl get secrets,deployments.apps -n {NAMESPACE} -o jsonpath='{FIELDS}'"
    done = remote.run(access, command, timeout=SECONDS, check=False)
    if done.code != 0:
        raise StepError(
            access.name,
            "look at the cluster",
            done.stderr or f"exit code {done.code}",
            "see `binder-node logs` for k3s",
        )
    return seen(done.stdout)


def seen(text: str) -> Seen:
    """What :func:`look` printed: kind, metadata, replicas and status, one object a line. Pure."""
    revisions, workloads, certificate = [], [], ""
    for kind, metadata, replicas, status in _objects(text.splitlines()):
        labels = metadata.get("labels") or {}
        if kind == "Deployment" and labels.get("app.kubernetes.io/managed-by") == "Helm":
            spec = {"replicas": int(replicas or 1)}
            workloads.append(workload({"metadata": metadata, "spec": spec, "status": status}))
        elif kind == "Secret" and metadata.get("name") == TLS_SECRET:
            certificate = labels.get(DIGEST, "")
        elif kind == "Secret" and labels.get("owner") == "helm" and labels.get("name") == RELEASE:
            revisions.append(Revision(int(labels["version"]), labels["status"], labels.get(DIGEST, "")))
    revisions.sort(key=lambda revision: revision.number)
    return Seen(tuple(revisions), tuple(sorted(workloads, key=lambda item: item.name)), certificate)


def _objects(lines: Iterable[str]) -> Iterable[tuple[str, dict[str, Any], str, dict[str, Any]]]:
    for line in lines:
        kind, metadata, replicas, status = line.split("\t")
        yield kind, json.loads(metadata), replicas, json.loads(status or "{}")
