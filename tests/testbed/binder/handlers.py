"""The HTTP API: ``/build``, ``/health``, ``/versions``, ``/metrics`` and a page."""

from __future__ import annotations

import asyncio
import html
import json
import time
from http.client import responses
from typing import TYPE_CHECKING
from typing import Any as AnyType

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from tornado.httpclient import AsyncHTTPClient, HTTPClientError
from tornado.iostream import StreamClosedError
from tornado.log import app_log
from tornado.web import Finish, HTTPError, RequestHandler

from . import __version__, metrics, names, quota, tokens
from .build import ProgressEvent
from .providers import Repo, SpecError
from .repoproviders import RepoProvider

if TYPE_CHECKING:
    from .app import BinderHub

Status = ProgressEvent.BuildStatus
KEEPALIVE_SECONDS = 25
LINGER_SECONDS = 60  # the stream stays open after a build, so that a client closes it first and does not reconnect


class Base(RequestHandler):
    """What every handler has: the application object."""

    hub: BinderHub

    def initialize(self, hub: BinderHub) -> None:
        self.hub = hub

    def set_default_headers(self) -> None:
        self.set_header("access-control-allow-headers", "cache-control")


class VersionHandler(Base):
    """``/versions``: compared as a whole by the federation's redirector."""

    def get(self) -> None:
        self.set_header("Access-Control-Allow-Origin", "*")
        info = self.hub.example_builder.builder_info
        answer = {"builder_info": info, "binderhub": __version__}
        if "build_image" in info:
            answer["builder"] = info["build_image"]
        self.write(answer)


class HealthHandler(Base):
    """``/health``: 503 when the registry or the hub does not answer; the pod quota is told and does not count."""

    async def get(self) -> None:
        checks = await self.hub.health()
        ok = all(check["ok"] for check in checks if not check.get("_ignore_failure"))
        self.set_status(200 if ok else 503)
        self.write({"ok": ok, "checks": checks})

    async def head(self) -> None:
        await self.get()


class MetricsHandler(Base):
    """``/metrics`` for Prometheus."""

    def get(self) -> None:
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.write(generate_latest())


class PageHandler(Base):
    """Any other path: a page that says what this is."""

    def get(self) -> None:
        banner = self.hub.banner_message  # HTML, by its definition
        self.write(
            f"<!doctype html><title>BinderHub stand-in</title>{banner}<h1>BinderHub stand-in</h1>"
            f"<p>{html.escape(__version__)}: the testbed's, not BinderHub itself.</p>"
        )


class LaunchPageHandler(Base):
    """``/v2/<provider>/<spec>``: the page that launches, with its build token in the page's configuration."""

    def get(self, provider: str, _spec: str) -> None:
        spec = f"{provider}/" + self.request.path.split(f"/v2/{provider}/", 1)[1]
        hub = self.hub
        token = tokens.mint(hub.build_token_secret, spec, self.request.headers, hub.build_token_expires_seconds)
        page = {"baseUrl": hub.base_url, "bannerHtml": hub.banner_message, "buildToken": token}
        # Tokens are base64url and dots; upstream's filter writes what could end the script as \\u003c and the like.
        text = json.dumps(page).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
        self.write(f"<!doctype html><title>BinderHub stand-in</title><script>\nwindow.pageConfig = {text};\n</script>")


