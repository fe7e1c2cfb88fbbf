"""A node with certificates replaced by another: the next generation shows them before the names lead to it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.node.rotation_lab import RECORD, ZONE, Users, bad, kept, lab, numbers

pytestmark = pytest.mark.node


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_certificates_go_along_and_nobody_meets_another_one(tmp_path: Path) -> None:
    """The member's name has its certificate on the new node before the name leads there; only its hub's is ordered."""
    with lab(tmp_path, acme=True) as made:
        assert made.pebble is not None
        ordered, users = made.pebble.orders(), Users()
        users.begin(made, rate=0.1)
        try:
            time.sleep(10)
            done = made.run(*made.rotate("-o", "json", "--no-deep"), timeout=590)
        finally:
            visits = users.end()
        kept(RECORD, {"test": "acme", "bad": bad(visits), "orders": made.pebble.orders() - ordered, **numbers(visits)})
        done.ok()
        assert bad(visits) == []
        made.number = 2
        shown = json.loads(made.run("status", "-o", "json").out)["certificates"]
        assert [(one["name"], one["trouble"]) for one in shown] == [(ZONE, ""), (f"hub-2.{ZONE}", "")]
        assert made.pebble.orders() - ordered in (1, 2)  # Traefik may be restarted before the first answer
