"""Which units speak for a component."""

from __future__ import annotations

UNITS = {
    "k3s": ("k3s.service",),
    "buildkit": ("buildkit.service", "binder-node-guard.service"),
    "minio": ("minio.service",),
    "registry": ("registry-push.service", "registry-pull.service"),
    "hubcache": ("registry-cache.service",),
    "banned": ("binder-node-banned.service",),
    "events": ("binder-node-events.service",),
    "retention": ("binder-node-uses.service", "binder-node-retention.service"),
    "pods": ("binder-node-pods.service",),
    "backup": ("binder-node-backup.service",),
    "firewall": ("binder-node-firewall.service",),
    "watch": ("binder-node-watch.service",),
    "metrics": (
        "binder-node-prometheus.service",
        "binder-node-alertmanager.service",
        "binder-node-exporter.service",
        "binder-node-measure.service",
    ),
}


def unit_of(component: str) -> tuple[str, ...]:
    """Names of a component's units, for journalctl. Raises KeyError for a component without any."""
    return UNITS[component]
