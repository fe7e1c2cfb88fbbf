"""Nodes at the stand-in for Hetzner's API, whose servers have no machine behind them: ssh is said to answer.

What runs on a server is tests/node's; here it is the project that is looked at, and what becomes of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from binder_node.changes import Change
from binder_node.events import Event, silent
from binder_node.node import Node
from binder_node.providers.hetzner.stage import HetznerMachine
from binder_node.providers.hetzner.transport import Patience
from binder_node.secrets.generate import generate
from binder_node.secrets.model import Secrets
from binder_node.spec.model import Spec
from tests.integration import stages
from tests.testbed.hetzner.contract import Contract, document_path
from tests.testbed.hetzner.server import HetznerApi
from tests.unit.host_samples import sample_spec

NAME = "bids-1"
TYPES = ["ccx23", "ccx33"]
# What a project holds: with a node of these tests, with none.
WHOLE = {
    "servers": [NAME], "addresses": [NAME], "volumes": [], "firewalls": [NAME], "groups": [], "keys": [NAME],
}  # fmt: skip
NONE: dict[str, list[str]] = {kind: [] for kind in WHOLE}
# Everything that a node can have.
FULL: dict[str, Any] = {"volume": "50G", "placement": "members"}
# Nothing here takes time but what a test makes slow.
QUICK = Patience(request=5, call=6, action=4, boot=1, poll=0.02)
SECRETS = generate()
# The provider of one node by keys of its `provider`; a new one at each call.
Machines = Callable[..., HetznerMachine]


def spec_at(endpoint: str, name: str = NAME, **provider: Any) -> Spec:
    """A node of 4 cores and 16 GB at ``endpoint``; ``provider`` are keys of its provider."""
    said = {"kind": "hetzner", "types": TYPES, "locations": ["nbg1", "fsn1"], "endpoint": endpoint, **provider}
    spec = sample_spec(machine={"cpus": 4, "memory": "16G", "disk": "100G"})
    data = {**spec.model_dump(mode="json"), "name": name, "provider": said}
    return Spec.model_validate_json(json.dumps(data), strict=True)


def machine_at(
    endpoint: str, runtime: Path, name: str = NAME, secrets: Secrets = SECRETS, **provider: Any
) -> HetznerMachine:
    """The provider for such a node, with the stand-in's write token in the environment."""
    runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
    return HetznerMachine(Node(spec_at(endpoint, name, **provider), secrets, {}, {}, runtime), patience=QUICK)


@contextmanager
def project() -> Iterator[HetznerApi]:
    """A project of its own; answers are judged by Hetzner's own document where that is at hand."""
    path = document_path()
    with HetznerApi(pace=0, contract=Contract.load(path) if path else None) as api:
        yield api
        assert api.app.violations == []


@contextmanager
def answering() -> Iterator[None]:
    """Every server lets us in, and a volume is mounted as soon as it is asked for."""
    done: set[str] = set()
    with (
        mock.patch("binder_node.remote.hindrance", return_value=""),
        mock.patch("binder_node.remote.wait_for_ssh"),
        mock.patch("binder_node.remote.disconnect"),
        mock.patch("binder_node.providers.volume.mounted", lambda _, device, __: device in done),
        mock.patch("binder_node.providers.volume.mount", lambda _, device, __: done.add(device)),
    ):
        yield


def up(machine: HetznerMachine, events: list[Event] | None = None) -> list[Change]:
    """What ``up`` does with the machine's stage; what it changed. A second look must find nothing left."""
    wanted = stages.up(machine, silent if events is None else events.append)
    again = type(machine)(machine.node, patience=machine.patience)
    assert again.changes(again.inspect(silent)) == []
    return wanted


def holds(cloud: HetznerApi, label: str = NAME) -> dict[str, list[str]]:
    """What a project holds with the node's label, by kind; other things as ``?name``."""
    project = cloud.project
    with project.lock:
        tables: dict[str, dict[int, Any]] = {
            "servers": project.servers,
            "addresses": project.primary_ips,
            "volumes": project.volumes,
            "firewalls": project.firewalls,
            "groups": project.placement_groups,
            "keys": project.ssh_keys,
        }
        return {
            kind: sorted(
                row.name if row.labels.get("binder-node/node") == label else f"?{row.name}" for row in table.values()
            )
            for kind, table in tables.items()
        }


def child(endpoint: str, runtime: str, provider: dict[str, Any], verb: str) -> None:
    """One verb in a process of its own, which a fault switch may kill."""
    os.environ["HCLOUD_TOKEN"] = "w" * 64
    machine = machine_at(endpoint, Path(runtime), **provider)
    with answering():
        if verb == "up":
            up(machine)
        else:
            machine.destroy(silent)
