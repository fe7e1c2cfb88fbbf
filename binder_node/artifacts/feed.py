"""Vendors' feeds of releases over HTTP: one small client, with deadlines, and their rate limits told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from binder_node.artifacts.download import Web
from binder_node.errors import DeadlineError, StepError
from binder_node.secrets.masked import Masked

if TYPE_CHECKING:
    import httpx

# Versions of GitHub's API are kept for two years and more; https://docs.github.com/rest/about-the-rest-api/api-versions
GITHUB_HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
# GitHub's most a page; with 60 requests an hour for who has no token, few pages count.
PER_PAGE = 100
# A project's newest release is on the first page or two; what goes on for longer is no list of releases.
PAGES = 10
LONGEST = 32 << 20  # bytes; 100 of K3s's releases are about 6 MB, JupyterHub's chart index less
SECONDS = 60.0  # for one whole answer, however slowly it drips
# A limit that is lifted within this many seconds is waited for.
SHORT = 10.0
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class LimitedError(StepError):
    """A feed's rate limit is used up."""


@dataclass(frozen=True, slots=True)
class Answer:
    """``next`` is the URL of the following page, empty where there is none."""

    text: str
    next: str = ""


class Feeds:
    """Asks vendors' feeds. Safe to use from several threads. A limit that was met is not run into again.

    ``github`` is the API's URL; ``token`` one of GitHub's, which is sent there alone.
    """

    def __init__(
        self, web: Web, github: str, token: Masked | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.web, self.github, self.token, self.clock = web, github.rstrip("/"), token, clock
        self._limited: dict[str, LimitedError] = {}
        self._lock = threading.Lock()

    def github_pages(self, repository: str) -> Iterator[tuple[str, str]]:
        """Pages of a repository's releases, each with its URL, as long as somebody reads on.

        Raises StepError: refused, unreachable, limited, no end; DeadlineError: silent, or too slow.
        """
        url, doing = self._releases(repository) + f"?per_page={PER_PAGE}", f"look for releases of {repository}"
        for _ in range(PAGES):
            answer = self.get(doing, url)
            yield answer.text, url
            if not answer.next:
                return
            url = answer.next
        raise StepError("here", doing, f"{url}: there is no end of pages", "is that GitHub's API? see --github")

    def github_tag(self, repository: str, tag: str) -> tuple[str, str]:
        """One release, and its URL. Raises as :meth:`github_pages`."""
        url = f"{self._releases(repository)}/tags/{quote(tag, safe='')}"
        return self.get(f"look for {tag} of {repository}", url).text, url

    def get(self, doing: str, url: str) -> Answer:
        """One document. ``doing`` is what it is asked for, for messages.

        Raises StepError: refused, unreachable, limited; DeadlineError: silent, or too slow.
        """
        host = urlsplit(url).netloc
        with self._lock:
            if known := self._limited.get(host):
                raise LimitedError("here", doing, known.reason, known.remedy)
        try:
            return self.web.retried(doing, lambda: self._patiently(doing, url))
        except LimitedError as error:
            with self._lock:
                self._limited[host] = error
            raise

    def _releases(self, repository: str) -> str:
        return f"{self.github}/repos/{repository}/releases"

    def _patiently(self, doing: str, url: str) -> Answer:
        """Wait once for a limit that is lifted soon."""
        with self._asked(url) as response:
            wait = limited(response.status_code, response.headers, self.clock())
            if wait is None:
                return self._read(doing, url, response)
            error = self._explained(doing, url, response, wait)
        if wait > SHORT or self.web.halt.wait(wait):
            raise error
        with self._asked(url) as response:
            wait = limited(response.status_code, response.headers, self.clock())
            if wait is not None:
                raise self._explained(doing, url, response, wait)
            return self._read(doing, url, response)

    def _asked(self, url: str) -> AbstractContextManager[httpx.Response]:
        return self.web.stream(url, {"Accept-Encoding": "gzip", **self._headers(url)})

    def _headers(self, url: str) -> Mapping[str, str]:
        """GitHub's, and the token where nobody on the way can read it."""
        own, there = urlsplit(self.github), urlsplit(url)
        if there.netloc != own.netloc:
            return {}
        safe = there.scheme == "https" or there.hostname in LOOPBACK
        return GITHUB_HEADERS | ({"Authorization": f"Bearer {self.token.reveal()}"} if self.token and safe else {})

    def _read(self, doing: str, url: str, response: httpx.Response) -> Answer:
        import httpx

        ends, body = time.monotonic() + SECONDS, b""
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > LONGEST:
                raise StepError("here", doing, f"{url} answers more than {LONGEST >> 20} MB", "is that the feed?")
            if time.monotonic() > ends:
                raise DeadlineError("here", f"all of {url}", SECONDS, f"{len(body)} bytes came", "try again later")
        text = body.decode("utf-8", "replace")
        if response.status_code == 200:
            return Answer(text, self._next(doing, url, response))
        reason = f"{url} answers {response.status_code} {response.reason_phrase}"
        if response.status_code >= 500:
            raise httpx.HTTPStatusError(reason, request=response.request, response=response)
        raise StepError("here", doing, f"{reason}{said(text)}", self._remedy(response.status_code))

    def _next(self, doing: str, url: str, response: httpx.Response) -> str:
        """The next page by the ``Link`` header; never on another host, where the token is not meant for."""
        following = str(response.links.get("next", {}).get("url", ""))
        if following and urlsplit(following)[:2] != urlsplit(url)[:2]:
            raise StepError("here", doing, f"{url} goes on at {following}, which is another host", "see --github")
        return following

    def _remedy(self, status: int) -> str:
        if status == 401:
            return "GITHUB_TOKEN is not taken: make another one, or unset it"
        return "it was moved or removed, or is not given out; what is pinned stays as it is"

    def _explained(self, doing: str, url: str, response: httpx.Response, wait: float) -> LimitedError:
        until = datetime.fromtimestamp(self.clock() + wait, UTC)
        most = response.headers.get("x-ratelimit-limit")
        how = f"its limit of {most} requests an hour is used up" if most else "it takes no more requests for now"
        remedy = "try again then"
        if not self.token and urlsplit(url).netloc == urlsplit(self.github).netloc:
            remedy += ", or set GITHUB_TOKEN: with one, a token without any right, the limit is higher"
        return LimitedError("here", doing, f"{urlsplit(url).netloc}: {how} until {until:%H:%M:%S} UTC", remedy)


def limited(status: int, headers: Mapping[str, str], now: float) -> float | None:
    """Seconds until a rate limit is lifted; None for an answer that is none of a limit's.

    By https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api: 403 or 429, then ``retry-after``
    (seconds), else ``x-ratelimit-reset`` (seconds since 1970) where none remains, else a minute at least.

    >>> limited(403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1600"}, 1000.0)
    600.0
    """
    if status not in (403, 429):
        return None
    if (after := _number(headers.get("retry-after"))) is not None:
        return after
    reset = _number(headers.get("x-ratelimit-reset"))
    if headers.get("x-ratelimit-remaining") == "0" and reset is not None:
        return max(0.0, reset - now)
    return 60.0 if status == 429 else None


def _number(text: str | None) -> float | None:
    return float(text) if text and text.isdecimal() else None


def said(text: str) -> str:
    """GitHub's own word on a refusal, in brackets; empty where there is none."""
    import json

    try:
        found: Any = json.loads(text)
    except ValueError:
        return ""
    return f" ({found['message']})" if isinstance(found, dict) and isinstance(found.get("message"), str) else ""
