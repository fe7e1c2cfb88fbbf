"""Looks at nodes, for tests."""

from __future__ import annotations

from typing import Any

from binder_node.fleet.look import Look

NOON = 1793620800.0  # 2026-11-02 12:00 UTC
GB = 10**9


def look(node: str = "bids", minutes: float = 0, **more: Any) -> Look:
    """A node that is well, so many minutes after noon."""
    told = {
        "url": f"https://{node}.example.org",
        "took": 1.5,
        "changes": {"host": 0, "release": 0},
        "inside": True,
        "pods": 40,
        "quota": 100,
        "answer": 0.12,
        "cpu": 0.25,
        "cpus": 24,
        "memory": 64 * GB,
        "memory_all": 192 * GB,
        "disk": 300 * GB,
        "disk_all": 960 * GB,
        "users": 38,
        "builds": 2,
        "certificate": 61,
        "backup": 3.25,
    }
    return Look(node=node, at=NOON + 60 * minutes, **{**told, **more})


def away(node: str = "gesis", minutes: float = 0) -> Look:
    """One that does not answer."""
    trouble = f"reach the machine: there is none that answers -> run `binder-node up {node}`"
    return Look(node=node, at=NOON + 60 * minutes, took=5.0, url=f"https://{node}.example.org", troubles=(trouble,))
