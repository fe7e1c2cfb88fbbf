"""Grafana's dashboards as files. ``python -m binder_node.host.metrics.dashboards FOLDER`` writes them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Grafana's grid has 24 columns.
WIDTH, HEIGHT, COLUMNS = 12, 8, 24
SCHEMA = 39
SOURCE = {"type": "prometheus", "uid": "${source}"}


@dataclass(frozen=True, slots=True)
class Panel:
    """A plot: ``lines`` are PromQL by what its legend says; ``unit`` is Grafana's name of it."""

    title: str
    unit: str
    lines: dict[str, str]
    stacked: bool = False


def _quantile(share: float, histogram: str, labels: str = "") -> str:
    return f"histogram_quantile({share}, sum by (le) (rate({histogram}_bucket{labels}[15m])))"


DASHBOARDS: dict[str, tuple[str, tuple[Panel, ...]]] = {
    "launches": (
        "Binder node: launches",
        (
            Panel(
                "Launches that ended, an hour",
                "short",
                {"{{status}}": "sum by (status) (increase(binderhub_launch_time_seconds_count[1h]))"},
                stacked=True,
            ),
            Panel(
                "Seconds to a server",
                "s",
                {
                    "half of them": _quantile(0.5, "binderhub_launch_time_seconds", '{status="success"}'),
                    "nine of ten": _quantile(0.9, "binderhub_launch_time_seconds", '{status="success"}'),
                },
            ),
            Panel(
                "Builds that ended, an hour",
                "short",
                {"{{status}}": "sum by (status) (increase(binderhub_build_time_seconds_count[1h]))"},
                stacked=True,
            ),
            Panel(
                "Under way",
                "short",
                {"builds": "sum(binderhub_inprogress_builds)", "launches": "sum(binderhub_inprogress_launches)"},
            ),
            Panel(
                "Pods, as the quota counts them",
                "short",
                {"pods": "max(binder_node_health_pods)", "quota": "max(binder_node_health_quota)"},
            ),
            Panel(
                "Pods",
                "short",
                {"{{component}} {{phase}}": "sum by (component, phase) (binder_node_pods) > 0"},
                stacked=True,
            ),
            Panel(
                "Longest wait of a pod", "s", {"{{component}}": "max by (component) (binder_node_pod_pending_seconds)"}
            ),
            Panel(
                "The hub",
                "short",
                {
                    "servers": "sum(jupyterhub_running_servers)",
                    "starts a minute": "sum(rate(jupyterhub_server_spawn_duration_seconds_count[15m])) * 60",
                },
            ),
            Panel("Health, as the redirector reads it", "short", {"{{check}}": "min by (check) (binder_node_health)"}),
            Panel("Names, asked on the node", "s", {"{{name}}": "max by (name) (binder_node_answer_seconds)"}),
            Panel(
                "The registry's answers a second",
                "reqps",
                {"{{role}} {{code}}": "sum by (role, code) (rate(registry_http_requests_total[5m]))"},
            ),
            Panel(
                "Pulls that failed, an hour",
                "short",
                {
                    "{{operation_type}}": "sum by (operation_type) (increase("
                    'kubelet_runtime_operations_errors_total{operation_type=~"pull_image|run_podsandbox"}[1h]))'
                },
            ),
        ),
    ),
    "machine": (
        "Binder node: machine",
        (
            Panel(
                "Cores in use",
                "short",
                {"{{mode}}": 'sum by (mode) (rate(node_cpu_seconds_total{mode!="idle"}[5m]))'},
                stacked=True,
            ),
            Panel("Load", "short", {"a minute": "node_load1", "a quarter of an hour": "node_load15"}),
            Panel(
                "Memory",
                "bytes",
                {
                    "in use": "node_memory_MemTotal_bytes - node_memory_MemAvailable_bytes",
                    "of the machine": "node_memory_MemTotal_bytes",
                },
            ),
            Panel(
                "The core's memory",
                "bytes",
                {"{{pod}} {{container}}": 'container_memory_working_set_bytes{container!="", container!="POD"}'},
            ),
            Panel(
                "Disks in use",
                "percentunit",
                {"{{mountpoint}}": "1 - node_filesystem_avail_bytes / node_filesystem_size_bytes"},
            ),
            Panel(
                "Inodes in use",
                "percentunit",
                {"{{mountpoint}}": "1 - node_filesystem_files_free / node_filesystem_files"},
            ),
            Panel(
                "Disks, bytes a second",
                "Bps",
                {
                    "{{device}} read": "rate(node_disk_read_bytes_total[5m])",
                    "{{device}} written": "rate(node_disk_written_bytes_total[5m])",
                },
            ),
            Panel(
                "Network, bytes a second",
                "Bps",
                {
                    "{{device}} in": "rate(node_network_receive_bytes_total[5m])",
                    "{{device}} out": "rate(node_network_transmit_bytes_total[5m])",
                },
            ),
            Panel(
                "Refused by the firewall, packets a minute",
                "short",
                {"{{why}}": "sum by (why) (rate(binder_node_refused_packets_total[5m])) * 60"},
                stacked=True,
            ),
            Panel("Units that do not run", "short", {"{{unit}}": "binder_node_unit_active == 0"}),
            Panel(
                "Jobs: since they ended well",
                "s",
                {"{{task}}": "time() - binder_node_job_succeeded_timestamp_seconds"},
            ),
            Panel(
                "Certificates: left",
                "s",
                {"{{name}}": "binder_node_certificate_ends_timestamp_seconds - time()"},
            ),
            Panel(
                "Programs killed for their memory, an hour", "short", {"killed": "increase(node_vmstat_oom_kill[1h])"}
            ),
            Panel(
                "The store of measurements",
                "bytes",
                {
                    "blocks": "prometheus_tsdb_storage_blocks_bytes",
                    "log": "prometheus_tsdb_wal_storage_size_bytes",
                },
            ),
        ),
    ),
}


