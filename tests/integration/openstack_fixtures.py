"""Nodes at the stand-in for OpenStack's APIs; its servers are ssh servers on loopback with the user-data's keys."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from binder_node.changes import Change
from binder_node.events import Event, silent
from binder_node.node import Node
from binder_node.providers.openstack.calls import Patience
from binder_node.providers.openstack.stage import OpenStackMachine
from binder_node.secrets.generate import generate
from binder_node.secrets.model import Secrets
from binder_node.spec.model import Spec
from tests.integration import stages
from tests.testbed.openstack.loopback import LoopbackMachines
from tests.testbed.openstack.server import Server
from tests.testbed.openstack.state import PROJECT, Row, State, new_id, now, region
from tests.unit.host_samples import sample_spec

NAME = "bids-1"
# Nothing here takes time but what a test makes slow.
QUICK = Patience(request=5, call=6, server=4, volume=4, other=4, ssh=6)
SECRETS = generate()
TABLES = ("servers", "ports", "ips", "volumes", "groups")


def environment(server: Server, **changed: str) -> dict[str, str]:
    """What an openrc file sets."""
    return {
        "OS_AUTH_URL": server.auth_url,
        "OS_USERNAME": "operator",
        "OS_PASSWORD": "correct horse",
        "OS_PROJECT_NAME": "project",
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_PROJECT_DOMAIN_NAME": "Default",
        "OS_IDENTITY_API_VERSION": "3",
        "OS_REGION_NAME": "GRA11",
        **changed,
    }


@contextmanager
def cloud(*regions: str) -> Iterator[Server]:
    """The stand-in with ``regions`` (two, where none are named), and its ``OS_*`` variables in the environment.

    Each process has addresses of its own: several run at once.
    """
    net = 64 + os.getpid() % 150
    machines = LoopbackMachines()
    state = State(machines=machines, build_seconds=0.02, delete_seconds=0.02)
    names = regions or ("GRA11", "SBG5")
    state.regions = {name: region(name, f"127.{net}.{index}.0/24") for index, name in enumerate(names)}
    server = Server(state)
    server.start()
    before = {key: value for key, value in os.environ.items() if key.startswith("OS_")}
    for key in before:
        del os.environ[key]
    os.environ.update(environment(server))
    try:
        yield server
    finally:
        for key in [key for key in os.environ if key.startswith("OS_")]:
            del os.environ[key]
        os.environ.update(before)
        server.stop()
        machines.close()


def spec_at(name: str = NAME, **provider: Any) -> Spec:
    """A node of 8 cores and 60 GB; ``provider`` are keys of its provider."""
    said = {"kind": "openstack", "regions": ["GRA11", "SBG5"], "flavors": ["b3-64", "r3-64"], **provider}
    spec = sample_spec(machine={"cpus": 8, "memory": "60G", "disk": "100G"}, name=name)
    return Spec.model_validate_json(json.dumps({**spec.model_dump(mode="json"), "provider": said}), strict=True)


def machine_at(folder: Path, secrets: Secrets = SECRETS, name: str = NAME, **provider: Any) -> OpenStackMachine:
    """The provider for such a node, its runtime folder below ``folder``."""
    runtime = folder / name
    runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
    return OpenStackMachine(Node(spec_at(name, **provider), secrets, {}, {}, runtime), QUICK)


def up(machine: OpenStackMachine, events: list[Event] | None = None) -> list[Change]:
    """What ``up`` does with the stage, and what it changed; a new look must find nothing left to do."""
    wanted = stages.up(machine, silent if events is None else events.append)
    again = OpenStackMachine(machine.node, QUICK)
    seen = again.inspect(silent)
    assert again.changes(seen) == []
    assert again.access(seen) is not None
    return wanted


def holds(server: Server) -> dict[str, list[str]]:
    """The names of everything in the project, by kind and over all regions; floating addresses by their labels."""
    state = server.state
    with state.lock:
        return {
            table: sorted(
                row.get("name") or row["description"]
                for one in state.regions.values()
                for row in one.table(table).values()
            )
            for table in TABLES
        }


ONE = {"servers": [NAME], "ports": [NAME], "ips": [], "volumes": [], "groups": [NAME]}
NONE: dict[str, list[str]] = {table: [] for table in TABLES}


def crowd(server: Server, count: int = 7) -> None:
    """Other people's things in the same project, some of them of the node's very name."""
    for one in server.state.regions.values():
        flavor, image = next(iter(one.flavors)), next(iter(one.images))
        for index in range(count):
            name = NAME if index == 0 else f"theirs-{index}"
            row: Row = {
                "id": new_id(), "name": name, "status": "ACTIVE", "task": None, "fault": "", "locked": False,
                "flavor": flavor, "image": image, "metadata": {"owner": "them"}, "created": now(), "user_data": "",
            }  # fmt: skip
            one.servers[row["id"]] = row
            group: Row = {
                "id": new_id(), "name": name, "description": "binder-node.node=bids-1 but ours", "project_id": PROJECT,
                "tenant_id": PROJECT, "security_group_rules": [], "created_at": now(), "updated_at": now(), "tags": [],
            }  # fmt: skip
            one.groups[group["id"]] = group


def snapshot(server: Server) -> str:
    """Everything in the project, to be compared."""
    state = server.state
    state.quiet()
    with state.lock:
        return json.dumps({name: {table: one.table(table) for table in TABLES} for name, one in state.regions.items()})


def clear(server: Server) -> None:
    """The project is empty again."""
    state = server.state
    state.quiet()
    state.threads.clear()
    for one in state.regions.values():
        for table in TABLES:
            one.table(table).clear()
    state.machines.close()


def child(variables: dict[str, str], secrets: str, folder: str, provider: dict[str, Any], verb: str) -> None:
    """One verb in a process of its own, which a test may kill. ``secrets`` as JSON."""
    os.environ.update(variables)
    machine = machine_at(Path(folder), Secrets.model_validate_json(secrets), **provider)
    if verb == "up":
        machine.apply(machine.inspect(silent), silent)
    else:
        machine.destroy(silent, frozenset())
