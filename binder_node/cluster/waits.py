"""Waiting for the release's pods, and saying in a line what they wait for themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from binder_node.cluster.kube import TIMEOUT
from binder_node.errors import DeadlineError, StepError
from binder_node.events import Event, Reporter
from binder_node.layout import NAMESPACE

STAGE = "release"
POLL_SECONDS = 0.5
# A first start pulls every image of the chart, about 1 GB.
READY_SECONDS = 600.0
LOG_LINES = 20
# Reasons that waiting does not mend, once a pod has had them for so long (seconds).
HOPELESS = {
    "ErrImageNeverPull": 0.0,
    "InvalidImageName": 0.0,
    "CreateContainerConfigError": 30.0,
    "CrashLoopBackOff": 60.0,
    "ImagePullBackOff": 60.0,
}
# The kubelet says the one while it tries and the other while it waits to try again.
SAME = {"ErrImagePull": "ImagePullBackOff"}


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment: pods wanted, and ready ones of its newest version."""

    name: str
    wanted: int
    ready: int

    @property
    def ok(self) -> bool:
        return self.ready >= self.wanted

    def __str__(self) -> str:
        return f"{self.name} {self.ready}/{self.wanted}"


@dataclass(frozen=True, slots=True)
class Stuck:
    """A pod that is not ready: ``reason`` is Kubernetes's word, ``message`` its sentence."""

    pod: str
    container: str
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.pod}: {self.reason}" + (f" ({self.message})" if self.message else "")


def workload(deployment: Mapping[str, Any]) -> Workload:
    """A Deployment's JSON in short. One whose controller has not looked at the newest version yet has none ready."""
    meta, status = deployment["metadata"], deployment.get("status") or {}
    wanted = int(deployment["spec"].get("replicas", 1))
    seen = int(status.get("observedGeneration", 0)) >= int(meta.get("generation", 0))
    # Pods of the old version may be ready and go on serving: they are not what was asked for.
    ready = min(int(status.get("updatedReplicas", 0)), int(status.get("availableReplicas", 0))) if seen else 0
    if int(status.get("replicas", 0)) > wanted:
        ready = min(ready, wanted - 1) if wanted else 0
    return Workload(str(meta["name"]), wanted, ready)


def stuck(pod: Mapping[str, Any]) -> Stuck | None:
    """Why a pod's JSON is not ready, or None when it is (or is going)."""
    name, status = str(pod["metadata"]["name"]), pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp"):
        return None
    conditions = {item["type"]: item for item in status.get("conditions") or ()}
    if conditions.get("Ready", {}).get("status") == "True":
        return None
    for container in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
        state = container.get("state") or {}
        if "waiting" in state:
            reason, message = state["waiting"].get("reason", "Waiting"), state["waiting"].get("message", "")
            if reason not in ("PodInitializing", "ContainerCreating"):
                return Stuck(name, container["name"], SAME.get(reason, reason), _ended(container) or _short(message))
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return Stuck(name, "", scheduled.get("reason", "Pending"), _short(scheduled.get("message", "")))
    if status.get("reason"):
        return Stuck(name, "", status["reason"], _short(status.get("message", "")))
    first: Mapping[str, Any] = next(iter(status.get("containerStatuses") or ()), {})
    doing = "starts" if "running" in (first.get("state") or {}) else "is being made"
    return Stuck(name, str(first.get("name", "")), str(status.get("phase", "Pending")), doing)


def _ended(container: Mapping[str, Any]) -> str:
    last = (container.get("lastState") or {}).get("terminated")
    if not last:
        return ""
    return (
        f"{last.get('reason', 'ended')}, exit code {last.get('exitCode')}, {container.get('restartCount', 0)} restarts"
    )


def _short(text: str) -> str:
    return " ".join(text.split())[:300]


