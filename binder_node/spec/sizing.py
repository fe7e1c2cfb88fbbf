"""Defaults from a machine's size, as rules with their sources. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from binder_node.spec.model import Machine
from binder_node.spec.quantity import Quantity

GB = 10**9

# mybinder.org-deploy docs/source/deployment/k3s.md: 1.75 pods for each GB of RAM (336 at 192 GB).
PODS_PER_GB = 1.75
# The least a node needs for its own pods (CoreDNS, Traefik, its ServiceLB, local-path, metrics-server, hub,
# proxy, two BinderHubs) and a few builds and sessions.
LEAST_PODS = 30
OWN_PODS = 20
# Nobody runs a kubelet beyond this (the model's own limit).
MOST_PODS = 1000
# A session's guarantee on every member: 450M (mybinder/values.yaml, singleuser.memory.guarantee).
GUARANTEE = 450 * 10**6
# Kept for the node itself: what an idle stack was measured to use (1.45 GB), and what the members give their
# builder, 12 to 16 GiB on 92 to 192 GB: an eighth.
IDLE = 1_450_000_000
BUILDER_SHARE = 1 / 8
# A twentieth of the quota is left for pods in every phase that count but serve nobody (field guide 1.2, 1.3).
QUOTA_SHARE = 0.95
# The members' cache limit at the top (300 GB of 901 GiB); below, the same share.
CACHE_SHARE = 0.30
CACHE_TOP = 300 * GB

# One disk, two collectors. From full to empty, each acts before the next one must:
#   BuildKit prunes its cache        when less than 30 % is free  (it is the cheapest thing to lose)
#   the kubelet removes images       when more than 75 % is used, until 60 %
#   a new build waits                while less than 15 % is free (the kubelet looks every 5 minutes only)
#   the kubelet evicts pods          when less than 8 % is free   (then it wipes every unused image: never get here)
# 60 % minus a cache at its limit (30 %) leaves 30 % of the disk to images and the system at the worst.
KEEP_FREE, IMAGE_GC_HIGH, IMAGE_GC_LOW, WAIT_BELOW, EVICT_BELOW = 30, 75, 60, 15, 8
# On a small disk 7 % is less than one build needs, which then fails half-way: what it may write (buildkit.disk's
# default, 2G) and once more for its packed layers. Never so much that builds wait before the kubelet collects.
ONE_BUILD = 4 * GB
WAIT_MOST = 100 - IMAGE_GC_HIGH - 1

# Prometheus with this node's few thousand series was measured to use about 150 MB, node exporter and Alertmanager 30 MB
# each: from 4 GB on that is not missed. A series takes 1 to 2 bytes a sample: a month of them, twice a minute, is less
# than a gigabyte.
METRICS_LEAST = 4 * GB
METRICS_DISK_SHARE, METRICS_DISK = 0.01, (256 * 10**6, 10 * GB)
METRICS_MEMORY_SHARE, METRICS_MEMORY = 0.03, (300 * 10**6, GB)


def _between(limits: tuple[int, int]) -> str:
    return f"{limits[0] // 10**6}M to {limits[1] // GB}G"


# What the reference and a fresh inventory say about a computed default, by its dotted key.
RULES = {
    "names.hub": "hub. and names.binder",
    "names.registry": "registry. and names.binder",
    "kubernetes.max_pods": f"{PODS_PER_GB} x GB of RAM, {LEAST_PODS} to {MOST_PODS}",
    "kubernetes.image_gc_high": f"{IMAGE_GC_HIGH}",
    "kubernetes.image_gc_low": f"{IMAGE_GC_LOW}",
    "kubernetes.evict_below": f"{EVICT_BELOW}",
    "buildkit.cache": f"{CACHE_SHARE:.0%} of the disk, at most {CACHE_TOP // GB}G",
    "buildkit.keep_free": f"{KEEP_FREE}",
    "buildkit.wait_below": f"{EVICT_BELOW} and room for one build ({ONE_BUILD // GB}G), {WAIT_BELOW} to {WAIT_MOST}",
    "buildkit.parallelism": "a quarter of the cores, 2 to 8",
    "binderhub.quota": f"{QUOTA_SHARE:.0%} of what fits: (RAM - {IDLE / GB:g}G - an eighth for builds) "
    f"/ session.memory_guarantee, or max_pods - {OWN_PODS} if that is less",
    "binderhub.build_limit": "a quarter of the cores, 2 to 8",
    "metrics.enabled": f"`true` from {METRICS_LEAST // GB}G of RAM on",
    "metrics.disk": f"{METRICS_DISK_SHARE:.0%} of the disk, {_between(METRICS_DISK)}",
    "metrics.memory": f"{METRICS_MEMORY_SHARE:.0%} of RAM, {_between(METRICS_MEMORY)}",
}


def max_pods(memory: int) -> int:
    """Pods for ``memory`` bytes."""
    return min(MOST_PODS, max(LEAST_PODS, int(PODS_PER_GB * memory / GB)))


def carries(memory: int, guarantee: int = GUARANTEE) -> int:
    """Sessions whose ``guarantee`` bytes each fit in ``memory`` bytes beside the node itself; 0 where it does not."""
    return max(0, (memory - IDLE - int(memory * BUILDER_SHARE)) // guarantee)


def quota(memory: int, pods: int, guarantee: int = GUARANTEE) -> int:
    """Sessions and builds at once for ``memory`` bytes, a limit of ``pods`` and ``guarantee`` bytes a session."""
    return max(1, int(QUOTA_SHARE * min(pods - OWN_PODS, carries(memory, guarantee))))


def parallelism(cpus: int) -> int:
    """Build steps at once: the members give their builder 4 to 8 of 24 to 48 cores."""
    return max(2, min(8, cpus // 4))


def cache(disk: int) -> Quantity:
    """The build cache's limit on a filesystem of ``disk`` bytes, in whole MB, never larger than its share."""
    return Quantity(min(CACHE_TOP, max(1, int(disk * CACHE_SHARE) // 10**6) * 10**6))


def wait_below(disk: int) -> int:
    """Free space below which a new build waits, in percent of a filesystem of ``disk`` bytes."""
    room = -(-100 * ONE_BUILD // disk)
    return max(WAIT_BELOW, min(WAIT_MOST, EVICT_BELOW + room))


def share(whole: int, part: float, limits: tuple[int, int]) -> Quantity:
    """``part`` of ``whole`` bytes within ``limits``, in whole MB."""
    return Quantity(min(limits[1], max(limits[0], int(whole * part) // 10**6 * 10**6)))


def defaults(
    machine: Machine,
    names: Mapping[str, Any],
    *,
    disk: int | None = None,
    pods: int | None = None,
    guarantee: int = GUARANTEE,
) -> dict[str, Any]:
    """Everything an inventory need not say, given the machine and ``names`` as the inventory has them.

    ``disk`` is the state filesystem's size in bytes where it is not the machine's (a loop-mounted image), ``pods``
    and ``guarantee`` what the inventory says of them: the quota follows from those.
    Returns a nested dict in the inventory's shape, to be merged *under* what the inventory says.
    """
    limit = max_pods(machine.memory)
    builds = parallelism(machine.cpus)
    binder = names.get("binder")
    return {
        "names": {"hub": f"hub.{binder}", "registry": f"registry.{binder}"} if isinstance(binder, str) else {},
        "kubernetes": {
            "max_pods": limit,
            "image_gc_high": IMAGE_GC_HIGH,
            "image_gc_low": IMAGE_GC_LOW,
            "evict_below": EVICT_BELOW,
        },
        "buildkit": {
            "cache": cache(machine.disk if disk is None else disk),
            "keep_free": KEEP_FREE,
            "wait_below": wait_below(machine.disk if disk is None else disk),
            "parallelism": builds,
        },
        "binderhub": {
            "quota": quota(machine.memory, limit if pods is None else pods, guarantee),
            "build_limit": builds,
        },
        "metrics": {
            "enabled": machine.memory >= METRICS_LEAST,
            "disk": share(machine.disk if disk is None else disk, METRICS_DISK_SHARE, METRICS_DISK),
            "memory": share(machine.memory, METRICS_MEMORY_SHARE, METRICS_MEMORY),
        },
    }
