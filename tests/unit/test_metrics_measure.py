"""The node's own numbers, as node exporter reads them: exact lines from what was asked."""

from __future__ import annotations

import re
from typing import Any

from binder_node.host.metrics.config import prometheus_text
from binder_node.host.metrics.rules import alerts
from binder_node.host.on_node.measure import facts
from tests.unit.metrics_samples import whole_spec

NOW = facts.parsed("2026-11-21T12:00:00Z")


def pod(component: str, phase: str = "Running", minutes: float = 10, **status: Any) -> dict[str, Any]:
    stamp = f"2026-11-21T{11 - int(minutes // 60):02d}:{59 - int(minutes % 60) + 1:02d}:00Z"
    return {
        "metadata": {"name": f"{component}-1", "labels": {"component": component}, "creationTimestamp": stamp},
        "status": {"phase": phase, **status},
    }


def lines(samples: list[facts.Sample]) -> list[str]:
    return [line for line in facts.text(samples).splitlines() if not line.startswith("#")]


def test_pods_are_counted_by_what_they_are_and_how_they_are() -> None:
    waiting = [{"restartCount": 0, "state": {"waiting": {"reason": "ImagePullBackOff"}}}]
    found = lines(
        facts.pods(
            [
                pod("singleuser-server"),
                pod("singleuser-server", "Pending", 30, containerStatuses=waiting),
                pod("binderhub-build", "Failed", 50),
                pod("binderhub-build", "Running", 20),
                pod("hub", containerStatuses=[{"restartCount": 3}], initContainerStatuses=[{"restartCount": 1}]),
                pod("something-else"),
            ],
            NOW,
        )
    )
    assert 'binder_node_pods{component="user",phase="Running"} 1' in found
    assert 'binder_node_pods{component="user",phase="Pending"} 1' in found
    assert 'binder_node_pods{component="build",phase="Failed"} 1' in found
    assert 'binder_node_pods{component="other",phase="Running"} 1' in found
    assert 'binder_node_pods{component="user",phase="Succeeded"} 0' in found
    assert 'binder_node_pods_waiting{reason="ImagePullBackOff"} 1' in found
    assert 'binder_node_pods_waiting{reason="ErrImagePull"} 0' in found
    assert 'binder_node_pod_pending_seconds{component="user"} 1800' in found
    assert 'binder_node_pod_pending_seconds{component="hub"} 0' in found
    assert 'binder_node_pod_oldest_seconds{component="build"} 1200' in found
    assert 'binder_node_restarts_total{component="hub"} 4' in found


def test_a_pod_that_is_being_removed_does_not_wait() -> None:
    going = pod("singleuser-server", "Pending", 50)
    going["metadata"]["deletionTimestamp"] = "2026-11-21T11:55:00Z"
    assert 'binder_node_pod_pending_seconds{component="user"} 0' in lines(facts.pods([going], NOW))


def test_the_node_is_told_as_kubernetes_sees_it() -> None:
    found = {
        "spec": {"unschedulable": True},
        "status": {
            "capacity": {"pods": "110"},
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "DiskPressure", "status": "Unknown"}],
        },
    }
    assert lines(facts.node(found)) == [
        "binder_node_pods_capacity 110",
        "binder_node_schedulable 0",
        'binder_node_condition{condition="Ready"} 1',
        'binder_node_condition{condition="MemoryPressure"} 0',
        'binder_node_condition{condition="DiskPressure"} 0',
        'binder_node_condition{condition="PIDPressure"} 0',
    ]


def test_targets_are_running_pods_with_an_address() -> None:
    there = pod("binder", podIP="10.42.0.9")
    starting, gone = pod("binder", "Pending"), pod("binder", podIP="10.42.0.8")
    gone["metadata"]["deletionTimestamp"] = "2026-11-21T11:55:00Z"
    assert facts.targets([gone, starting, there, pod("hub", podIP="10.42.0.7")], "binder", 8585) == [
        {"targets": ["10.42.0.9:8585"], "labels": {"instance": "binder-1", "pod": "binder-1"}}
    ]


