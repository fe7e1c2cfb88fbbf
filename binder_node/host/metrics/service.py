"""Alerts of what users notice: names, launches, builds, images. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from binder_node.host.metrics.alert import Alert
from binder_node.spec.model import NodeStorage, Spec

LAUNCHES, BUILDS = "binderhub_launch_time_seconds", "binderhub_build_time_seconds"
# Of launches that ended, the share that failed: the federation's own goal is 90 % and more.
FAILING = 0.3
# Fewer in a quarter of an hour say nothing: one broken repository is as many.
FEW = 10
# The federation gives a launch ten minutes; whoever waits two has left.
SLOW, WAITING = 120, 600
# BinderHub ends builds after an hour (values/base.yaml, KubernetesCleaner.max_age); what is older is stuck.
BUILD = 4500
# The redirector leaves out a member that has room for fewer than ten (app.py, total_pods + 10 >= quota).
REDIRECTOR = 10
# Finished pods are swept ten minutes after their end; the quota has room for a twentieth of them (spec/sizing.py).
DEAD_SHARE, DEAD_LEAST = 20, 5


def of_the_service(spec: Spec) -> Iterator[Alert]:
    """Is the member there, and do launches end well?"""
    name = spec.name
    yield Alert(
        "NameUnreachable", (23, 24), "binder_node_answers == 0", 3, "critical",
        "{{ $labels.name }} does not answer on the node itself",
        f"binder-node smoke {name}: the first check that is red is the cause",
    )  # fmt: skip
    yield Alert(
        "HealthFails", (20, 23), "binder_node_health == 0", 3, "critical",
        "BinderHub says that its {{ $labels.check }} is not well: the redirector sends nobody here",
        f"binder-node smoke {name}; binder-node logs {name} binder",
    )  # fmt: skip
    ended = f'sum(increase({LAUNCHES}_count{{status=~"success|failure"}}[15m]))'
    yield Alert(
        "LaunchesFail", (1, 29, 30),
        f'sum(increase({LAUNCHES}_count{{status="failure"}}[15m])) / {ended} > {FAILING} and {ended} > {FEW}',
        5, "critical",
        "{{ $value | humanizePercentage }} of the launches of the last quarter of an hour failed",
        f"binder-node events {name} counts why; binder-node explain {name} LAUNCH shows one whole",
    )  # fmt: skip
    good = f'{LAUNCHES}_count{{status="success"}}'
    yield Alert(
        "LaunchesSlow", (7,),
        f'histogram_quantile(0.9, sum by (le) (rate({LAUNCHES}_bucket{{status="success"}}[30m]))) > {SLOW} '
        f"and sum(increase({good}[30m])) > {FEW}",
        15, "warning",
        "one launch in ten takes more than {{ $value | humanizeDuration }}",
        "look for pulls, builds and the disk: docs/explanation/launches.md",
    )  # fmt: skip
    if spec.federation.weight and spec.binderhub.quota:
        yield Alert(
            "NoLaunches", (26, 33), f"vector(0) unless sum(increase({good}[1h])) > 0", 30, "warning",
            "nobody was launched for an hour though the member has a weight",
            f"binder-node federation check {name}: most likely the redirector leaves it out",
        )  # fmt: skip
    yield _quota(spec)
    yield Alert(
        "PodsWait", (1, 7, 30), f"max by (component) (binder_node_pod_pending_seconds) > {WAITING}", 2, "critical",
        "a {{ $labels.component }} pod waits for {{ $value | humanizeDuration }}",
        f"binder-node ssh {name} -- kubectl get pods -n binder; kubectl describe tells what it waits for",
    )  # fmt: skip
    yield Alert(
        "PodLimitWrong", (1,), f"binder_node_pods_capacity != {spec.kubernetes.max_pods}", 10, "warning",
        f"the kubelet takes {{{{ $value }}}} pods, the inventory says {spec.kubernetes.max_pods}",
        f"binder-node up {name}; then binder-node smoke {name} --only k3s",
    )  # fmt: skip
    dead = max(DEAD_LEAST, spec.binderhub.quota // DEAD_SHARE)
    yield Alert(
        "DeadPods", (2, 3),
        f'sum(binder_node_pods{{component=~"user|build", phase=~"Succeeded|Failed"}}) > {dead}', 30, "warning",
        "{{ $value }} pods have ended and count against the quota",
        f"binder-node logs {name} pods tells why they are not swept",
    )  # fmt: skip
    yield Alert(
        "CoreRestarts", (22, 29), "sum by (component) (increase(binder_node_restarts_total[1h])) > 3", 0, "warning",
        "{{ $labels.component }} restarted {{ $value | humanize }} times within an hour",
        f"binder-node logs {name} {{{{ $labels.component }}}}; kubectl logs --previous has what it died of",
    )  # fmt: skip


def _quota(spec: Spec) -> Alert:
    member = bool(spec.federation.member)
    pods = f"max(binder_node_health_pods) + {REDIRECTOR}" if member else "max(binder_node_health_pods)"
    says = "with the ten that the redirector keeps free: it sends nobody here" if member else "launches are refused"
    return Alert(
        "QuotaFull",
        (2, 33),
        f"{pods} >= max(binder_node_health_quota) and max(binder_node_health_quota) > 0",
        30,
        "warning",
        f"the quota is full, {{{{ $value | humanize }}}} pods{' ' if member else ': '}{says}",
        f"binder-node events {spec.name}: one repository? else a lower weight or a larger machine",
    )


def of_images(spec: Spec) -> Iterator[Alert]:
    """Builds, pushes and pulls."""
    name = spec.name
    yield Alert(
        "ImagePullsFail", (20, 23, 30),
        'increase(kubelet_runtime_operations_errors_total{operation_type="pull_image"}[15m]) > 3 '
        'or sum(binder_node_pods_waiting{reason=~"ErrImagePull|ImagePullBackOff"}) > 0',
        10, "critical",
        "images cannot be pulled: launches of what is not on the node fail",
        f"binder-node smoke {name} --only registry",
    )  # fmt: skip
    ended = f"sum(increase({BUILDS}_count[1h]))"
    yield Alert(
        "BuildsFail", (11, 14, 15),
        f'sum(increase({BUILDS}_count{{status="failure"}}[1h])) / {ended} > 0.8 and {ended} > {FEW}',
        10, "warning",
        "{{ $value | humanizePercentage }} of the builds of the last hour failed",
        f"binder-node events {name}: the same end in many repositories is ours",
    )  # fmt: skip
    yield Alert(
        "BuildsAtLimit", (10,), f"sum(binderhub_inprogress_builds) >= {spec.binderhub.build_limit}", 60, "warning",
        "as many builds as may run for an hour: launches wait in line",
        "a member that joined lately: lower its weight; else binderhub.build_limit, or a larger machine",
    )  # fmt: skip
    yield Alert(
        "BuildTooLong", (15, 16), f'max(binder_node_pod_oldest_seconds{{component="build"}}) > {BUILD}', 5, "warning",
        "a build pod is {{ $value | humanizeDuration }} old; builds end within an hour",
        f"binder-node logs {name} buildkit; the pod's own log tells where it is stuck",
    )  # fmt: skip
    yield Alert(
        "RegistryErrors", (11, 20, 22),
        'sum by (role) (rate(registry_http_requests_total{code=~"5.."}[10m])) '
        "/ sum by (role) (rate(registry_http_requests_total[10m])) > 0.05",
        10, "warning",
        "the registry ({{ $labels.role }}) answers {{ $value | humanizePercentage }} of its requests with an error",
        f"binder-node logs {name} registry: the bucket's own words stand in it",
    )  # fmt: skip
    yield Alert(
        "RegistryDown", (19, 20), "binder_node_registry_answers == 0", 3, "critical",
        "the registry ({{ $labels.role }}) does not answer, or cannot reach its bucket",
        f"binder-node smoke {name} --only storage; the bucket's provider's status page",
    )  # fmt: skip
    if isinstance(spec.storage, NodeStorage):
        yield Alert(
            "DriveOffline", (20,), "minio_cluster_drive_offline_total > 0", 3, "critical",
            "MinIO has lost its drive: nothing is pushed or pulled",
            f"binder-node ssh {name} -- dmesg; binder-node logs {name} minio",
        )  # fmt: skip
