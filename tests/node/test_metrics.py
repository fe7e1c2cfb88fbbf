"""A node measures itself: every target answers, every name that a rule or dashboard uses is there, nothing is wrong."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from binder_node.host.metrics.dashboards import expressions
from binder_node.host.metrics.rules import alerts
from binder_node.lifecycle.opened import open_spec
from tests.node.harness import Home

pytestmark = pytest.mark.node

JOBS = {"node", "kubelet", "cadvisor", "hub", "binder", "registry", "minio", "prometheus", "alertmanager"}
PREFIXES = "binder_node|binderhub|jupyterhub|node|kubelet|container|registry|minio|prometheus|alertmanager"
# What other tests on this node make true: they scan, break builds, units and jobs, and restart what they can.
OF_OTHER_TESTS = {
    "ScansCut", "LaunchesFail", "LaunchesSlow", "BuildsFail", "CoreRestarts", "JobFailed", "HealthFails", "PodsWait",
    "OutOfMemoryKills", "NameUnreachable", "RegistryDown", "RegistryErrors", "DiskPressureFlips", "ImagePullsFail",
}  # fmt: skip


def asked(home: Home, path: str) -> Any:
    """Prometheus' answer to a question."""
    program = f"import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:9090{path}').read().decode())"
    return json.loads(home.ssh(f'python3 -c "{program}"'))["data"]


def until(what: str, holds: Callable[[], Any], seconds: float = 120) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(1)
    return found


def names_in(text: str) -> set[str]:
    return set(re.findall(rf"\b(?:{PREFIXES})_[A-Za-z0-9_]+", text))


def test_every_target_answers(home: Home) -> None:
    def all_up() -> bool:
        found = asked(home, "/api/v1/targets")["activeTargets"]
        return {one["labels"]["job"] for one in found} == JOBS and all(one["health"] == "up" for one in found)

    until("all targets to be up", all_up)


def failing_pull(home: Home) -> None:
    """A pod whose image nobody has: the kubelet tells of errors once there was one."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "no-image", "namespace": "default"},
        "spec": {"containers": [{"name": "a", "image": "127.0.0.1:5001/none/none:1"}]},
    }
    home.ssh(f"echo '{json.dumps(pod)}' | k3s kubectl apply -f -")


KUBELET = """
import ssl, urllib.request
folder = "/run/binder-node-measure/"
headers = {"Authorization": "Bearer " + open(folder + "token").read()}
asked = urllib.request.Request("https://127.0.0.1:10250/metrics", headers=headers)
secure = ssl.create_default_context(cafile=folder + "ca.crt")
print(urllib.request.urlopen(asked, context=secure).read().decode())
"""


def test_every_name_that_a_rule_or_a_dashboard_uses_is_told(home: Home, git: str) -> None:
    home.launch(f"{git}/minimal.git").ok()
    failing_pull(home)
    try:
        error = 'kubelet_runtime_operations_errors_total{operation_type="pull_image"}'
        # From the kubelet itself: Prometheus asks it once a minute.
        until("a pull that failed", lambda: error in home.ssh(f"python3 -c '{KUBELET}'"), 30)
    finally:
        home.ssh("k3s kubectl delete pod -n default no-image --now")
    spec = open_spec(str(home.inventory), None).spec
    wanted = names_in(" ".join([*(alert.expr for alert in alerts(spec)), *expressions()]))
    known = {"kubelet_runtime_operations_errors_total"}

    def missing() -> set[str]:
        return wanted - known - set(asked(home, "/api/v1/label/__name__/values"))

    deadline = time.monotonic() + 60
    while missing() and time.monotonic() < deadline:
        time.sleep(1)
    assert missing() == set()


def test_rules_are_evaluated_and_nothing_is_wrong(home: Home) -> None:
    found = asked(home, "/api/v1/rules")["groups"]
    states = {rule["name"]: (rule["state"], rule["health"]) for group in found for rule in group["rules"]}
    spec = open_spec(str(home.inventory), None).spec
    assert set(states) == {alert.name for alert in alerts(spec)}
    assert {name for name, (_, health) in states.items() if health == "err"} == set()
    assert {name for name, (state, _) in states.items() if state == "firing"} - OF_OTHER_TESTS == {"Watchdog"}


def test_what_is_wrong_is_shown(home: Home) -> None:
    shown = home.run("alerts").ok().err
    assert "nobody is told (alerts.to); no dead-man's switch" in shown
    found = json.loads(home.run("alerts", "-o", "json").ok().out)
    assert (found["alive"], found["blind"], found["broken"]) == (True, {}, [])
    refused = home.run("alerts", "--test")
    assert refused.code == 2
    assert "nobody is told" in refused.err


def test_a_unit_that_does_not_run_is_a_number(home: Home) -> None:
    home.ssh("systemctl stop binder-node-guard && systemctl restart binder-node-measure")
    line = 'binder_node_unit_active{unit="binder-node-guard.service"} 0'
    try:
        until("the number", lambda: line in home.ssh("cat /run/binder-node-measure/binder-node.prom"), 30)
    finally:
        home.ssh("systemctl start binder-node-guard && systemctl restart binder-node-measure")
