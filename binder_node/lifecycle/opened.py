"""From what the operator typed to a :class:`~binder_node.node.Node`: Spec, secrets, artifacts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from binder_node.artifacts.model import Artifact
from binder_node.artifacts.pins import Pins, load_pins
from binder_node.artifacts.store import Cache, Store
from binder_node.events import Reporter, step
from binder_node.node import Node
from binder_node.secrets.store import SecretStore
from binder_node.spec.load import find, load
from binder_node.spec.model import NodeStorage, Spec


@dataclass(frozen=True, slots=True)
class Opened:
    """What a verb works with before it asks for artifacts."""

    inventory: Path
    spec: Spec
    pins: Pins
    runtime: Path


def runtime_root() -> Path:
    """Where nodes keep what only this machine needs: sockets, known_hosts, locks (``BINDER_NODE_STATE``)."""
    import platformdirs

    override = os.environ.get("BINDER_NODE_STATE")
    return Path(override) if override else platformdirs.user_state_path("binder-node")


def open_spec(name_or_path: str, overlay: Path | None) -> Opened:
    """Read and check everything that is the operator's.

    Raises:
        InputError: with every mistake in the inventory or the pins; nothing was touched.
    """
    inventory = find(name_or_path)
    spec = load(inventory)
    return Opened(inventory, spec, load_pins(overlay), runtime_root() / spec.name)


def wanted_artifacts(spec: Spec, pins: Pins) -> list[str]:
    """Names of the pins that this node and its operator need."""
    own_minio = isinstance(spec.storage, NodeStorage)
    base = ["k3s", "buildkitd", "buildctl", "cni-bridge", "cni-host-local", "cni-loopback", "registry"]
    return [*base, *(["minio"] if own_minio else []), *pins.preload, "helm", "binderhub-chart"]


def open_node(opened: Opened, report: Reporter, *, sources: str | None = None, write: bool = True) -> Node:
    """The node with its secrets (made when missing, unless not ``write``) and its artifacts (fetched when missing).

    Raises:
        StepError: an artifact could not be had, or the secrets not be read.
    """
    store = SecretStore(opened.inventory)
    secrets = store.ensure()[0] if write else store.preview()
    artifacts = ensure_artifacts(opened, report, sources)
    opened.runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Node(opened.spec, secrets, artifacts, opened.pins.images, opened.runtime)


def ensure_artifacts(opened: Opened, report: Reporter, sources: str | None) -> dict[str, Artifact]:
    """Every artifact of the node, from the cache or fetched into it."""
    names = wanted_artifacts(opened.spec, opened.pins)
    store = Store(Cache(), opened.pins, sources, opened.spec.machine.arch)
    with step(report, "artifacts", f"{len(names)} artifacts, digests verified"):
        return store.ensure(names, report)
