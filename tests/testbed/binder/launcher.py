"""Starts a server for an image through JupyterHub's API, as a temporary user."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable
from typing import Any as AnyType
from urllib.parse import quote

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.web import HTTPError
from traitlets import Integer, Unicode
from traitlets.config import LoggingConfigurable

from . import names

Event = dict[str, AnyType]


class Launcher(LoggingConfigurable):
    """Talks to the hub at ``hub_url_local``; users are sent to ``hub_url``. Both end in a slash."""

    hub_api_token = Unicode()
    hub_url = Unicode()
    hub_url_local = Unicode()
    retries = Integer(4, config=True)
    retry_delay = Integer(4, config=True, help="Seconds; doubled with each retry.")
    launch_timeout = Integer(600, config=True)

    async def api_request(self, path: str, **options: AnyType) -> AnyType:
        """One request to the hub's API; answers of 500 and above are asked again."""
        request = HTTPRequest(
            f"{self.hub_url_local}hub/api/{path}", headers={"Authorization": f"token {self.hub_api_token}"}, **options
        )
        delay = self.retry_delay
        for attempt in range(1, self.retries + 1):
            try:
                return await AsyncHTTPClient().fetch(request)
            except HTTPClientError as error:
                if attempt > 1 and error.code == 409 and error.response:
                    return error.response  # the first try had done it
                if error.code < 500 or attempt == self.retries:
                    raise
                self.log.error("hub API %s: %s; again in %s s", path, error, delay)
                await asyncio.sleep(delay)
                delay *= 2
        raise AssertionError("unreachable")

    async def launch(
        self, image: str, repo_url: str, extra: Event, on_event: Callable[[Event], Awaitable[None]]
    ) -> Event:
        """Create a user, start its server, follow the spawn; returns what ``ready`` tells: url, token, image, ..."""
        user = names.user_name(repo_url)
        at = f"users/{quote(user, safe='@~')}"
        try:
            await self.api_request(at, method="POST", body=b"")
        except HTTPClientError as error:
            self.log.error("creating user %s: %s", user, error)
            raise HTTPError(500, f"Failed to create temporary user for {image}") from error
        data = {"image": image, "repo_url": repo_url, "token": secrets.token_urlsafe(16), **extra}
        try:
            await self.api_request(f"{at}/servers/", method="POST", body=json.dumps(data).encode())
            await self._follow(at, image, user, on_event)
        except HTTPClientError as error:
            self.log.error("starting the server of %s: %s", user, error)
            raise HTTPError(500, f"Failed to launch image {image}") from error
        return {**data, "url": f"{self.hub_url}user/{quote(user, safe='@~')}/"}

    async def _follow(self, at: str, image: str, user: str, on_event: Callable[[Event], Awaitable[None]]) -> None:
        """Pass the spawn's progress on until the hub says that the server is ready, or failed."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        rest = b""

        def take(chunk: bytes) -> None:
            nonlocal rest
            *blocks, rest = (rest + chunk).split(b"\n\n")
            for block in blocks:
                if block.startswith(b"data:"):
                    queue.put_nowait(json.loads(block[5:]))

        request = asyncio.ensure_future(
            self.api_request(f"{at}/server/progress", streaming_callback=take, request_timeout=self.launch_timeout)
        )
        request.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while True:
                event = await asyncio.wait_for(queue.get(), self.launch_timeout)
                if event is None:
                    await request  # raises what went wrong
                    raise HTTPError(500, f"Image {image} for user {user} failed to launch")
                await on_event(event)
                if event.get("ready"):
                    return
                if event.get("failed"):
                    raise HTTPError(500, event.get("message", "unknown error"))
        except TimeoutError:
            raise HTTPError(500, f"Image {image} for user {user} took too long to launch") from None
        finally:
            request.cancel()
