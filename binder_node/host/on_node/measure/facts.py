"""From what was asked to lines of Prometheus' text form. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

Labels = Mapping[str, str]
Sample = tuple[str, Labels, float]

# What a pod's label `component` says, and what we call it; all else is "other".
COMPONENTS = {"singleuser-server": "user", "binderhub-build": "build", "hub": "hub", "proxy": "proxy",
              "binder": "binder"}  # fmt: skip
CORE = ("hub", "proxy", "binder")
PHASES = ("Pending", "Running", "Succeeded", "Failed", "Unknown")
# Why a container waits that will not start by itself (the kubelet's words).
REASONS = ("ErrImagePull", "ImagePullBackOff", "CrashLoopBackOff", "CreateContainerError", "CreateContainerConfigError",
           "RunContainerError")  # fmt: skip
CONDITIONS = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
QUOTA = "Pod quota"
PREFIX = "binder_node_"


def text(samples: Iterable[Sample]) -> str:
    """The file that node exporter reads; a metric's lines stand together.

    >>> text([("pods", {"component": "user"}, 3)])
    '# TYPE binder_node_pods gauge\\nbinder_node_pods{component="user"} 3\\n'
    """
    found: dict[str, list[str]] = {}
    for name, labels, value in samples:
        said = ",".join(f'{key}="{escaped(one)}"' for key, one in labels.items())
        found.setdefault(PREFIX + name, []).append(f"{PREFIX}{name}{'{' + said + '}' if said else ''} {number(value)}")
    lines = []
    for name, own in found.items():
        lines += [f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}", *own]
    return "".join(f"{line}\n" for line in lines)


def escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def parsed(stamp: str) -> float:
    """Seconds since the epoch of Kubernetes' time or ours; a time that says no zone is UTC."""
    return datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()


# --- pods and the node -----------------------------------------------------------------------------------------------


def component(pod: Mapping[str, Any]) -> str:
    return COMPONENTS.get((pod["metadata"].get("labels") or {}).get("component", ""), "other")


def pods(found: Iterable[Mapping[str, Any]], now: float) -> list[Sample]:
    """How many pods are in which phase, how long they wait, why, and how often the core restarted."""
    count: Counter[tuple[str, str]] = Counter()
    waiting: Counter[str] = Counter()
    pending, oldest = dict.fromkeys(("user", "build", *CORE), 0.0), dict.fromkeys(("user", "build"), 0.0)
    restarts = dict.fromkeys(CORE, 0)
    for pod in found:
        kind, status = component(pod), pod.get("status") or {}
        phase, age = status.get("phase", "Unknown"), now - parsed(pod["metadata"]["creationTimestamp"])
        count[kind, phase] += 1
        containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
        for one in containers:
            waiting[((one.get("state") or {}).get("waiting") or {}).get("reason", "")] += 1
        if kind in restarts:
            restarts[kind] += sum(int(one.get("restartCount", 0)) for one in containers)
        if pod["metadata"].get("deletionTimestamp"):
            continue
        if phase == "Pending" and kind in pending:
            pending[kind] = max(pending[kind], age)
        if phase in ("Pending", "Running") and kind in oldest:
            oldest[kind] = max(oldest[kind], age)
    return [
        *(
            ("pods", {"component": kind, "phase": phase}, count[kind, phase])
            for kind in ("user", "build", *CORE, "other")
            for phase in PHASES
        ),
        *(("pods_waiting", {"reason": reason}, waiting[reason]) for reason in REASONS),
        *(("pod_pending_seconds", {"component": kind}, seconds) for kind, seconds in pending.items()),
        *(("pod_oldest_seconds", {"component": kind}, seconds) for kind, seconds in oldest.items()),
        *(("restarts_total", {"component": kind}, times) for kind, times in restarts.items()),
    ]


