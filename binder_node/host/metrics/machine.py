"""Alerts of the machine: units, Kubernetes' node, disks, memory, certificates, the firewall. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from binder_node.host.kernel import SYSCTLS
from binder_node.host.metrics.alert import Alert
from binder_node.spec.model import Spec

AVAILABLE = "node_filesystem_avail_bytes / node_filesystem_size_bytes * 100"
STATE = "binder_node_state_available_bytes / binder_node_state_size_bytes * 100"
# Percent of a disk above the kubelet's eviction at which somebody has to act.
MARGIN = 2
# Percent above the kubelet's own limit: it looks every five minutes.
BEHIND = 5
DAY = 86400
# Let's Encrypt's certificates are renewed at 30 days; K3s renews its own at a start, with less than 120 left.
PUBLIC_DAYS, CLUSTER_DAYS = 14, 30
# Packets of sources that are cut, in ten minutes: a scan goes on knocking, an install that went too far does not.
SCAN = 1000
WATCHED = {
    "node_sysctl_fs_inotify_max_user_instances": "fs.inotify.max_user_instances",
    "node_sysctl_fs_inotify_max_user_watches": "fs.inotify.max_user_watches",
}


def of_the_machine(spec: Spec) -> Iterator[Alert]:
    """Units and Kubernetes' node."""
    name = spec.name
    yield Alert(
        "UnitDown", (13,), "binder_node_unit_active == 0", 3, "critical",
        "{{ $labels.unit }} does not run",
        f"binder-node ssh {name} -- journalctl -u {{{{ $labels.unit }}}} -n 50; binder-node up {name}",
    )  # fmt: skip
    yield Alert(
        "NodeNotReady", (4,), 'binder_node_condition{condition="Ready"} == 0', 5, "critical",
        "Kubernetes' node is not ready: nothing starts",
        f"binder-node smoke {name} --only k3s; binder-node logs {name} k3s",
    )  # fmt: skip
    yield Alert(
        "ApiDown",
        (28, 29),
        'binder_node_asked{part="kubernetes"} == 0',
        3,
        "critical",
        "the Kubernetes API does not answer: nothing starts, and nobody sees pods",
        f"binder-node logs {name} k3s; binder-node ssh {name} -- systemctl restart k3s",
    )
    yield Alert(
        "NodeCordoned", (12,), "binder_node_schedulable == 0", 30, "warning",
        "the node is cordoned: nothing starts on it",
        f"binder-node ssh {name} -- kubectl uncordon {name}, if nobody means it",
    )  # fmt: skip
    yield Alert(
        "NodePressure", (4, 5, 6), 'binder_node_condition{condition=~".*Pressure"} == 1', 5, "critical",
        "the kubelet says {{ $labels.condition }}: it evicts pods and starts none",
        f"binder-node status {name}; what fills it: docs/explanation/builds.md",
    )  # fmt: skip
    yield Alert(
        "DiskPressureFlips", (4, 6), 'changes(binder_node_condition{condition="DiskPressure"}[6h]) > 3', 0, "warning",
        "the disk's pressure came or went {{ $value }} times within six hours",
        "lower buildkit.cache or binderhub.quota, or take a larger disk",
    )  # fmt: skip
    limits = " or ".join(f"{metric} < {SYSCTLS[sysctl]}" for metric, sysctl in WATCHED.items())
    yield Alert(
        "KernelLimitsLost", (8,), limits, 5, "warning",
        "an inotify limit is {{ $value }}: too many open files is next",
        f"binder-node up {name}; something else writes below /etc/sysctl.d",
    )  # fmt: skip
    yield Alert(
        "SwapOn", (32,), "node_memory_SwapTotal_bytes > 0", 5, "warning",
        "there is swap: memory limits mean nothing",
        f"binder-node up {name}; take it out of /etc/fstab",
    )  # fmt: skip
    yield Alert(
        "MemoryLow", (9,), "node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes * 100 < 5", 10, "warning",
        "{{ $value | humanize }} % of the memory are left",
        "a lower binderhub.quota, or what a session is guaranteed (binderhub.session)",
    )  # fmt: skip
    yield Alert(
        "OutOfMemoryKills", (9,), "increase(node_vmstat_oom_kill[1h]) > 20", 0, "warning",
        "{{ $value | humanize }} programs were killed for their memory within an hour",
        f"binder-node events {name}: builds? then buildkit.memory",
    )  # fmt: skip
    yield Alert(
        "ClusterCertificateEnds", (28,), _ends("cluster", CLUSTER_DAYS), 60, "warning",
        "{{ $labels.name }} of K3s ends in {{ $value | humanizeDuration }}",
        f"binder-node ssh {name} -- systemctl restart k3s: it renews them at its start",
    )  # fmt: skip
    if spec.tls.mode != "none":
        yield Alert(
            "CertificateEnds", (28,), _ends("public", PUBLIC_DAYS), 60, "warning",
            "the certificate of {{ $labels.name }} ends in {{ $value | humanizeDuration }}",
            f"binder-node smoke {name} --only binder: why it is not renewed",
        )  # fmt: skip
    yield Alert(
        "ScansCut", (27,),
        'sum(increase(binder_node_refused_packets_total{why=~"too_fast|too_many"}[10m])) '
        f"> {SCAN}",
        0, "warning",
        "{{ $value | humanize }} packets of scanners were refused within ten minutes",
        f"binder-node abuse {name} tells who; ban the repository before the provider writes",
    )  # fmt: skip
    yield Alert(
        "FirewallGone", (27,), "binder_node_firewall_loaded == 0", 2, "critical",
        "the firewall's table is not loaded: users' code reaches everything",
        f"binder-node ssh {name} -- systemctl restart binder-node-firewall; then binder-node smoke {name}",
    )  # fmt: skip


