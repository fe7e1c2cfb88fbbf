"""The program that looks at a node, as a process of its own, against a Kubernetes API that is played."""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from binder_node.load.machine import Watched
from binder_node.load.on_node import watch
from binder_node.load.result import Machine, Sample
from tests.integration.binder_server import Handler, played
from tests.integration.certificates import certificate

EVERY = "0.2"


def row(component: str, status: str = "Running") -> dict[str, Any]:
    return {"cells": ["pod", "1/1", status], "object": {"metadata": {"labels": {"component": component}}}}


COLUMNS = [{"name": name} for name in ("Name", "Ready", "Status")]
TABLE = {
    "columnDefinitions": COLUMNS,
    "rows": [
        row("singleuser-server"), row("singleuser-server", "ContainerCreating"), row("binderhub-build"), row("hub"),
        {"cells": ["bare", "0/1", "Pending"], "object": {"metadata": {}}},
    ],
}  # fmt: skip


@contextmanager
def kubernetes(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """A played API that lets in who shows the client's certificate: its kubeconfig, as K3s has it; what was asked."""
    server, client = certificate(folder, "127.0.0.1", ip_address("127.0.0.1")), certificate(folder, "admin")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server)
    context.load_verify_locations(client)
    context.verify_mode = ssl.CERT_REQUIRED
    asked: list[str] = []

    def answers(to: Handler) -> None:
        asked.append(to.headers["Accept"])
        to.reply(200, TABLE)

    with played(context) as api:
        api.routes["GET /api/v1/pods"] = answers
        chain, _, key = client.read_text().partition("-----BEGIN PRIVATE KEY-----")
        config = folder / "k3s.yaml"
        config.write_text(
            "clusters:\n- cluster:\n"
            f"    certificate-authority-data: {encoded(server.read_text())}\n"
            f"    server: https://127.0.0.1:{api.port}\n  name: default\n"
            "users:\n- name: default\n  user:\n"
            f"    client-certificate-data: {encoded(chain)}\n"
            f"    client-key-data: {encoded('-----BEGIN PRIVATE KEY-----' + key)}\n"
        )
        yield config, asked


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@contextmanager
def program(folder: Path, config: Path) -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, "-u", watch.__file__, EVERY, str(folder), str(config)]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    return dict(json.loads(process.stdout.readline()))


def test_a_machine_and_its_pods(tmp_path: Path) -> None:
    with kubernetes(tmp_path) as (config, asked), program(tmp_path, config) as process:
        size, look = line(process), line(process)
        assert size["cpus"] == os.cpu_count()
        assert 0 <= look["cpu"] <= 1
        assert 0 < look["memory"] < size["memory"]
        assert 0 < look["disk"] < size["disk"]
        assert {name: look[name] for name in ("users", "starting", "builds", "others")} == {
            "users": 2, "starting": 1, "builds": 1, "others": 2,
        }  # fmt: skip
        assert "as=Table" in asked[0]


def test_a_busy_processor_is_seen(tmp_path: Path) -> None:
    with program(tmp_path, tmp_path / "none") as process:
        line(process)
        until = time.monotonic() + 1.5
        while time.monotonic() < until:  # one core of this computer's
            pass
        cores = os.cpu_count() or 1
        assert max(line(process)["cpu"] for _ in range(5)) > 0.7 / cores


def test_without_an_api_the_machine_is_told_all_the_same(tmp_path: Path) -> None:
    config = tmp_path / "k3s.yaml"
    with program(tmp_path, config) as process:
        line(process)
        assert "users" not in line(process)
        with kubernetes(tmp_path):  # it comes later
            found = [line(process).get("users") for _ in range(10)]
        assert found[-1] == 2 or 2 in found


@pytest.mark.parametrize("end", ["stdin", "stdout"])
def test_it_ends_when_nobody_listens(tmp_path: Path, end: str) -> None:
    with program(tmp_path, tmp_path / "none") as process:
        line(process)
        pipe = getattr(process, end)
        pipe.close()
        assert process.wait(5) == 0
        setattr(process, end, None)
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_stream_as_samples() -> None:
    told: list[Sample] = []
    watched = Watched(Machine(name="bids", quota=20), time.monotonic() - 10, told.append)
    watched.take('{"cpus": 2, "memory": 12, "disk": 40}')
    watched.take('{"cpu": 0.5, "waiting": 0.1, "load": 1.0, "memory": 3, "disk": 10, "users": 4}')
    found = watched.machine
    assert (found.cpus, found.memory, found.disk, found.quota) == (2, 12, 40, 20)
    assert [(one.cpu, one.users, one.builds) for one in found.samples] == [(0.5, 4, None)]
    assert told[0].at == pytest.approx(10, abs=0.5)
    with pytest.raises(ValueError, match="cpu"):
        watched.take('{"cpu": "much"}')
