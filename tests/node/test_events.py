"""Launches on a node: in its log, in the bucket's archive, in numbers; through restarts, and with the bucket away."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.node.harness import Home

pytestmark = pytest.mark.node


def events(home: Home, *args: str) -> Any:
    return json.loads(home.run("events", "--days", "1", "-o", "json", "--top", "1000", *args).ok().out)


def launches(told: Any, repository: str) -> int:
    return sum(one["launches"] for one in told["repositories"] if one["repository"] == repository)


def test_no_launch_is_lost_to_a_new_pod_or_a_bucket_that_is_away(home: Home, git: str) -> None:
    repository = f"git/{git}/minimal.git"
    before = launches(events(home), repository)
    home.launch(f"{git}/minimal.git").ok()
    home.ssh("k3s kubectl -n binder delete pod -l component=binder --wait=false >/dev/null")
    home.ssh("k3s kubectl -n binder rollout status deployment/binder --timeout=60s")
    home.ssh("systemctl stop minio")
    try:
        # What was not there before is not in the bucket, and said so.
        home.launch(f"{git}/no-such-repository.git")
        told = events(home)
        assert launches(told, repository) == before + 1
        assert any("resolve" in one["message"].lower() for one in told["reasons"]), told["reasons"]
        assert told["waiting"]
    finally:
        home.ssh("systemctl start minio")
    told = events(home, "--archive")
    assert told["waiting"] == []
    assert told["archive_error"] is None
    assert launches(events(home, "--bucket"), repository) == before + 1


def test_a_plot_of_the_day(home: Home) -> None:
    plot = home.folder / "launches.svg"
    home.run("events", "--days", "1", "--plot", str(plot)).ok()
    assert plot.read_text().startswith("<svg")
