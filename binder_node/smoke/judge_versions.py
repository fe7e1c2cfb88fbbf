"""Versions that run, judged against the pins. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from binder_node.artifacts.pins import Pin
from binder_node.smoke.checks import Trouble
from binder_node.upgrades.reported import Reported, wrong


def version(running: Reported, component: str, entries: Mapping[str, Pin], node: str) -> Trouble | None:
    """Every part of a component says the version that is pinned."""
    found = wrong(running, component, entries)
    return Trouble(f"{component}: {found}", f"binder-node upgrade {node} {component}") if found else None
