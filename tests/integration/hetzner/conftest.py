"""A project of its own for each test, whose servers are said to answer, and the provider of one node in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.hetzner_fixtures import Machines, answering, machine_at, project
from tests.testbed.hetzner.server import HetznerApi


@pytest.fixture
def cloud() -> Iterator[HetznerApi]:
    with project() as api:
        yield api


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HCLOUD_TOKEN", "w" * 64)


@pytest.fixture(autouse=True)
def ssh() -> Iterator[None]:
    with answering():
        yield


@pytest.fixture
def node(cloud: HetznerApi, tmp_path: Path) -> Machines:
    """The node's provider, a new one at each call, as a new run of the command has."""
    return lambda **provider: machine_at(cloud.endpoint, tmp_path / "run", **provider)
