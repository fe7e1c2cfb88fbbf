"""A running BinderHub's HTTP API, reached by the node's address under its public names."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from binder_node.binder.repo import parse_repo
from binder_node.binder.stream import BuildEvent, StreamError, events
from binder_node.errors import DeadlineError, StepError

__all__ = ["Binder", "BuildEvent", "parse_repo"]

# BinderHub splits at semicolons only: any list of types is refused.
ACCEPT = "text/event-stream"
CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 30.0
# A keepalive comes every 25 s: three of them missing is a dead stream.
SILENCE_SECONDS = 90.0
# A build is given an hour (KubernetesCleaner.max_age), a launch ten minutes (singleuser.startTimeout), three times.
BUILD_SECONDS = 3600 + 3 * 600.0


class AnswerError(StepError):
    """An answer that is none of those that were wanted; ``status`` is HTTP's."""

    def __init__(self, host: str, step: str, answer: httpx.Response, remedy: str = "") -> None:
        self.status = answer.status_code
        super().__init__(host, step, told(answer), remedy)


class _At(httpx.BaseTransport):
    """Connects to one address whatever the name: the name still is in ``Host``, SNI and the certificate's check."""

    def __init__(self, address: str, below: httpx.BaseTransport) -> None:
        self._address, self._below = address, below

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions = {**request.extensions, "sni_hostname": request.url.host}
        request.url = request.url.copy_with(host=self._address)
        return self._below.handle_request(request)

    def close(self) -> None:
        self._below.close()


