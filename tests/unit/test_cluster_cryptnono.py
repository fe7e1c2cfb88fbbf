"""What K3s is told of cryptnono, to the byte; and what its DaemonSet tells an operator."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from binder_node.artifacts.pins import load_pins
from binder_node.cluster.cryptnono import CHART
from binder_node.cluster.manifests import manifests
from binder_node.lifecycle.opened import wanted_artifacts
from binder_node.smoke import judge_k3s as judge
from tests.unit.host_samples import ADDRESS, central_spec, sample_artifacts, sample_spec, sample_wanted

GOLDEN = Path(__file__).parent / "golden/cryptnono.yaml"
CHARTS = b"the chart's own bytes"


def test_k3s_gets_the_pinned_chart_with_the_federations_thresholds() -> None:
    with_it = manifests(sample_spec(), ADDRESS, cryptnono=(CHARTS, "0.3.2"))
    without = manifests(sample_spec(), ADDRESS)
    assert with_it == f"{without}---\n{GOLDEN.read_text()}"
    found = YAML(typ="safe").load(GOLDEN)
    assert base64.b64decode(found["spec"]["chartContent"]) == CHARTS
    values = YAML(typ="safe").load(found["spec"]["valuesContent"])
    socket = "/run/k3s/containerd/containerd.sock"
    assert [values["detectors"][name]["containerdHostPath"] for name in ("execwhacker", "tcpflowkiller")] == [
        socket
    ] * 2
    assert values["detectors"]["tcpflowkiller"]["config"]["FlowKiller"]["unique_destinations_threshold"] == 24


def test_it_is_fetched_where_it_is_wanted_and_is_no_image() -> None:
    pins = load_pins()
    assert CHART not in wanted_artifacts(sample_spec(), pins)
    spec = sample_spec(abuse={"cryptnono": True})
    assert CHART in wanted_artifacts(spec, pins)
    # The federation's own chart brings it.
    assert CHART not in wanted_artifacts(central_spec().model_copy(update={"abuse": spec.abuse}), pins)
    artifacts = {**sample_artifacts(), CHART: next(iter(sample_artifacts().values()))}
    from binder_node.host.k3s import k3s
    from tests.unit.host_samples import sample_secrets

    uploads = k3s(spec, sample_secrets(), artifacts, ADDRESS, "").uploads
    assert uploads == next(one for one in sample_wanted().components if one.name == "k3s").uploads


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (None, "cryptnono is not installed"),
        ({"desiredNumberScheduled": 1, "numberReady": 0}, "cryptnono is up on 0 of 1 machines"),
        ({}, "cryptnono is up on 0 of 0 machines"),
        ({"desiredNumberScheduled": 1, "numberReady": 1}, ""),
    ],
)
def test_smoke_tells_whether_it_runs(status: dict[str, int] | None, reason: str) -> None:
    trouble = judge.cryptnono("" if status is None else json.dumps({"status": status}), "bids")
    assert (trouble.reason if trouble else "") == reason
