"""The ``release`` source at work: one file over HTTP, into a part that the next attempt or process goes on with."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from binder_node.artifacts.cache import Cache, digest, disk
from binder_node.artifacts.checksums import find_digest
from binder_node.artifacts.recipe import Download
from binder_node.errors import DeadlineError, StepError
from binder_node.events import Event, Reporter

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
_EVERY = 0.25  # seconds between two progress events
_LIST_MAX = 1 << 20  # bytes; a checksum list is a few kB, an error page served as one may be anything
_REACH = "check the network, `https_proxy`, or use --source module or a bundle (docs/how-to/run-without-internet.md)"


@dataclass(frozen=True, slots=True)
class Patience:
    """``connect`` and ``silence``: seconds to wait for a connection, and for the next bytes. ``attempts``: how often to
    go on after a failure that brought nothing; ``pause``: seconds before the second, doubled for each further one."""

    connect: float = 10.0
    silence: float = 30.0
    attempts: int = 3
    pause: float = 1.0


class Web:
    """An HTTP client, shared by threads, that never follows a redirect away from https.

    ``halt``, once set, ends what is under way at its next bytes. ``reach`` is what to do where nobody answers.
    """

    def __init__(self, patience: Patience, halt: threading.Event | None = None, reach: str = _REACH) -> None:
        import httpx

        self.patience, self.reach = patience, reach
        self.halt = halt or threading.Event()
        self._client = httpx.Client(
            follow_redirects=True,
            timeout=httpx.Timeout(patience.silence, connect=patience.connect),
            # identity: a digest is of the file, not of what a proxy makes of it on the way
            headers={"Accept-Encoding": "identity", "User-Agent": "binder-node"},
            event_hooks={"response": [_stay_secure]},
        )

    def close(self) -> None:
        self._client.close()

    def stream(self, url: str, headers: Mapping[str, str] | None = None) -> AbstractContextManager[httpx.Response]:
        """One GET whose body is still to be read."""
        return self._client.stream("GET", url, headers=headers)

    def digest_of(self, download: Download) -> str:
        """Ask the vendor's checksum list. StepError if there is none or it does not have the file."""
        doing = f"look up the digest of {download.file}"
        if download.checksums is None:
            remedy = "add sha256 = ... to its entry in a pins overlay (--pins FILE)"
            raise StepError("here", doing, "the pins have neither a digest nor a checksum list", remedy)
        url = download.checksums
        found = find_digest(self.retried(doing, lambda: self._text(doing, url)), download.file)
        if found is None:
            reason = f"{download.checksums} has no line for it"
            raise StepError("here", doing, reason, "compare the pin's url with the list")
        return found

    def _text(self, doing: str, url: str) -> str:
        with self.stream(url) as response:
            _refuse(doing, response, (200,))
            body = b""
            for chunk in response.iter_raw():
                body += chunk
                if len(body) > _LIST_MAX:
                    raise StepError("here", doing, f"{url} is no checksum list: more than {_LIST_MAX} bytes")
            return body.decode("utf-8", "replace")

    def retried(self, doing: str, attempt: Callable[[], T], progress: Callable[[], int] = lambda: 0) -> T:
        """Call ``attempt`` until it succeeds; only tries that brought nothing new count against ``attempts``."""
        import httpx

        left, had = self.patience.attempts, progress()
        while True:
            try:
                return attempt()
            except httpx.InvalidURL as error:
                raise StepError("here", doing, str(error), "mend the url in the pins") from error
            except (httpx.RequestError, httpx.HTTPStatusError) as error:
                now = progress()
                left, had = (self.patience.attempts, now) if now > had else (left - 1, had)
                if left <= 0:
                    raise self._explained(doing, error) from error
                if self.halt.wait(self.patience.pause * 2 ** (self.patience.attempts - left)):
                    raise StepError("here", doing, "stopped", "run it again: it goes on from there") from error

    def _explained(self, doing: str, error: httpx.RequestError | httpx.HTTPStatusError) -> StepError:
        import httpx

        url = str(error.request.url)
        match error:
            case httpx.HTTPStatusError():
                return StepError("here", doing, str(error), "the server has troubles: try again later")
            case httpx.ReadTimeout():
                return DeadlineError("here", f"bytes from {url}", self.patience.silence, "it fell silent", self.reach)
            case httpx.TimeoutException():
                return DeadlineError("here", f"a connection to {url}", self.patience.connect, "no answer", self.reach)
            case httpx.ConnectError() if (cause := _certificate(error)) is not None:
                remedy = "check the clock; SSL_CERT_FILE names a CA of your own"
                return StepError("here", doing, f"{url}: {cause}", remedy)
            case httpx.ConnectError():
                return StepError("here", doing, f"{url} cannot be reached: {error}", self.reach)
        return StepError("here", doing, f"{url} broke off: {error}", "run it again: it goes on from there")