class Binder:
    """One BinderHub. ``base_url`` is its public one; ``connect_to`` an address to connect to in place of what DNS says.

    Every method raises StepError when nobody answers or the answer is none of BinderHub's, and DeadlineError when it
    takes too long: ``patience`` is how many seconds an answer may (a build's stream has its own). ``trust`` says whose
    certificates are taken; none: those of public authorities.
    """

    def __init__(
        self,
        base_url: str,
        connect_to: str | None = None,
        *,
        patience: float = ANSWER_SECONDS,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self.base_url, self.connect_to = base_url.rstrip("/"), connect_to or None
        self.name = urlsplit(base_url).hostname or base_url
        self.patience, self.trust = patience, trust
        self._breakable: set[socket.socket] = set()
        below = httpx.HTTPTransport(verify=trust or True)
        self.http = httpx.Client(
            transport=_At(self.connect_to, below) if self.connect_to else below,
            timeout=httpx.Timeout(patience, connect=CONNECT_SECONDS),
            headers={"User-Agent": "binder-node"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.http.close()

    def versions(self) -> dict[str, Any]:
        """``{"binderhub": ..., "builder_info": {"build_image": ...}}``: what the redirector compares."""
        return self._json("/versions", (200,))

    def health(self) -> dict[str, Any]:
        """``{"ok": bool, "checks": [{"service": str, "ok": bool, ...}]}``; unhealthy is an answer, no error."""
        return self._json("/health", (200, 503))

    def _json(self, path: str, good: tuple[int, ...]) -> dict[str, Any]:
        answer = self.request("GET", f"{self.base_url}{path}", f"ask BinderHub for {path}")
        try:
            found = answer.json() if answer.status_code in good else None
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise AnswerError(self.name, f"ask BinderHub for {path}", answer, "is it up? see `binder-node status`")
        return found

    def request(self, method: str, url: str, what: str, **more: Any) -> httpx.Response:
        """One request, its connection's failures as ours. ``what`` is done by it, for the message."""
        with self.failures(what):
            return self.http.request(method, url, **more)

    @contextlib.contextmanager
    def failures(self, what: str, seconds: float | None = None) -> Iterator[None]:
        """The connection's failures within the block, as ours. ``seconds`` is how long an answer could take."""
        try:
            yield
        except httpx.ReadTimeout:
            raise DeadlineError(self.name, f"an answer ({what})", seconds or self.patience) from None
        except httpx.TimeoutException:
            raise DeadlineError(self.name, f"a connection ({what})", CONNECT_SECONDS) from None
        except httpx.HTTPError as error:
            where = f" at {self.connect_to}" if self.connect_to else ""
            raise StepError(self.name, what, f"{error or type(error).__name__}{where}", "is it up?") from None

    def build(
        self,
        path: str,
        *,
        silence: float = SILENCE_SECONDS,
        seconds: float = BUILD_SECONDS,
        token: str = "",
        origin: str = "",
    ) -> Iterator[BuildEvent]:
        """Build and launch what :func:`parse_repo` gave; events as they come, the last one ``ready`` or ``failed``.

        ``token`` is a build token, of the page at ``origin``: with them it asks as that page's browser would. The
        connection is closed after the last one, as BinderHub wants it, or when the caller stops listening.

        Raises:
            StepError: the stream broke off, or is none.
            DeadlineError: nothing came for ``silence`` seconds, not even a keepalive; or no end within ``seconds``.
        """
        what, deadline = f"launch {path}", time.monotonic() + seconds
        timeout = httpx.Timeout(silence, connect=CONNECT_SECONDS)
        url = f"{self.base_url}/build/{path}" + (f"?build_token={token}" if token else "")
        headers = {"Accept": ACCEPT, **({"Origin": origin} if origin else {})}
        last = ""
        with (
            self.failures(what, silence),
            self.http.stream("GET", url, headers=headers, timeout=timeout) as answer,
            self.breakable(_socket(answer)),
        ):
            if answer.status_code != 200 or not answer.headers.get("content-type", "").startswith(ACCEPT):
                answer.read()
                raise AnswerError(self.name, what, answer, "is this BinderHub's address?")
            try:
                for event in events(self._until(answer, deadline, what, seconds)):
                    last = event.phase
                    yield event
                    if event.last:
                        return
            except StreamError as error:
                raise StepError(self.name, what, f"BinderHub sent {error}") from None
        raise StepError(
            self.name, what, f"the stream broke off after {last or 'no event'}", "was BinderHub restarted? launch again"
        )

    def member(self, path: str) -> str:
        """The URL of the member that a redirector sends a build of ``path`` to.

        Raises:
            StepError, DeadlineError: nobody answers, or it is no redirector (an AnswerError).
        """
        what = "ask the redirector for a member"
        url = f"{self.base_url}/build/{path}"
        with self.failures(what), self.http.stream("GET", url, headers={"Accept": ACCEPT}) as answer:
            place = answer.headers.get("location", "")
            base, found, _ = place.partition("/build/")
            if not answer.is_redirect or not found or not base.startswith("http"):
                if answer.status_code != 200:
                    answer.read()
                raise AnswerError(self.name, what, answer, "is this a redirector's address?")
            return str(base)

    def _until(self, answer: httpx.Response, deadline: float, what: str, seconds: float) -> Iterator[bytes]:
        for chunk in answer.iter_bytes():
            if time.monotonic() > deadline:
                raise DeadlineError(self.name, f"the end of it ({what})", seconds)
            yield chunk

    @contextlib.contextmanager
    def breakable(self, connection: socket.socket | None) -> Iterator[None]:
        """Let :meth:`hang_up` break ``connection`` within the block."""
        if connection is None:
            yield
            return
        self._breakable.add(connection)
        try:
            yield
        finally:
            self._breakable.discard(connection)

    def hang_up(self) -> None:
        """Break what is listened to now, from another thread: whoever listens gets a StepError at once."""
        for connection in tuple(self._breakable):
            with contextlib.suppress(OSError):
                # Not the TLS socket's own shutdown, which would take its state away from under the listener.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def connect(self, url: str) -> socket.socket | None:
        """A connected socket for ``url`` where an address takes the place of DNS; None where DNS does."""
        if not self.connect_to:
            return None
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme in ("https", "wss") else 80)
        try:
            return socket.create_connection((self.connect_to, port), CONNECT_SECONDS)
        except OSError as error:
            raise StepError(self.name, f"connect to {self.connect_to}", error.strerror or str(error)) from None


def _socket(answer: httpx.Response) -> socket.socket | None:
    stream = answer.extensions.get("network_stream")
    found = stream.get_extra_info("socket") if stream is not None else None
    return found if isinstance(found, socket.socket) else None


def told(answer: httpx.Response) -> str:
    """An answer that is not what was wanted, in a line."""
    said = " ".join(answer.text.split())[:200] if answer.is_closed or answer.is_stream_consumed else ""
    return f"HTTP {answer.status_code} {answer.reason_phrase}" + (f": {said}" if said else "")
