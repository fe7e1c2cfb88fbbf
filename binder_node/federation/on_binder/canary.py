"""Build one repository as this BinderHub would, but on another build image: one question, one answer (JSON).

Sent as text and run by BinderHub's own Python in its pod, with its own configuration and its own build executor: the
build pod is the same as that of any launch, engine, limits and credentials included. Nothing newer than Python 3.9.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any

ANSWER = "binder-node-canary "
# Waiting does not mend these, once they have lasted for the question's `patience`: a registry may be slow to answer.
HOPELESS = (
    "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "CreateContainerConfigError",
    "CreateContainerError", "RunContainerError",
)  # fmt: skip
LINES = 15
LOOK = 3.0  # seconds between two looks at a pod that does not run yet


def executor(question: dict[str, Any], queue: Any) -> Any:
    """The build, by this BinderHub's configuration."""
    hub = importlib.import_module("binderhub.app").BinderHub()
    hub.load_config_file(question["config"])
    build = hub.build_class(
        parent=hub,
        q=queue,
        name=question["pod"],
        repo_url=question["url"],
        ref=question["ref"],
        image_name=hub.image_prefix + question["name"],
        git_credentials="",
    )
    build.build_image = question["image"]
    return build


def waiting(build: Any) -> tuple[str, str]:
    """Why the pod's container does not run: Kubernetes's word and its sentence; empty where it does, or is gone."""
    rest = importlib.import_module("kubernetes.client.rest")
    try:
        pod = build.api.read_namespaced_pod(build.name, build.namespace, _request_timeout=(3, 20))
    except rest.ApiException:
        return "", ""
    for status in (pod.status.init_container_statuses or []) + (pod.status.container_statuses or []):
        if status.state and status.state.waiting:
            return status.state.waiting.reason or "", status.state.waiting.message or ""
    return ("Pending", "it is not scheduled") if pod.status.phase == "Pending" else ("", "")


def ended(build: Any) -> str:
    """What Kubernetes says of a build's container that has ended."""
    for status in build.pod.status.container_statuses or [] if build.pod.status else []:
        over = status.state.terminated if status.state else None
        if over:
            return f"{over.reason or 'ended'}, exit code {over.exit_code}" + (
                f": {over.message}" if over.message else ""
            )
    return ""


async def stuck(build: Any, submitted: Any, since: list[float], patience: float, pool: Any) -> str:
    """Why waiting on will not help; empty where it may. ``since`` is when the pod was first seen hopeless."""
    if submitted.done() and submitted.exception():
        return f"its pod cannot be made: {submitted.exception()}"
    reason, message = await asyncio.get_running_loop().run_in_executor(pool, waiting, build)
    since[:] = (since or [time.monotonic()]) if reason in HOPELESS else []
    if since and time.monotonic() - since[0] >= patience:
        return f"its pod does not start: {reason}: {message}"
    return ""


async def watched(build: Any, queue: Any, seconds: float, patience: float) -> str:
    """Why the build failed; empty when it did not."""
    kinds = importlib.import_module("binderhub.build").ProgressEvent
    loop, pool = asyncio.get_running_loop(), ThreadPoolExecutor(4)
    log, deadline, hopeless = Log(), time.monotonic() + seconds, list[float]()
    submitted = loop.run_in_executor(pool, build.submit)
    streaming, looked = None, time.monotonic()
    while time.monotonic() < deadline:
        # By the clock: a pod that waits has events too.
        if streaming is None and time.monotonic() - looked > LOOK:
            looked = time.monotonic()
            if why := await stuck(build, submitted, hopeless, patience, pool):
                return why
        try:
            event = await asyncio.wait_for(queue.get(), LOOK)
        except asyncio.TimeoutError:  # noqa: UP041 - another one before Python 3.11
            continue
        if event.kind == kinds.Kind.LOG_MESSAGE:
            log.take(event.payload)
        elif event.payload == kinds.BuildStatus.BUILT:
            return log.text() if log.failed else ""
        elif event.payload == kinds.BuildStatus.FAILED:
            await asyncio.sleep(2)  # the log's last lines say why
            while not queue.empty():
                late = queue.get_nowait()
                if late.kind == kinds.Kind.LOG_MESSAGE:
                    log.take(late.payload)
            return log.text() or ended(build) or "the build failed and said nothing"
        elif event.payload == kinds.BuildStatus.RUNNING and streaming is None:
            streaming = loop.run_in_executor(pool, build.stream_logs)
    reason, message = await loop.run_in_executor(pool, waiting, build)
    return f"no end within {seconds:.0f} s" + (f"; its pod: {reason} {message}" if reason else "")


class Log:
    """The last lines of repo2docker's log, and whether it said that it failed."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=LINES)
        self.failed = False

    def take(self, line: str) -> None:
        found = said(line)
        self.failed = self.failed or found.get("phase") in ("failed", "failure")
        if text := str(found.get("message", "")).rstrip():
            self.lines.append(text)

    def text(self) -> str:
        return "\n".join(self.lines)


def said(line: str) -> dict[str, Any]:
    """A line of repo2docker's JSON log."""
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"message": line}


async def main(question: dict[str, Any]) -> None:
    """Build, tidy up, and answer."""
    queue: Any = asyncio.Queue()
    build, began = executor(question, queue), time.monotonic()
    try:
        why = await watched(build, queue, question["seconds"], question["patience"])
    finally:
        build.stop()
        build.cleanup()
    print(ANSWER + json.dumps({"ok": not why, "why": why, "seconds": round(time.monotonic() - began, 1)}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
    os._exit(0)  # threads that watch the pod wait for up to a minute
