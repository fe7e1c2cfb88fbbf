"""The BinderHub configuration that has launches begin in a line: a text for the chart's ``extraConfig``.

Upstream begins every launch at once. More servers that start at the same time than there are cores for are each as
slow as all of them together, and past the hub's timeouts they fail one after the other. In a line each is quick, the
first come is the first served, and who would wait too long is told so at once.
"""

from __future__ import annotations

from string import Template

from binder_node.spec.model import Spec

# A start is half waiting (for the scheduler, the kubelet, the first answer): two a core keep all cores busy.
STARTS_PER_CORE, LEAST_STARTS = 2, 4
# A start takes some five seconds when all cores are busy: who is further back in line waits more than a minute.
ROUNDS = 10
# Requests to hub and registry at once beside one for each launch of a full node.
MORE_CLIENTS = 50
# Seconds that the first in line waits. With the line moving, nobody is the first for so long: something is stuck.
PATIENCE = 120.0

_SOURCE = Template('''\
import asyncio
import json
import time
from datetime import datetime, timezone

from binderhub.quota import KubernetesLaunchQuota, LaunchQuotaExceeded, ServerQuotaCheck
from tornado.httpclient import AsyncHTTPClient


class LineLaunchQuota(KubernetesLaunchQuota):
    """Upstream's quotas, and a line: so many servers start at once, in the order in which they were asked for."""

    starts, longest = $starts, $longest
    patience = $patience
    # Seconds: between two looks of the first in line; after its container has begun, a server takes this long to be
    # up; a pod that has been pending for longer is pulling its image, which takes no core; and a pod that was let in
    # is seen by then.
    pause, rising, pulling, unseen = 0.25, 2.0, 30.0, 5.0

    def __init__(self, **more):
        super().__init__(**more)
        # Each launch under way holds one request to the hub, and the client has ten by default: the eleventh launch
        # waits without a word, and so does /health, until the redirector takes the member out.
        AsyncHTTPClient.configure(AsyncHTTPClient.configured_class(), max_clients=$clients)
        self._line = asyncio.Lock()  # first come, first served
        self._standing = self._total = 0
        self._let_in = []

    async def check_repo_quota(self, image_name, repo_config, repo_url):
        # With all who stand in line the node is full: better to be told at once than after the wait.
        if self._standing:
            self._refuse_when_full(self._total + self._standing)
        if self._standing >= self.longest:
            raise self._too_many(self._standing, repo_url)
        self._standing += 1
        try:
            async with self._line:
                return await self._first(image_name, repo_config, repo_url)
        finally:
            self._standing -= 1
            if not self._standing:
                self._total = 0  # nobody looks from here on

    async def _first(self, image_name, repo_config, repo_url):
        """The first in line looks until few enough are starting."""
        deadline = time.monotonic() + self.patience
        while True:
            pods = await self._pods()
            now = datetime.now(timezone.utc)
            coming = self._coming(pods, now)
            self._total = len(pods) + coming
            self._refuse_when_full(self._total)
            found = self._of_one_repository(pods, image_name, repo_config, repo_url)
            starting = coming + sum(self._starts(pod, now) for pod in pods)
            if starting < self.starts:
                self._let_in.append(now)
                return found
            if time.monotonic() >= deadline:
                raise self._too_many(starting, repo_url)
            await asyncio.sleep(self.pause)

    def _too_many(self, starting, repo_url):
        self.log.error("%s servers are starting or in line before that of %s", starting, repo_url)
        return LaunchQuotaExceeded(
            "Too many users start servers on this BinderHub at the moment. Try again in a minute.",
            quota=self.starts,
            used=starting,
            status="line",
        )

    async def _pods(self):
        asked = self.executor.submit(
            self.api.list_namespaced_pod,
            self.namespace,
            label_selector="app=jupyterhub,component=singleuser-server",
            resource_version="0",  # from the API server's memory
            _request_timeout=(3.05, 60),
            _preload_content=False,
        )
        return json.loads((await asyncio.wrap_future(asked)).read())["items"]

    def _coming(self, pods, now):
        """How many were let in whose pods are not there yet."""
        self._let_in = [at for at in self._let_in if (now - at).total_seconds() < self.unseen]
        if not self._let_in:
            return 0
        since = self._let_in[0].replace(microsecond=0)
        return max(0, len(self._let_in) - sum(_time(pod["metadata"]["creationTimestamp"]) >= since for pod in pods))

    def _starts(self, pod, now):
        if pod["status"].get("phase") == "Pending":
            return (now - _time(pod["metadata"]["creationTimestamp"])).total_seconds() < self.pulling
        running = [one.get("state", {}).get("running") for one in pod["status"].get("containerStatuses", [])]
        return any(one and (now - _time(one["startedAt"])).total_seconds() < self.rising for one in running)

    def _refuse_when_full(self, total):
        """Upstream's quota on pods in every phase, in upstream's words (binderhub/quota.py); so is the next one."""
        if self.total_quota is not None and total >= self.total_quota:
            self.log.error("BinderHub is full: %s/%s", total, self.total_quota)
            raise LaunchQuotaExceeded(
                "Too many users on this BinderHub! Try again soon.",
                quota=self.total_quota,
                used=total,
                status="pod_quota",
            )

    def _of_one_repository(self, pods, image_name, repo_config, repo_url):
        wanted, most = image_name.rsplit(":", 1)[0], repo_config.get("quota")
        same = sum(any(one["image"].rsplit(":", 1)[0] == wanted for one in pod["spec"]["containers"]) for pod in pods)
        if most and same >= most:
            self.log.error("%s has exceeded quota: %s/%s (%s total)", repo_url, same, most, len(pods))
            raise LaunchQuotaExceeded(
                f"Too many users running {repo_url}! Try again soon.", quota=most, used=same, status="repo_quota"
            )
        return ServerQuotaCheck(total=len(pods), matching=same, quota=most) if most else None


def _time(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


c.BinderHub.launch_quota_class = LineLaunchQuota
''')


def starts(cpus: int) -> int:
    """Servers that start at once on ``cpus`` cores."""
    return max(LEAST_STARTS, STARTS_PER_CORE * cpus)


def line_source(spec: Spec) -> str:
    """Python source for BinderHub's ``extraConfig``: the quota's class and the setting that selects it.

    ``LaunchQuota.total_quota`` stays the values' to say. Of a build the quota is asked twice, before it and before the
    launch; both times it stands in line. Read against binderhub b9fad995.
    """
    at_once = starts(spec.machine.cpus)
    clients = spec.binderhub.quota + MORE_CLIENTS
    return _SOURCE.substitute(starts=at_once, longest=ROUNDS * at_once, patience=PATIENCE, clients=clients)
