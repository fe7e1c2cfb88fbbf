"""Limits on sessions (``LaunchQuota``) and on requests (``RateLimiter``)."""

from __future__ import annotations

import json
import os
import time
from typing import Any as AnyType
from typing import NamedTuple

from tornado.ioloop import IOLoop
from traitlets import Any, Integer, Unicode, default
from traitlets.config import LoggingConfigurable

from .build import BUILD_LABEL, KUBE_TIMEOUT, core_api

USERS = "app=jupyterhub,component=singleuser-server"
BUILDS = f"component={BUILD_LABEL}"


class LaunchQuotaExceeded(Exception):
    """``message`` is for the person who waits; ``status`` is the quota's name in the metrics."""

    def __init__(self, message: str, *, quota: int, used: int, status: str) -> None:
        super().__init__()
        self.message, self.quota, self.used, self.status = message, quota, used, status


class ServerQuotaCheck(NamedTuple):
    """What a check that was passed found: servers, those of the same repository, and how many of these may be."""

    total: int
    matching: int
    quota: int | None


class LaunchQuota(LoggingConfigurable):
    """No limit."""

    executor = Any(allow_none=True, help="Where calls that block are run.")
    total_quota = Integer(None, allow_none=True, config=True, help="None: no limit; 0: nothing may be launched.")

    async def check_repo_quota(
        self, image_name: str, repo_config: dict[str, AnyType], repo_url: str
    ) -> ServerQuotaCheck | None:
        """Raise :class:`LaunchQuotaExceeded` when one more session would be too many."""
        del image_name, repo_config, repo_url
        return None


class KubernetesLaunchQuota(LaunchQuota):
    """Counts pods in every phase, as upstream does: one that has ended but is still there counts."""

    api = Any()
    namespace = Unicode(config=True)

    @default("api")
    def _default_api(self) -> AnyType:
        return core_api()

    @default("namespace")
    def _default_namespace(self) -> str:
        return os.environ.get("BUILD_NAMESPACE", "default")

    async def pods(self, selector: str) -> list[dict[str, AnyType]]:
        """The namespace's pods with these labels, as plain JSON."""

        def fetch() -> list[dict[str, AnyType]]:
            answer = self.api.list_namespaced_pod(
                self.namespace, label_selector=selector, _preload_content=False, _request_timeout=KUBE_TIMEOUT
            )
            return list(json.loads(answer.read())["items"])

        return await IOLoop.current().run_in_executor(self.executor, fetch)

    async def check_repo_quota(
        self, image_name: str, repo_config: dict[str, AnyType], repo_url: str
    ) -> ServerQuotaCheck | None:
        repo_quota = repo_config.get("quota")
        if self.total_quota is None and not repo_quota:
            return None
        pods = await self.pods(USERS)
        if self.total_quota is not None and len(pods) >= self.total_quota:
            self.log.error("BinderHub is full: %s/%s", len(pods), self.total_quota)
            message = "Too many users on this BinderHub! Try again soon."
            raise LaunchQuotaExceeded(message, quota=self.total_quota, used=len(pods), status="pod_quota")
        wanted = image_name.rpartition(":")[0]
        same = sum(any(c["image"].rpartition(":")[0] == wanted for c in pod["spec"]["containers"]) for pod in pods)
        if repo_quota and same >= repo_quota:
            self.log.error("%s has exceeded quota: %s/%s", repo_url, same, repo_quota)
            message = f"Too many users running {repo_url}! Try again soon."
            raise LaunchQuotaExceeded(message, quota=repo_quota, used=same, status="repo_quota")
        return ServerQuotaCheck(len(pods), same, repo_quota)


class RateLimiter(LoggingConfigurable):
    """Requests for builds by address: ``limit`` in each window of ``period_seconds``; 0 means no limit."""

    period_seconds = Integer(3600, config=True)
    limit = Integer(10, config=True)

    def __init__(self, **kwargs: AnyType) -> None:
        super().__init__(**kwargs)
        self._windows: dict[str, tuple[float, int]] = {}

    def admit(self, key: str) -> bool:
        """Count one request of ``key``; whether it is within the limit."""
        if not self.limit:
            return True
        now = time.monotonic()
        self._windows = {k: w for k, w in self._windows.items() if w[0] > now}
        until, used = self._windows.get(key, (now + self.period_seconds, 0))
        self._windows[key] = (until, used + 1)
        return used < self.limit
