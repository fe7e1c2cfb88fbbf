"""A node that is up stays as it is: a second ``up`` finds nothing, ``plan`` and ``status`` agree."""

from __future__ import annotations

import json

import pytest

from tests.node.harness import Home

pytestmark = pytest.mark.node


def test_a_second_up_changes_nothing(home: Home) -> None:
    again = home.up().ok()
    assert again.last["data"]["changes"] == 0
    assert [event for event in again.events if event["kind"] == "change"] == []


def test_plan_and_status_agree_that_all_is_well(home: Home) -> None:
    plan = json.loads(home.run("plan", "-o", "json").ok().out)
    assert plan["count"] == 0
    status = json.loads(home.run("status", "-o", "json").ok().out)
    assert {name: stage["ok"] for name, stage in status["stages"].items()} == {
        "machine": True,
        "host": True,
        "storage": True,
        "backup": True,
        "access": True,
        "release": True,
    }


def test_a_changed_inventory_changes_that_alone(home: Home) -> None:
    """A kubelet limit: its drop-in is written, K3s restarts, and nothing else does."""
    before = home.inventory.read_text()
    started = home.ssh("systemctl show -p ActiveEnterTimestampMonotonic minio registry-push registry-pull")
    try:
        home.inventory.write_text(before + "kubernetes: {max_pods: 37}\n")
        plan = json.loads(home.run("plan", "-o", "json").ok().out)
        whats = [change["what"] for stage in plan["stages"] for change in stage["changes"]]
        assert any("99-binder-node.conf" in what for what in whats)
        assert any("maxPods: 37" in change["diff"] for stage in plan["stages"] for change in stage["changes"])
        home.up().ok()
        assert home.ssh("k3s kubectl get node -o jsonpath='{.items[0].status.capacity.pods}'").strip() == "37"
        assert home.ssh("systemctl show -p ActiveEnterTimestampMonotonic minio registry-push registry-pull") == started
    finally:
        home.inventory.write_text(before)
        home.up().ok()


def test_a_probe_of_the_bucket_with_a_large_upload(home: Home) -> None:
    """More than one part, through the node's own key; then nothing of it is left."""
    found = json.loads(home.run("probe", "--size", "200M", "-o", "json").ok().out)
    assert found["size"] == 200_000_000
    left = home.ssh("find /var/lib/binder-node/minio -path '*binder-node-probe*' -type f | wc -l")
    assert left.strip() == "0"
