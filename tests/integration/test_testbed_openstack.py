"""The stand-in of OpenStack's APIs, judged by an independent client: python-openstackclient."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from binder_node.events import silent
from tests.integration.openstack_fixtures import NAME, cloud, holds, machine_at, up
from tests.testbed.openstack.server import Server

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can listen at port 22"),
]
CLIENT = Path(sys.executable).with_name("openstack")


@pytest.fixture(scope="module")
def openstack() -> Iterator[Server]:
    with cloud() as server:
        yield server


def ask(*words: str) -> Any:
    """One command of the client; what it prints as JSON, or None."""
    shown = any(word in ("list", "show", "create") for word in words)
    argv = [str(CLIENT), *words, *(["-f", "json"] if shown else [])]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if shown else None


@pytest.mark.usefixtures("openstack")
def test_the_client_sees_the_market() -> None:
    assert {row["Name"] for row in ask("flavor", "list")} == {"b3-8", "b3-64", "r3-64", "b3-256"}
    assert {row["Name"] for row in ask("image", "list")} == {"Debian 12", "Ubuntu 24.04"}
    assert {row["Name"] for row in ask("network", "list")} == {"Ext-Net", "private"}
    types = {row["Type"] for row in ask("catalog", "list")}
    assert types == {"identity", "compute", "network", "image", "volumev3"}


def test_the_client_sees_what_up_made_and_up_what_the_client_did(openstack: Server, tmp_path: Path) -> None:
    machine = machine_at(tmp_path, regions=["GRA11"], volume="100G")
    up(machine)
    (server,) = ask("server", "list", "--long")
    assert (server["Name"], server["Status"], server["Properties"]["binder-node.node"]) == (NAME, "ACTIVE", NAME)
    address = machine.address(machine.inspect(silent))
    assert server["Networks"] == {"Ext-Net": [address]}
    (volume,) = ask("volume", "list")
    assert (volume["Name"], volume["Status"], volume["Size"]) == (NAME, "in-use", 94)
    rules = ask("security", "group", "rule", "list", NAME, "--ingress")
    assert sorted(rule["Port Range"] for rule in rules) == ["22:22", "443:443", "80:80"]
    assert ask("port", "show", NAME)["description"].startswith("managed-by=binder-node binder-node.node=bids-1")

    ask("server", "stop", NAME)
    until = time.monotonic() + 10
    while ask("server", "show", NAME)["status"] != "SHUTOFF":
        assert time.monotonic() < until
    assert [change.action for change in up(machine)] == ["start", "run", "run"]  # its volume is looked at again
    ask("server", "delete", "--wait", NAME)
    assert up(machine)[0].what.startswith("server bids-1: b3-64")
    machine.destroy(silent, frozenset())
    assert not any(holds(openstack).values())


def test_what_the_client_makes_is_not_ours(openstack: Server, tmp_path: Path) -> None:
    made = ask("server", "create", "--flavor", "b3-8", "--image", "Debian 12", "--port",
               ask("port", "create", "--network", "Ext-Net", NAME)["id"], NAME)  # fmt: skip
    machine = machine_at(tmp_path, regions=["GRA11"])
    up(machine)
    machine.destroy(silent, frozenset())
    assert [row["ID"] for row in ask("server", "list")] == [made["id"]]
    assert holds(openstack)["ports"] == [NAME]
