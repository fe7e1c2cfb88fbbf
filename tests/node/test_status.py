"""``status`` of several nodes, on a node that is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from binder_node.fleet import report
from tests.node.harness import Home

pytestmark = pytest.mark.node


def test_a_node_that_is_there_is_seen_from_all_sides(home: Home, tmp_path: Path) -> None:
    page = tmp_path / "nodes.html"
    for count in (1, 2):
        done = home.run("status", "--html", str(page), "-o", "json").ok()
        [look] = report.read(page.read_text())[count - 1 :]
    [told] = json.loads(done.out)["nodes"]
    assert (told["node"], told["well"], told["state"], told["troubles"]) == (home.name, True, "well", [])
    assert set(told["changes"]) >= {"machine", "host", "storage", "release"}
    assert told["inside"] is True
    assert told["pods"] <= told["quota"]
    assert 0 <= told["cpu"] <= 1
    assert 0 < told["memory"] < told["memory_all"]
    assert 0 < told["disk"] < told["disk_all"]
    assert (told["builds"], look.at) == (0, told["at"])
