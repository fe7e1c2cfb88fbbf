"""Alerts of what watches: jobs on timers, targets, the numbers that the node tells, delivery. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from binder_node.host.metrics.alert import Alert
from binder_node.spec.model import Spec

WATCHDOG = "Watchdog"
# Seconds after which the node's own numbers are old: they are written twice a minute.
STALE = 300


def of_jobs(spec: Spec) -> Iterator[Alert]:
    """What runs on timers."""
    name = spec.name
    yield Alert(
        "JobFailed", (3, 13, 21), "binder_node_job_failures > 0", 10, "warning",
        "the job {{ $labels.task }} failed {{ $value }} times in a row",
        f"binder-node status {name} has its last words; binder-node logs {name} {{{{ $labels.task }}}}",
    )  # fmt: skip
    yield Alert(
        "JobLate", (3, 13, 21),
        "time() - binder_node_job_succeeded_timestamp_seconds > binder_node_job_allowed_seconds", 5, "warning",
        "the job {{ $labels.task }} has not ended well for {{ $value | humanizeDuration }}",
        f"binder-node ssh {name} -- systemctl list-timers 'binder-node-*'; binder-node up {name}",
    )  # fmt: skip


def of_itself(spec: Spec) -> Iterator[Alert]:
    """Who watches the watch: and a sign of life for somebody elsewhere."""
    name = spec.name
    yield Alert(
        "TargetDown", (31,), "up == 0", 10, "warning",
        "{{ $labels.job }} tells no measurements: alerts of it are blind",
        f"binder-node status {name}; does the unit or pod run?",
    )  # fmt: skip
    yield Alert(
        "NumbersStale", (13, 31),
        f"time() - max(node_textfile_mtime_seconds) > {STALE} or absent(node_textfile_mtime_seconds) "
        'or max(binder_node_asked{part!="kubernetes"} == bool 0) == 1',
        5, "warning",
        "the node's own numbers are old: alerts of units, pods, jobs and certificates are blind",
        f"binder-node logs {name} metrics",
    )  # fmt: skip
    broken = (
        "prometheus_rule_evaluation_failures_total",
        "prometheus_tsdb_compactions_failed_total",
        "prometheus_target_scrapes_exceeded_sample_limit_total",
    )
    yield Alert(
        "MetricsBroken", (31,), " + ".join(f"sum(increase({metric}[1h]))" for metric in broken) + " > 0", 15, "warning",
        "Prometheus cannot evaluate, store or take in measurements",
        f"binder-node logs {name} metrics",
    )  # fmt: skip
    yield Alert(
        "AlertsNotDelivered", (31,),
        "sum by (integration) (increase(alertmanager_notifications_failed_total[30m])) > 0 "
        "or sum(increase(prometheus_notifications_dropped_total[30m])) > 0",
        5, "warning",
        "alerts do not get out{{ with $labels.integration }} by {{ . }}{{ end }}",
        f"binder-node logs {name} metrics; is the secret (tokens.*) right?",
    )  # fmt: skip
    yield Alert(
        WATCHDOG, (), "vector(1)", 0, "none",
        "the node can tell of trouble",
        "nothing: this is what the dead-man's switch is fed with",
    )  # fmt: skip