def dashboard(name: str) -> dict[str, Any]:
    """One as Grafana's JSON; its data source is asked for when it is imported."""
    title, panels = DASHBOARDS[name]
    return {
        "uid": f"binder-node-{name}",
        "title": title,
        "tags": ["binder-node"],
        "schemaVersion": SCHEMA,
        "editable": True,
        "refresh": "1m",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [{"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}]
        },
        "panels": list(_panels(panels)),
    }


def _panels(panels: tuple[Panel, ...]) -> Iterator[dict[str, Any]]:
    for index, panel in enumerate(panels):
        across = COLUMNS // WIDTH
        custom = {"fillOpacity": 10, "showPoints": "never"}
        yield {
            "id": index + 1,
            "type": "timeseries",
            "title": panel.title,
            "datasource": SOURCE,
            "gridPos": {"x": index % across * WIDTH, "y": index // across * HEIGHT, "w": WIDTH, "h": HEIGHT},
            "fieldConfig": {
                "defaults": {
                    "unit": panel.unit,
                    "min": 0,
                    "custom": {**custom, "stacking": {"mode": "normal"}} if panel.stacked else custom,
                },
                "overrides": [],
            },
            "targets": [
                {"refId": chr(ord("A") + number), "datasource": SOURCE, "expr": expr, "legendFormat": legend}
                for number, (legend, expr) in enumerate(panel.lines.items())
            ],
        }


def expressions() -> Iterator[str]:
    """Every PromQL of every dashboard."""
    for _, panels in DASHBOARDS.values():
        for panel in panels:
            yield from panel.lines.values()


def text(name: str) -> str:
    """The file of one."""
    return json.dumps(dashboard(name), indent=2) + "\n"


if __name__ == "__main__":
    for one in DASHBOARDS:
        (Path(sys.argv[1]) / f"{one}.json").write_text(text(one))