def of_disks(spec: Spec) -> Iterator[Alert]:
    """Each filesystem by itself, and what collects on the state folder's."""
    name, limits = spec.name, spec.kubernetes
    yield Alert(
        "DiskFull", (6, 31), f"{AVAILABLE} < {limits.evict_below + MARGIN}", 5, "critical",
        "{{ $labels.mountpoint }} has {{ $value | humanize }} % left",
        f"binder-node ssh {name} -- du -xhd2 {{{{ $labels.mountpoint }}}}",
    )  # fmt: skip
    yield Alert(
        "DiskFillsSoon", (6, 12, 21),
        f"predict_linear(node_filesystem_avail_bytes[6h], {DAY}) < 0 "
        "and node_filesystem_avail_bytes / node_filesystem_size_bytes < 0.5",
        60, "warning",
        "{{ $labels.mountpoint }} will be full within a day",
        f"binder-node status {name}: which timer of those that clean up has failed?",
    )  # fmt: skip
    yield Alert(
        "InodesFew", (6,), "node_filesystem_files_free / node_filesystem_files * 100 < 10", 15, "warning",
        "{{ $labels.mountpoint }} has {{ $value | humanize }} % of its inodes left",
        f"binder-node ssh {name} -- du --inodes -xd2 {{{{ $labels.mountpoint }}}} | sort -n | tail",
    )  # fmt: skip
    yield Alert(
        "BuildsWaitForRoom", (4, 5, 12), f"{STATE} < {spec.buildkit.wait_below}", 15, "critical",
        f"{{{{ $value | humanize }}}} % of the state disk are left: new builds wait below {spec.buildkit.wait_below} %",
        f"binder-node logs {name} k3s: why the kubelet removes no images; binder-node logs {name} buildkit",
    )  # fmt: skip
    used = limits.image_gc_high + BEHIND
    yield Alert(
        "ImagesNotCollected", (4, 5), f"100 - {STATE} > {used}", 20, "warning",
        f"{{{{ $value | humanize }}}} % of the state disk are used, the kubelet removes images from "
        f"{limits.image_gc_high} % on",
        "images in use, or files that no collector knows: docs/explanation/builds.md",
    )  # fmt: skip


def _ends(kind: str, days: int) -> str:
    return f'binder_node_certificate_ends_timestamp_seconds{{kind="{kind}"}} - time() < {days * DAY}'
