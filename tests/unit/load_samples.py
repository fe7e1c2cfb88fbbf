"""Visits and results for tests."""

from __future__ import annotations

from typing import Any

from binder_node.load.result import Machine, Result, Sample
from binder_node.load.visit import Visit

PATH = "gh/org/name/HEAD"


def visit(number: int = 0, ready: float | None = 2.0, **more: Any) -> Visit:
    """A visit that went well, unless ``more`` says otherwise."""
    return Visit(
        **{"number": number, "at": float(number), "path": PATH, "kind": "cached", "ready": ready, "left": 9.0, **more}
    )


def failed(number: int, **more: Any) -> Visit:
    """One whose build failed."""
    why = {"outcome": "failed", "stage": "build", "cause": "build failed", "message": "pip: no such <package>"}
    return visit(number, None, **{**why, **more})


def result(*visits: Visit, **more: Any) -> Result:
    """A load of a minute on one node."""
    samples = tuple(
        Sample(at=2.0 * n, cpu=n / 20, memory=3 * 10**9, disk=10**10, users=n, starting=0, builds=0, others=9)
        for n in range(1, 11)
    )
    node = Machine(name="bids", cpus=2, memory=12 * 10**9, disk=40 * 10**9, quota=20, max_pods=30, samples=samples)
    made: dict[str, Any] = {
        "tool": "binder-node 0",
        "target": "bids",
        "url": "https://bids.example.org",
        "started": "2026-11-21T10:00:00+00:00",
        "seconds": 60.0,
        "arriving": 30.0,
        "stopped": "plan",
        "settings": {"rate": "6/m", "seed": 0, "repo": [PATH]},
        "machines": (node,),
        "visits": visits,
    }
    return Result(**{**made, **more})