@dataclass(slots=True)
class Transfer:
    """One file on its way into ``part``. Beside that lies ``.etag``: what the server called the file the part is of.

    ``label`` is the artifact's name in progress events.
    """

    web: Web
    download: Download
    sha256: str
    cache: Cache
    part: Path
    report: Reporter
    label: str

    def run(self) -> None:
        """Make ``part`` the whole file with the digest, going on from what is there.

        Raises StepError (unreachable, refused, cut off, disk full; wrong digest: then the part is removed) or
        DeadlineError (silence).
        """
        with disk(self._doing, self.cache.root):
            resumed = self._have() > 0
            if not (resumed and digest(self.part) == self.sha256):
                self._complete(resumed)
        self._tag.unlink(missing_ok=True)

    def _complete(self, resumed: bool) -> None:
        self.web.retried(self._doing, self._go_on, self._have)
        seen = digest(self.part)
        if seen != self.sha256 and resumed:  # what lay there was not of this file
            self.report(
                Event("warn", "artifacts", f"{self.label}: what was there is damaged; fetching all of it again")
            )
            self._forget()
            self.web.retried(self._doing, self._go_on, self._have)
            seen = digest(self.part)
        if seen != self.sha256:
            self._forget()
            reason = f"wrong digest: {self.download.url} has sha256 {seen}, expected {self.sha256}"
            remedy = "it was thrown away; compare with the vendor's own list before you change a pin"
            raise StepError("here", self._doing, reason, remedy)

    @property
    def _doing(self) -> str:
        return f"fetch {self.download.file}"

    @property
    def _tag(self) -> Path:
        return self.part.with_name(self.part.name + ".etag")

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self._tag.unlink(missing_ok=True)

    def _go_on(self) -> None:
        """One request for what is missing, appended to the part."""
        have = self._have()
        headers = {"Range": f"bytes={have}-"} if have else {}
        if have and self._tag.exists():
            headers["If-Range"] = self._tag.read_text(encoding="utf-8")
        with self.web.stream(self.download.url, headers) as response:
            if response.status_code != 416:
                self._receive(response, have)
                return
            if response.headers.get("Content-Range") == f"bytes */{have}":
                return
        self._forget()  # the part is longer than the file: it is of another
        with self.web.stream(self.download.url) as response:
            self._receive(response, 0)

    def _receive(self, response: httpx.Response, have: int) -> None:
        _refuse(self._doing, response, (200, 206))
        if response.status_code == 200:  # no ranges here, or the file has changed since
            have = 0
        length = int(response.headers.get("Content-Length") or 0)
        self.cache.room(length, self.download.file)
        tag = response.headers.get("ETag") or response.headers.get("Last-Modified")
        if tag and not tag.startswith("W/"):
            self._tag.write_text(tag, encoding="utf-8")
        try:
            self._append(response, have, have + length if length else 0)
        except OSError:
            self._forget()  # a full disk hurts everything else on the machine: give the room back
            raise

    def _append(self, response: httpx.Response, done: int, total: int) -> None:
        last = 0.0
        with self.part.open("ab" if done else "wb", buffering=0) as file:
            for chunk in response.iter_raw():  # as it comes: a chunk size would drop what it holds at a break
                file.write(chunk)
                done += len(chunk)
                if self.web.halt.is_set():
                    raise StepError("here", self._doing, "stopped", "run it again: it goes on from there")
                if time.monotonic() - last >= _EVERY or done == total:
                    last = time.monotonic()
                    data = {"name": self.label, "done": done, "total": total, "unit": "bytes"}
                    message = f"{self.label}: {done / 1e6:.1f} of {total / 1e6:.1f} MB"
                    self.report(Event("progress", "artifacts", message, data))


def _stay_secure(response: httpx.Response) -> None:
    if not response.has_redirect_location or response.url.scheme != "https":
        return
    target = response.url.join(response.headers["Location"])
    if target.scheme != "https":
        remedy = "refused, since it is not https: name another url in a pins overlay"
        raise StepError("here", f"fetch {response.url}", f"it redirects to {target}", remedy)


def _refuse(doing: str, response: httpx.Response, good: tuple[int, ...]) -> None:
    """StepError for a status that asking again will not better, HTTPStatusError for one that it may."""
    import httpx

    if response.status_code in good:
        return
    reason = f"{response.url} answers {response.status_code} {response.reason_phrase}"
    if response.status_code == 429 or response.status_code >= 500:
        raise httpx.HTTPStatusError(reason, request=response.request, response=response)
    gone = "the vendor has moved or removed it" if response.status_code in (404, 410) else "it is not given out"
    raise StepError("here", doing, reason, f"{gone}: name another url or version in a pins overlay, or --source module")


def _certificate(error: BaseException) -> ssl.SSLError | None:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLError):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None
