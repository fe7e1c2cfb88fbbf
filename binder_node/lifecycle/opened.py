"""From what the operator typed to a :class:`~binder_node.node.Node`: Spec, secrets, artifacts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast, get_args

from binder_node.artifacts.cache import Cache
from binder_node.artifacts.model import Artifact
from binder_node.artifacts.pins import Pins, SourceName, load_pins
from binder_node.artifacts.store import Sources, Store
from binder_node.errors import InputError, Problem, StepError
from binder_node.events import Event, Reporter, silent, step
from binder_node.host.metrics.config import secret_texts
from binder_node.lifecycle.generations import successor_of
from binder_node.node import Access, Node
from binder_node.secrets.model import Secrets
from binder_node.secrets.store import SecretStore
from binder_node.spec.load import find, load
from binder_node.spec.model import NodeStorage, Spec
from binder_node.upgrades.components import held_in, record_of
from binder_node.words import words


@dataclass(frozen=True, slots=True)
class Opened:
    """What a verb works with before it asks for artifacts."""

    inventory: Path
    spec: Spec
    pins: Pins
    runtime: Path
    erase_disk: str = ""


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
    own, held = (path if path.exists() else None for path in (pins_of(inventory), held_of(inventory)))
    return Opened(inventory, spec, load_pins(overlay, own, held), runtime_root() / spec.name)


def load_unheld(opened: Opened) -> Pins:
    """The pins as they are without what the node keeps for now. Raises InputError."""
    own = pins_of(opened.inventory)
    return load_pins(opened.pins.overlay, own if own.exists() else None)


def pins_of(inventory: Path) -> Path:
    """Where pins of one node's own lie, if it has any: ``NODE.pins.toml`` beside its inventory."""
    return inventory.with_suffix(".pins.toml")


def held_of(inventory: Path) -> Path:
    """Where versions lie that a node keeps for now, over all other pins: ``NODE.held.toml``, written by `upgrade`."""
    return inventory.with_suffix(".held.toml")


def may_erase(opened: Opened, disk: str) -> Opened:
    """The same, with leave to erase the data disk ``disk``; empty: no leave.

    Raises:
        InputError: it is not the disk that the inventory names.
    """
    named = opened.spec.machine.data_disk
    if disk and (disk != named or disk == "auto"):
        wrong = f"{disk} is not machine.data_disk, which is {named or 'not set'}"
        right = "name the disk by its id, in the inventory and here" if named == "auto" else "correct one of the two"
        raise InputError(Problem("", 0, "--erase-disk", wrong, right))
    return replace(opened, erase_disk=disk)


def wanted_artifacts(spec: Spec, pins: Pins) -> list[str]:
    """Names of the pins that this node and its operator need."""
    age = ["age"] if spec.backup.hours else []
    if spec.central:
        return ["k3s", *age, *pins.preload]
    own_minio = isinstance(spec.storage, NodeStorage)
    base = ["k3s", "buildkitd", "buildctl", "cni-bridge", "cni-host-local", "cni-loopback", "registry"]
    charts = ["binderhub-chart", *(["cryptnono-chart"] if spec.abuse.cryptnono else [])]
    measured = ["prometheus", "alertmanager", "node-exporter"] if spec.measured else []
    return [*base, *age, *(["minio"] if own_minio else []), *measured, *pins.preload, "helm", *charts]


def open_node(opened: Opened, report: Reporter, *, sources: Sources, write: bool = True) -> Node:
    """The node with its secrets (made when missing, unless not ``write``) and its artifacts (fetched when missing).

    Raises:
        InputError: a way to tell alerts has no secret.
        StepError: an artifact could not be had, or the secrets not be read.
    """
    store = SecretStore(opened.inventory, opened.spec)
    secrets = store.ensure()[0] if write else store.preview()
    if opened.spec.measured:
        secret_texts(opened.spec, secrets)  # missing ones are told before anything is made
    artifacts = ensure_artifacts(opened, report, sources)
    opened.runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
    for component, why in held_in(opened.pins.entries).items():
        report(Event("warn", "artifacts", f"{component} is held: {why}", {"component": component}))
    return replace(
        _node(opened, secrets),
        artifacts=artifacts,
        erase_disk=opened.erase_disk,
        made_of=record_of(opened.pins, artifacts),
        sealing=store.sealing(),
    )


def _node(opened: Opened, secrets: Secrets) -> Node:
    """Without artifacts."""
    successor = successor_of(opened.inventory)
    return Node(opened.spec, secrets, {}, opened.pins.images, opened.runtime, successor=successor)


def ensure_artifacts(
    opened: Opened, report: Reporter, sources: Sources, only: Sequence[str] = ()
) -> dict[str, Artifact]:
    """Every artifact of the node (or ``only`` these), from the cache or fetched into it."""
    names = list(only) or wanted_artifacts(opened.spec, opened.pins)
    store = Store(Cache(), opened.pins, sources, opened.spec.machine.arch)
    with step(report, "artifacts", f"{len(names)} artifacts, digests verified"):
        return store.ensure(names, report)


def open_bare(opened: Opened) -> Node:
    """The node without artifacts: enough to reach its machine, or to take it away.

    Raises:
        StepError: there are no secrets, so the node was never made from here.
    """
    opened.runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
    return _node(opened, SecretStore(opened.inventory, opened.spec).load())


def open_unseen(opened: Opened) -> Node:
    """The node for what logs in nowhere (prices, leftovers, taking away): with secrets that are nobody's where the
    node's own are not there or cannot be completed.
    """
    from binder_node.secrets.generate import generate

    store = SecretStore(opened.inventory, opened.spec)
    return _node(opened, store.load() if store.path.exists() else generate())


def access_of(opened: Opened) -> tuple[Access, str]:
    """How to reach the node's machine now, and its public address.

    Raises:
        StepError: there is no machine, or it does not answer.
    """
    from binder_node.providers import provider_for

    provider = provider_for(open_bare(opened))
    seen = provider.inspect(silent)
    access = provider.access(seen)
    if access is None:
        name = opened.spec.name
        raise StepError(name, "reach the machine", "there is none that answers", f"run `binder-node up {name}`")
    return access, provider.address(seen)


def sources(order: str, bundle: Path | None) -> Sources:
    """What ``--source release,module`` and ``--bundle DIR`` mean.

    Raises:
        InputError: a source has no such name, or the bundle no folder.
    """
    names = words(order)
    unknown = [name for name in names if name not in get_args(SourceName)]
    if unknown:
        right = f"take some of {', '.join(get_args(SourceName))}"
        raise InputError(Problem("", 0, "--source", f"{', '.join(unknown)}: no such source", right))
    return Sources(cast("tuple[SourceName, ...]", names), bundle)