class BuildHandler(Base):
    """``/build/<provider>/<spec>``: an event stream that ends in ``ready`` or ``failed``; always HTTP 200."""

    build: AnyType = None
    image: str = ""

    def set_default_headers(self) -> None:
        super().set_default_headers()
        self.set_header("content-type", "text/event-stream")
        self.set_header("cache-control", "no-cache")

    def prepare(self) -> None:
        # As upstream splits it: parameters are parted by semicolons, a list of types is not understood.
        accepted = {part.strip().lower() for part in self.request.headers.get("Accept", "").split(";")}
        if "text/event-stream" not in accepted:
            raise HTTPError(400, "Missing Accept header: text/event-stream")

    def send_error(self, status_code: int = 500, **kwargs: AnyType) -> None:
        """A stream has no status of its own left to set: the error is its last event."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        message = (error.log_message if isinstance(error, HTTPError) else "") or responses.get(status_code, "Unknown")
        event = {"phase": "failed", "status_code": status_code, "message": f"{message}\n"}
        self.write(f"data: {json.dumps(event)}\n\n")
        self.finish()

    def on_finish(self) -> None:
        if self.build is not None:
            self.build.stop()

    async def emit(self, event: dict[str, AnyType] | str) -> None:
        try:
            self.write(f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n")
            await self.flush()
        except StreamClosedError:
            raise Finish from None

    async def fail(self, message: str) -> None:
        await self.emit({"phase": "failed", "message": f"{message}\n"})

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(KEEPALIVE_SECONDS)
            try:
                self.write(":keepalive\n\n")
                await self.flush()
            except (StreamClosedError, RuntimeError):
                return

    async def get(self, provider: str, _spec: str) -> None:
        # From the raw path: tornado has unquoted the slashes of the URL inside.
        spec = self.request.path.split(f"/build/{provider}/", 1)[1]
        token = self.get_argument("build_token", None)
        known = tokens.check(self.hub.build_token_secret, token, f"{provider}/{spec}", self.request.headers)
        spec = spec.rstrip("/")
        if not known and not self.hub.rate_limiter.admit(self.request.remote_ip):
            seconds = self.hub.rate_limiter.period_seconds
            raise HTTPError(429, f"Rate limit exceeded. Try again in {seconds} seconds.")
        if provider not in ("git", "gh"):
            await self.fail(f"No provider found for prefix {provider}")
            return
        keeping = asyncio.create_task(self._keep_alive())
        try:
            await self._serve(provider, spec, bool(known))
        except quota.LaunchQuotaExceeded as error:
            await self.fail(error.message)
        finally:
            keeping.cancel()

    async def _serve(self, provider: str, spec: str, known: bool) -> None:
        try:
            repo = Repo.parse(provider, spec)
        except SpecError as error:
            await self.fail(str(error))
            return
        if RepoProvider(repo, spec).is_banned():
            await self.fail(f"Sorry, {spec} is not allowed to launch. Please contact admins for more info!")
            return
        try:
            ref = await repo.resolve()
        except (RuntimeError, OSError) as error:
            await self.fail(f"Error resolving ref for {provider}:{spec}: {error}")
            return
        if ref is None:
            await self.fail(
                f"Could not resolve ref for {provider}:{spec}. Double check your URL and that your repo is public."
            )
            return
        self.image = names.image_name(self.hub.image_prefix, repo.slug, ref)
        extra = {
            "binder_ref_url": repo.url,
            "binder_launch_host": f"{self.request.protocol}://{self.request.host}{self.hub.base_url}",
            "binder_request": f"v2/{provider}/{spec}",
            "binder_persistent_request": f"v2/{provider}/{repo.path}/{ref}",
            "binder_client_ip": self.request.remote_ip,
        }
        if await self._image_exists():
            message = "Found built image, launching...\n"
            await self.emit({"phase": "built", "imageName": self.image, "message": message})
            await self._launch(repo, extra)
            self._tell(repo, spec, ref, known)
            return
        await self._check_quota(repo)
        if await self._build(repo, ref):
            await self._launch(repo, extra)
            self._tell(repo, spec, ref, known)
        await asyncio.sleep(LINGER_SECONDS)

    def _tell(self, repo: Repo, spec: str, ref: str, known: bool) -> None:
        """The launch event (binderhub/event-schemas/launch.json, version 6)."""
        origin = self.request.headers.get("Origin")
        self.hub.event_log.emit(
            {
                "provider": repo.provider,
                "spec": spec,
                "ref": ref,
                "status": "success",
                "build_token": known,
                "origin": self.request.host,
                "request_origin": self.request.headers.get("Sec-Fetch-Site", "") if origin is None else origin,
            }
        )

    async def _image_exists(self) -> bool:
        path, tag = names.split_image(self.image)
        for _ in range(3):
            try:
                return await self.hub.registry.get_image_manifest(path, tag) is not None
            except HTTPClientError:
                app_log.exception("asking for the manifest of %s", self.image)
        return False

    async def _check_quota(self, repo: Repo) -> None:
        try:
            config = {"quota": self.hub.per_repo_quota}
            await self.hub.launch_quota.check_repo_quota(self.image, config, repo.url)
        except quota.LaunchQuotaExceeded as error:
            metrics.LAUNCH_COUNT.labels(error.status, *_labels(repo)).inc()
            raise

    async def _build(self, repo: Repo, ref: str) -> bool:
        """Run the build, or join it, and stream it; whether there is an image now."""
        queue: asyncio.Queue[ProgressEvent] = asyncio.Queue()
        build = self.build = self.hub.build_class(
            parent=self.hub,
            q=queue,
            name=names.build_name(repo.slug, ref),
            repo_url=repo.url,
            ref=ref,
            image_name=self.image,
        )
        loop = asyncio.get_running_loop()

        async def guarded(work: AnyType) -> None:
            try:
                await loop.run_in_executor(self.hub.build_pool, work)
            except Exception:  # noqa: BLE001 - whatever it was, the stream must end with it
                app_log.exception("build %s", build.name)
                text = "Unhandled error watching for build events. Please try again.\n"
                event = json.dumps({"phase": "failed", "message": text})
                queue.put_nowait(ProgressEvent(ProgressEvent.Kind.LOG_MESSAGE, event))
                queue.put_nowait(ProgressEvent(ProgressEvent.Kind.BUILD_STATUS_CHANGE, Status.FAILED))

        tasks, began = [asyncio.create_task(guarded(build.submit))], time.perf_counter()
        with metrics.BUILDS_INPROGRESS.track_inprogress():
            await self.emit({"phase": "waiting", "message": "Waiting for build to start...\n"})
            built = await self._follow(
                queue, build, lambda: tasks.append(asyncio.create_task(guarded(build.stream_logs)))
            )
        status = "success" if built else "failure"
        metrics.BUILD_TIME.labels(status).observe(time.perf_counter() - began)
        metrics.BUILD_COUNT.labels(status, *_labels(repo)).inc()
        return built

    async def _follow(self, queue: asyncio.Queue[ProgressEvent], build: AnyType, start_logs: AnyType) -> bool:
        logging = failed = False
        while True:
            progress = await queue.get()
            if progress.kind is ProgressEvent.Kind.LOG_MESSAGE:
                failed = failed or json.loads(progress.payload).get("phase") in ("failure", "failed")
                await self.emit(progress.payload)
            elif progress.payload is Status.BUILT:
                if not failed:
                    message = "Built image, launching...\n"
                    await self.emit({"phase": "built", "imageName": build.image_name, "message": message})
                return not failed
            elif progress.payload is Status.RUNNING and not logging:
                logging = True
                start_logs()
            elif progress.payload is Status.FAILED:
                await asyncio.sleep(1)  # the log's last lines say why
                while not queue.empty():
                    late = queue.get_nowait()
                    if late.kind is ProgressEvent.Kind.LOG_MESSAGE:
                        await self.emit(late.payload)
                await self.emit({"phase": "failed"})
                return False

    async def _launch(self, repo: Repo, extra: dict[str, AnyType]) -> None:
        await self._check_quota(repo)
        await self.emit({"phase": "launching", "message": "Launching server...\n"})

        async def tell(event: dict[str, AnyType]) -> None:
            await self.emit({"phase": "launching", "message": f"{event.get('message', '')}\n"})

        launcher, delay = self.hub.launcher, self.hub.launcher.retry_delay
        with metrics.LAUNCHES_INPROGRESS.track_inprogress():
            for attempt in range(launcher.retries):
                began = time.perf_counter()
                try:
                    ready = await launcher.launch(self.image, repo.url, extra, tell)
                    break
                except HTTPError as error:
                    app_log.error("launch of %s, attempt %s: %r", repo.url, attempt + 1, error)
                    last = attempt + 1 == launcher.retries
                    metrics.LAUNCH_TIME.labels("failure" if last else "retry", -1).observe(time.perf_counter() - began)
                    if last:
                        metrics.LAUNCH_COUNT.labels("failure", *_labels(repo)).inc()
                        raise
                    await self.emit(
                        {"phase": "launching", "message": f"Launch attempt {attempt + 1} failed, retrying...\n"}
                    )
                    await asyncio.sleep(delay)
                    delay *= 2
        metrics.LAUNCH_TIME.labels("success", attempt).observe(time.perf_counter() - began)
        metrics.LAUNCH_COUNT.labels("success", *_labels(repo)).inc()
        await self.emit({"phase": "ready", "message": f"server running at {ready['url']}\n", **ready})


def _labels(repo: Repo) -> tuple[str, str]:
    return repo.provider, repo.url


async def hub_answers(url: str) -> bool:
    """Whether JupyterHub's API says that it is well."""
    try:
        await AsyncHTTPClient().fetch(f"{url}hub/api/health", request_timeout=3)
    except (HTTPClientError, OSError):
        return False
    return True
