"""What the tests of the stage ``names`` share, whoever writes the records."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from binder_node.names.stage import NamesStage
from binder_node.node import Node
from tests.integration import stages
from tests.testbed.knot import Knot, free_port
from tests.unit.host_samples import sample_secrets, sample_spec

HERE, ELSEWHERE = "198.51.100.7", "192.0.2.1"
ZONE, BINDER, HUB = "example.org", "bids.example.org", "hub.bids.example.org"
# What a first `up` says.
CREATED = [f"create A {name} {HERE}" for name in (BINDER, f"*.{BINDER}", HUB)]


def stage_of(dns: dict[str, Any], address: str = HERE, **spec: Any) -> NamesStage:
    """The stage of a node whose Spec says ``dns`` and ``spec``."""
    return NamesStage(Node(sample_spec(dns=dns, **spec), sample_secrets(), {}, {}, Path("/nowhere")), address)


def up(made: NamesStage) -> list[str]:
    """What an ``up`` of this stage says that it changes."""
    return [f"{change.action} {change.what}" for change in stages.up(made)]


@contextmanager
def served(folder: Path, *records: str) -> Iterator[Knot]:
    """A name server that has the zone with these records."""
    server = Knot(folder, "127.0.0.1", free_port(), {ZONE: list(records)})
    try:
        server.start()
        yield server
    finally:
        server.stop()