def test_health_is_what_the_redirector_reads() -> None:
    found = {
        "ok": False,
        "checks": [
            {"service": "Docker registry", "ok": False},
            {"service": "JupyterHub API", "ok": True},
            {"service": "Pod quota", "total_pods": 7, "quota": 9, "ok": False, "_ignore_failure": True},
        ],
    }
    assert lines(facts.health(found)) == [
        'binder_node_health{check="Docker registry"} 0',
        'binder_node_health{check="JupyterHub API"} 1',
        "binder_node_health_pods 7",
        "binder_node_health_quota 9",
    ]
    assert lines(facts.health({"checks": [{"service": "Pod quota", "total_pods": 7, "quota": None}]})) == [
        "binder_node_health_pods 7"
    ]


def test_a_unit_runs_that_is_active_or_about_to_be() -> None:
    said = facts.shown("Id=a.service\nActiveState=active\n\nId=b.timer\nActiveState=inactive\n")
    assert lines(facts.units(["a.service", "b.timer", "gone.service"], said)) == [
        'binder_node_unit_active{unit="a.service"} 1',
        'binder_node_unit_active{unit="b.timer"} 0',
        'binder_node_unit_active{unit="gone.service"} 0',
    ]


def test_a_job_that_never_ended_well_counts_from_its_timers_begin() -> None:
    wanted = [
        {"name": "uses", "timer": "u.timer", "allowed": 10800.0},
        {"name": "backup", "timer": "b.timer", "allowed": 9},
    ]
    records = {"backup": {"succeeded": "2026-11-21T11:00:00+00:00", "failures": 2, "seconds": 3.5}}
    said = {"u.timer": {"ActiveEnterTimestampMonotonic": "60000000"}}
    assert lines(facts.jobs(wanted, records, said, booted=1000.0)) == [
        'binder_node_job_succeeded_timestamp_seconds{task="uses"} 1060',
        f'binder_node_job_succeeded_timestamp_seconds{{task="backup"}} {int(NOW - 3600)}',
        'binder_node_job_allowed_seconds{task="uses"} 10800',
        'binder_node_job_allowed_seconds{task="backup"} 9',
        'binder_node_job_failures{task="uses"} 0',
        'binder_node_job_failures{task="backup"} 2',
        'binder_node_job_seconds{task="uses"} 0',
        'binder_node_job_seconds{task="backup"} 3.5',
    ]


def test_a_firewall_without_its_table_is_told() -> None:
    told = {"nftables": [{"metainfo": {}}, {"counter": {"name": "too_fast", "packets": 12, "bytes": 720}}]}
    assert facts.text(facts.firewall(told)) == (
        "# TYPE binder_node_firewall_loaded gauge\nbinder_node_firewall_loaded 1\n"
        "# TYPE binder_node_refused_packets_total counter\n"
        'binder_node_refused_packets_total{why="too_fast"} 12\n'
    )
    assert lines(facts.firewall(None)) == ["binder_node_firewall_loaded 0"]


def test_a_label_cannot_break_its_line() -> None:
    assert facts.text([("a", {"b": 'say "hi"\\\n'}, 1)]).splitlines()[1] == 'binder_node_a{b="say \\"hi\\"\\\\\\n"} 1'


def names_in(text: str) -> set[str]:
    prefixes = "binder_node|binderhub|jupyterhub|node|kubelet|container|registry|minio|prometheus|alertmanager"
    return set(re.findall(rf"\b(?:{prefixes})_[A-Za-z0-9_]+", text))


def test_what_rules_ask_for_is_kept() -> None:
    """Of a source that is kept in part, every name that a rule uses is in the part."""
    jobs = re.findall(r"regex: (.*)\n\s+action: keep", prometheus_text(whole_spec()).decode())
    kept = "|".join(jobs)
    for alert in alerts(whole_spec()):
        for name in names_in(alert.expr):
            if name.startswith(("kubelet_", "container_", "jupyterhub_", "registry_", "minio_")):
                assert re.fullmatch(kept.replace(";binder;(hub|proxy|binder)-.*", ""), name), (alert.name, name)
