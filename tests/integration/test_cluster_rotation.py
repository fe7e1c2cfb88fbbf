"""Which pods a chart starts anew for a rotated secret: rendered by Helm, as the release's are."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from binder_node.cluster.helm import environment, objects
from binder_node.cluster.values import compose, read, revealed
from binder_node.node import Node
from binder_node.secrets.catalog import CATALOG
from binder_node.secrets.generate import complete
from binder_node.secrets.model import Secrets
from binder_node.secrets.operations import new_values
from tests.integration.binaries import binary
from tests.testbed.chart import package
from tests.unit.host_samples import ADDRESS, sample_spec

pytestmark = pytest.mark.integration

# A chart of one's own choice in the stand-in's place: upstream's, where it can be had.
CHART = os.environ.get("BINDER_NODE_TEST_CHART", "")
PODS = ("hub", "proxy", "binder")


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(CHART) if CHART else package(tmp_path_factory.mktemp("chart") / "binderhub.tgz")


def templates(chart: Path, home: Path, secrets: Mapping[str, str]) -> dict[str, Any]:
    """The pods of each Deployment, as the chart renders them with these secrets."""
    node = Node(sample_spec(), Secrets.model_validate(secrets), {}, {"build": "example.org/build:1"}, home)
    values = revealed(compose(node, ADDRESS, read(node.spec)).values)
    done = subprocess.run(
        [str(binary("helm")), "template", "binder", str(chart), "--namespace", "binder", "--values", "-"],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment(home),
    )
    assert done.returncode == 0, done.stderr
    found = {item["metadata"]["name"]: item["spec"]["template"] for item in objects(done.stdout)
             if item["kind"] == "Deployment"}  # fmt: skip
    assert set(PODS) <= set(found)
    return found


def test_a_rotated_secret_starts_the_pods_that_we_say_and_no_others(chart: Path, tmp_path: Path) -> None:
    old = complete({})
    before = templates(chart, tmp_path, old)
    assert templates(chart, tmp_path, old) == before, "it renders anew what did not change"
    restarted = {}
    for name in CATALOG:
        after = templates(chart, tmp_path, {**old, **new_values([name])})
        restarted[name] = {pod for pod in before if before[pod] != after[pod]}
    assert restarted == {name: set(entry.restarts) & set(PODS) for name, entry in CATALOG.items()}