def node(found: Mapping[str, Any]) -> list[Sample]:
    """Kubernetes' node: what it takes, and how it is."""
    said = {one["type"]: one["status"] for one in found["status"].get("conditions") or []}
    return [
        ("pods_capacity", {}, float(found["status"]["capacity"]["pods"])),
        ("schedulable", {}, 0 if (found.get("spec") or {}).get("unschedulable") else 1),
        *(("condition", {"condition": name}, said.get(name) == "True") for name in CONDITIONS),
    ]


def targets(found: Iterable[Mapping[str, Any]], kind: str, port: int) -> list[dict[str, Any]]:
    """Running pods of one component, as Prometheus' file of targets has them."""
    own = []
    for pod in found:
        status = pod.get("status") or {}
        going = pod["metadata"].get("deletionTimestamp")
        if component(pod) == kind and status.get("phase") == "Running" and status.get("podIP") and not going:
            name = pod["metadata"]["name"]
            own.append((name, {"targets": [f"{status['podIP']}:{port}"], "labels": {"instance": name, "pod": name}}))
    return [target for _, target in sorted(own, key=lambda one: one[0])]


# --- BinderHub, units, jobs, firewall ---------------------------------------------------------------------------------


def health(found: Mapping[str, Any]) -> list[Sample]:
    """BinderHub's own word, as the redirector reads it."""
    samples: list[Sample] = []
    for check in found.get("checks") or []:
        if check.get("service") != QUOTA:
            samples.append(("health", {"check": str(check.get("service"))}, bool(check.get("ok"))))
            continue
        samples.append(("health_pods", {}, float(check.get("total_pods") or 0)))
        if check.get("quota") is not None:
            samples.append(("health_quota", {}, float(check["quota"])))
    return samples


def shown(answer: str) -> dict[str, dict[str, str]]:
    """What ``systemctl show`` said, by unit.

    >>> shown("Id=a.service\\nActiveState=active\\n\\nId=b.timer\\nActiveState=failed\\n")
    {'a.service': {'ActiveState': 'active'}, 'b.timer': {'ActiveState': 'failed'}}
    """
    found = {}
    for block in answer.split("\n\n"):
        said = dict(line.partition("=")[::2] for line in block.splitlines() if "=" in line)
        if "Id" in said:
            found[said.pop("Id")] = said
    return found


def units(names: Iterable[str], said: Mapping[str, Mapping[str, str]]) -> list[Sample]:
    """Whether each runs; one that is being started or reloaded does."""
    good = ("active", "activating", "reloading")
    return [("unit_active", {"unit": name}, said.get(name, {}).get("ActiveState") in good) for name in names]


def jobs(
    wanted: Iterable[Mapping[str, Any]],
    records: Mapping[str, Mapping[str, Any]],
    said: Mapping[str, Mapping[str, str]],
    booted: float,
) -> list[Sample]:
    """How what timers start has ended. One that never ended well counts from when its timer began."""
    samples: list[Sample] = []
    for job in wanted:
        task, record = {"task": job["name"]}, records.get(job["name"], {})
        began = int(said.get(job["timer"], {}).get("ActiveEnterTimestampMonotonic") or 0) / 1e6
        succeeded = parsed(record["succeeded"]) if record.get("succeeded") else booted + began
        samples += [
            ("job_succeeded_timestamp_seconds", task, round(succeeded)),
            ("job_allowed_seconds", task, job["allowed"]),
            ("job_failures", task, float(record.get("failures", 0))),
            ("job_seconds", task, float(record.get("seconds", 0))),
        ]
    return samples


def firewall(found: Mapping[str, Any] | None) -> list[Sample]:
    """What ``nft -j list counters`` told; None: there is no table."""
    own = [one["counter"] for one in (found or {}).get("nftables", []) if "counter" in one]
    return [
        ("firewall_loaded", {}, bool(own)),
        *(("refused_packets_total", {"why": one["name"]}, float(one["packets"])) for one in own),
    ]
