"""The application: configuration as upstream's, and what the handlers share."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any as AnyType
from typing import ClassVar

from tornado.httpclient import AsyncHTTPClient, HTTPClientError
from tornado.httpserver import HTTPServer
from tornado.log import app_log, enable_pretty_logging
from tornado.web import Application as WebApplication
from traitlets import Any, Bool, Dict, Integer, Type, Unicode, default, validate
from traitlets.config import Application

from . import handlers, names, quota, tokens
from .build import BuildExecutor, KubernetesBuildExecutor, KubernetesCleaner
from .events import EventLog
from .handlers import BuildHandler
from .launcher import Launcher
from .quota import KubernetesLaunchQuota, LaunchQuota, RateLimiter
from .registry import DockerRegistry

CHECK_SECONDS = 15  # a health check's answer is kept so long
PODS_SECONDS = 60  # and the pod count


class BinderHub(Application):
    """The stand-in. Traits that upstream has and this lacks are warned about at the start and have no effect."""

    name = "binderhub"
    aliases: ClassVar[dict[str, str]] = {"config": "BinderHub.config_file"}
    classes: ClassVar[list[type]] = [
        KubernetesBuildExecutor,
        KubernetesCleaner,
        LaunchQuota,
        KubernetesLaunchQuota,
        RateLimiter,
        DockerRegistry,
        Launcher,
        EventLog,
    ]

    config_file = Unicode("binderhub_config.py", config=True)
    port = Integer(8585, config=True)
    base_url = Unicode("/", config=True)
    hub_url = Unicode(config=True, help="Where users find JupyterHub; ends in a slash.")
    hub_url_local = Unicode(config=True, help="Where this service finds it.")
    hub_api_token = Unicode(config=True)
    auth_enabled = Bool(False, config=True)
    use_registry = Bool(True, config=True)
    image_prefix = Unicode(config=True)
    banner_message = Unicode("", config=True)
    about_message = Unicode("", config=True)
    per_repo_quota = Integer(0, config=True)
    concurrent_build_limit = Integer(32, config=True)
    executor_threads = Integer(5, config=True, help="For short calls that block, like those to Kubernetes.")
    launch_quota_class = Type(KubernetesLaunchQuota, klass=LaunchQuota, config=True)
    build_class = Type(KubernetesBuildExecutor, klass=BuildExecutor, config=True)
    build_cleaner_class = Type(KubernetesCleaner, config=True, allow_none=True)
    build_cleanup_interval = Integer(60, config=True)
    build_token_secret = Any(config=True, help="Signs build tokens; a text is hexadecimal.")
    build_token_expires_seconds = Integer(300, config=True)
    build_namespace = Unicode(config=True)
    build_node_selector = Dict({}, config=True)
    template_path = Unicode("", config=True)
    cors_allow_origin = Unicode("", config=True)

    @default("hub_url_local")
    def _default_hub_url_local(self) -> str:
        return self.hub_url

    @default("hub_api_token")
    def _default_hub_api_token(self) -> str:
        return os.environ.get("JUPYTERHUB_API_TOKEN", "")

    @default("build_token_secret")
    def _default_build_token_secret(self) -> bytes:
        return secrets.token_bytes(32)

    @validate("build_token_secret")
    def _build_token_key(self, proposal: AnyType) -> bytes:
        return tokens.key(proposal["value"])

    @default("build_namespace")
    def _default_build_namespace(self) -> str:
        return os.environ.get("BUILD_NAMESPACE", "default")

    def initialize(self, argv: list[str] | None = None) -> None:
        """Read the command line and the configuration, and make what the handlers share."""
        super().initialize(argv)
        if self.config_file:
            self.load_config_file(os.path.abspath(self.config_file))
        enable_pretty_logging()
        AsyncHTTPClient.configure("tornado.curl_httpclient.CurlAsyncHTTPClient")
        for url in ("hub_url", "hub_url_local"):
            setattr(self, url, getattr(self, url).rstrip("/") + "/")
        # A build takes two threads: one watches the pod, one its log.
        self.build_pool = ThreadPoolExecutor(self.concurrent_build_limit * 2)
        self.registry = DockerRegistry(parent=self)
        self.executor = ThreadPoolExecutor(self.executor_threads)
        self.launch_quota = self.launch_quota_class(parent=self, executor=self.executor)
        self.rate_limiter = RateLimiter(parent=self)
        self.event_log = EventLog(parent=self)
        self.launcher = Launcher(
            parent=self, hub_url=self.hub_url, hub_url_local=self.hub_url_local, hub_api_token=self.hub_api_token
        )
        self._kept: dict[str, tuple[float, AnyType]] = {}

    def start(self) -> None:
        """Serve until SIGTERM."""
        asyncio.run(self.serve())

    async def serve(self) -> None:
        """Listen, clean up after builds, and return after SIGTERM or SIGINT."""
        self.example_builder = self.build_class(parent=self)
        server = HTTPServer(self.web(), xheaders=True)
        server.listen(self.port)
        app_log.info("BinderHub stand-in on port %s", self.port)
        if self.build_cleaner_class is not None:
            cleaner = self.build_cleaner_class(parent=self)
            threading.Thread(target=cleaner.run_forever, args=(self.build_cleanup_interval,), daemon=True).start()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await stop.wait()
        server.stop()
        os._exit(0)  # threads that watch build pods wait for up to a minute

    def web(self) -> WebApplication:
        """The routes."""
        base, own = self.base_url.rstrip("/"), {"hub": self}
        return WebApplication(
            [
                (base + r"/versions", handlers.VersionHandler, own),
                (base + r"/health", handlers.HealthHandler, own),
                (base + r"/metrics", handlers.MetricsHandler, own),
                (base + r"/v2/(git|gh)/(.+)", handlers.LaunchPageHandler, own),
                (base + r"/build/([^/]+)/(.+)", BuildHandler, own),
                (base + r"/.*", handlers.PageHandler, own),
            ],
            cookie_secret=secrets.token_bytes(32),
        )

    async def health(self) -> list[dict[str, AnyType]]:
        """The checks of ``/health``."""
        checks = [
            {"service": "JupyterHub API", "ok": await self._fresh("hub", CHECK_SECONDS, self._hub_answers)},
            {"service": "Pod quota", **await self._fresh("pods", PODS_SECONDS, self._pod_quota)},
        ]
        if self.use_registry:
            ok = await self._fresh("registry", CHECK_SECONDS, self._registry_answers)
            checks.insert(0, {"service": "Docker registry", "ok": ok})
        return checks

    async def _fresh(self, key: str, seconds: float, ask: AnyType) -> AnyType:
        until, value = self._kept.get(key, (0.0, None))
        if time.monotonic() >= until:
            value = await ask()
            self._kept[key] = (time.monotonic() + seconds, value)
        return value

    async def _hub_answers(self) -> bool:
        return await handlers.hub_answers(self.hub_url_local)

    async def _registry_answers(self) -> bool:
        try:
            await self.registry.get_image_manifest(*names.split_image(self.image_prefix + "some-image-name:12345"))
        except (HTTPClientError, OSError):
            app_log.exception("registry check")
            return False
        return True

    async def _pod_quota(self) -> dict[str, AnyType]:
        users, builds = await asyncio.gather(self.launch_quota.pods(quota.USERS), self.launch_quota.pods(quota.BUILDS))
        total, limit = len(users) + len(builds), self.launch_quota.total_quota
        return {
            "total_pods": total,
            "build_pods": len(builds),
            "user_pods": len(users),
            "quota": limit,
            "ok": limit is None or total <= limit,
            "_ignore_failure": True,
        }