class Waiter:
    """Waits through ``api``, a ``kubernetes.client.ApiClient``; ``masked`` takes secrets out of what pods say."""

    def __init__(self, name: str, api: Any, masked: Callable[[str], str]) -> None:
        import kubernetes

        library: Any = kubernetes
        self.name, self._masked = name, masked
        self.core, self.apps = library.client.CoreV1Api(api), library.client.AppsV1Api(api)
        self._plain = api.sanitize_for_serialization

    def until_ready(self, names: Sequence[str], report: Reporter, seconds: float = READY_SECONDS) -> None:
        """Wait until every Deployment of ``names`` has all its pods ready.

        Raises:
            StepError: a pod is in a state that waiting does not mend; with its events and last log lines.
            DeadlineError: not all were within ``seconds``; with the same.
        """
        began, told = time.monotonic(), tuple[str, ...]()
        since: dict[tuple[str, str], float] = {}
        while True:
            found = [item for item in self._workloads() if item.name in names]
            missing = set(names) - {item.name for item in found}
            if not missing and all(item.ok for item in found):
                return
            waiting = [item for pod in self._pods() if (item := stuck(pod))]
            now = time.monotonic()
            since = first_seen(since, waiting, now)
            for item in waiting:
                if now - since.get((item.pod, item.reason), now) >= HOPELESS.get(item.reason, seconds):
                    raise StepError(self.name, f"start {item.pod}", self._told(item), remedy(item))
            line = _line(found, missing, waiting)
            state = (line.partition(";")[0], *(f"{item.pod} {item.reason}" for item in waiting))
            if state != told:
                report(Event("progress", STAGE, self._masked(line)))
                told = state
            if now - began > seconds:
                last = self._told(waiting[0]) if waiting else line
                raise DeadlineError(self.name, "the release's pods", seconds, last, "the same command waits on")
            time.sleep(POLL_SECONDS)

    def _workloads(self) -> list[Workload]:
        found = self._plain(self.apps.list_namespaced_deployment(NAMESPACE, _request_timeout=TIMEOUT))
        return [workload(item) for item in found["items"]]

    def _pods(self) -> list[dict[str, Any]]:
        # The release's own: users' and builds' pods come and go beside them.
        found = self._plain(
            self.core.list_namespaced_pod(
                NAMESPACE, label_selector="component in (hub,proxy,binder)", _request_timeout=TIMEOUT
            )
        )
        items: list[dict[str, Any]] = found["items"]
        return items

    def _told(self, item: Stuck) -> str:
        """What is known of a pod that does not start: its reason, its events, its last words."""
        lines = [str(item), *self._events(item.pod), *self._log(item)]
        return self._masked("\n".join(lines))

    def _events(self, pod: str) -> Iterable[str]:
        found = self._plain(
            self.core.list_namespaced_event(
                NAMESPACE, field_selector=f"involvedObject.name={pod},type=Warning", _request_timeout=TIMEOUT
            )
        )
        return [f"  {item['reason']}: {_short(item.get('message', ''))}" for item in found["items"][-3:]]

    def _log(self, item: Stuck) -> Iterable[str]:
        from kubernetes.client.exceptions import ApiException

        if not item.container:
            return []
        for previous in (False, True):
            try:
                text = self.core.read_namespaced_pod_log(
                    item.pod,
                    NAMESPACE,
                    container=item.container,
                    previous=previous,
                    tail_lines=LOG_LINES,
                    _request_timeout=TIMEOUT,
                )
            except ApiException:  # it has none: the container never ran, or not twice
                continue
            if text:
                return [f"  | {line}" for line in str(text).splitlines()]
        return []


def first_seen(
    since: Mapping[tuple[str, str], float], waiting: Iterable[Stuck], now: float
) -> dict[tuple[str, str], float]:
    """When each pod was first in a hopeless state. A container that crashes runs in between: the pod keeps its time
    until it is ready or gone."""
    pods = {item.pod for item in waiting}
    kept = {key: at for key, at in since.items() if key[0] in pods}
    fresh = {(item.pod, item.reason): now for item in waiting if item.reason in HOPELESS}
    return fresh | kept


def remedy(item: Stuck) -> str:
    """What to do about a pod that does not start."""
    if "Image" in item.reason:
        return "does the node reach the image's registry? see registry.mirrors in the inventory"
    return "mend it and run the same command again"


def _line(found: Sequence[Workload], missing: Iterable[str], waiting: Sequence[Stuck]) -> str:
    parts = [str(item) for item in found if not item.ok] + [f"{name} is not there" for name in sorted(missing)]
    why = f"; {waiting[0]}" if waiting else ""
    return f"waiting for {', '.join(parts)}{why}"
