"""The ``release`` source at work: one file over HTTP, into a part that the next attempt or process goes on with."""

from __future__ import annotations

import contextlib
import hashlib
import json
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from binder_node.artifacts.cache import Cache, disk
from binder_node.artifacts.checksums import find_digest
from binder_node.artifacts.recipe import Download
from binder_node.errors import BinderNodeError, DeadlineError, StepError
from binder_node.events import Event, Reporter

if TYPE_CHECKING:
    import httpx

_CHUNK = 1 << 18
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
    """An HTTP client, shared by threads, that only follows redirects from https to https."""

    def __init__(self, patience: Patience) -> None:
        import httpx

        def stay_secure(response: httpx.Response) -> None:
            following = response.next_request
            if following is not None and response.url.scheme == "https" and following.url.scheme != "https":
                raise StepError(
                    "here", f"fetch {response.url}", f"it redirects to {following.url}", "not https: refused"
                )

        self.patience = patience
        self._client = httpx.Client(
            follow_redirects=True,
            timeout=httpx.Timeout(patience.silence, connect=patience.connect),
            # identity: a digest is of the file, not of what a proxy makes of it on the way
            headers={"Accept-Encoding": "identity", "User-Agent": "binder-node"},
            event_hooks={"response": [stay_secure]},
        )

    def close(self) -> None:
        self._client.close()

    # --- a checksum list -------------------------------------------------------------------------------------

    def digest_of(self, download: Download) -> str:
        """Ask the vendor's checksum list. StepError if there is none or it does not have the file."""
        step = f"look up the digest of {download.file}"
        if download.checksums is None:
            remedy = "add sha256 = ... to its entry in a pins overlay (--pins FILE)"
            raise StepError("here", step, "the pins have neither a digest nor a checksum list", remedy)
        text = self._retried(step, lambda: self._text(step, str(download.checksums)))
        found = find_digest(text, download.file)
        if found is None:
            raise StepError(
                "here", step, f"{download.checksums} has no line for it", "compare the pin's url with the list"
            )
        return found

    def _text(self, step: str, url: str) -> str:
        with self._open(step, url, {}) as response:
            _refuse(step, response, (200,))
            body = b""
            for chunk in response.iter_raw(_CHUNK):
                body += chunk
                if len(body) > _LIST_MAX:
                    raise StepError("here", step, f"{url} is no checksum list: more than {_LIST_MAX} bytes")
            return body.decode("utf-8", "replace")

    # --- a file ----------------------------------------------------------------------------------------------

    def fetch(self, download: Download, sha256: str, cache: Cache, part: Path, report: Reporter, label: str) -> None:
        """Make ``part`` the whole file with this digest, going on from what is there.

        Raises StepError (unreachable, refused, cut off, wrong digest: then the part is removed) or DeadlineError
        (silence).
        """
        step = f"fetch {download.file}"
        transfer = _Transfer(self, download, cache, part, report, label, step)
        with disk(step, cache.root):
            resumed = part.exists() and part.stat().st_size > 0
            if resumed and _hash(part) == sha256:
                return
            self._retried(step, transfer.go_on, lambda: part.stat().st_size if part.exists() else 0)
            seen = _hash(part)
            if seen != sha256 and resumed:  # what lay there was not of this file: once more from nothing
                report(Event("warn", "artifacts", f"{label}: the resumed file is wrong; fetching it from the start"))
                transfer.forget()
                self._retried(step, transfer.go_on, lambda: part.stat().st_size if part.exists() else 0)
                seen = _hash(part)
            if seen != sha256:
                transfer.forget()
                reason = f"wrong digest: {download.url} has sha256 {seen}, expected {sha256}"
                raise StepError(
                    "here", step, reason, "do not use it; compare with the vendor's list before changing pins"
                )

    # --- what both share -------------------------------------------------------------------------------------

    def _open(self, step: str, url: str, headers: dict[str, str]) -> contextlib.AbstractContextManager[httpx.Response]:
        del step
        return self._client.stream("GET", url, headers=headers)

    def _retried(self, step: str, attempt: Any, progress: Any = lambda: 0) -> Any:
        """Call ``attempt`` until it succeeds; only tries that brought nothing new count against ``attempts``."""
        import httpx

        left, had = self.patience.attempts, progress()
        while True:
            try:
                return attempt()
            except httpx.TransportError as error:
                now = progress()
                left, had = (self.patience.attempts, now) if now > had else (left - 1, had)
                if left <= 0:
                    raise self._explained(step, error) from error
                time.sleep(self.patience.pause * 2 ** (self.patience.attempts - left))

    def _explained(self, step: str, error: httpx.TransportError) -> BinderNodeError:
        import httpx

        url = str(error.request.url)
        if isinstance(error, httpx.ReadTimeout):
            return DeadlineError("here", f"bytes from {url}", self.patience.silence, "it fell silent", _REACH)
        if isinstance(error, httpx.TimeoutException):
            return DeadlineError("here", f"a connection to {url}", self.patience.connect, str(error), _REACH)
        if isinstance(error, httpx.RemoteProtocolError):
            return StepError("here", step, f"{url} broke off: {error}", "run it again: it goes on from there")
        cause = _certificate(error)
        if cause is not None:
            return StepError("here", step, f"{url}: {cause}", "check the clock; SSL_CERT_FILE names a CA of your own")
        return StepError("here", step, f"{url} cannot be reached: {error}", _REACH)


@dataclass(slots=True)
class _Transfer:
    """One file's attempts. Beside the part lies ``.etag``: what the server called the file the part is of."""

    web: Web
    download: Download
    cache: Cache
    part: Path
    report: Reporter
    label: str
    step: str

    @property
    def _tag(self) -> Path:
        return self.part.with_name(self.part.name + ".etag")

    def forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self._tag.unlink(missing_ok=True)

    def go_on(self) -> None:
        """One request for what is missing, appended to the part."""
        have = self.part.stat().st_size if self.part.exists() else 0
        headers = {}
        if have:
            headers["Range"] = f"bytes={have}-"
            if self._tag.exists():
                headers["If-Range"] = json.loads(self._tag.read_text(encoding="utf-8"))
        with self.web._open(self.step, self.download.url, headers) as response:
            if response.status_code == 416:
                if response.headers.get("Content-Range") == f"bytes */{have}":
                    return
                self.forget()
                have = 0
                with self.web._open(self.step, self.download.url, {}) as again:
                    self._receive(again, 0)
                return
            self._receive(response, have)

    def _receive(self, response: httpx.Response, have: int) -> None:
        _refuse(self.step, response, (200, 206))
        if response.status_code == 200:  # no ranges here, or the file has changed since
            have = 0
        length = int(response.headers.get("Content-Length") or 0)
        self.cache.room(length, self.download.file)
        etag = response.headers.get("ETag") or response.headers.get("Last-Modified")
        if etag and not etag.startswith("W/"):
            self._tag.write_text(json.dumps(etag), encoding="utf-8")
        total, last = have + length if length else 0, time.monotonic()
        try:
            with self.part.open("ab" if have else "wb", buffering=0) as file:
                for chunk in response.iter_raw(_CHUNK):
                    file.write(chunk)
                    have += len(chunk)
                    if time.monotonic() - last >= _EVERY:
                        last = time.monotonic()
                        self._tell(have, total)
        except OSError:
            self.forget()  # a full disk hurts everything else on the machine: give the room back
            raise
        self._tell(have, total)

    def _tell(self, done: int, total: int) -> None:
        data = {"name": self.label, "done": done, "total": total, "unit": "bytes"}
        self.report(Event("progress", "artifacts", f"{self.label}: {done} of {total or '?'} bytes", data))


def _refuse(step: str, response: httpx.Response, good: tuple[int, ...]) -> None:
    """StepError for a status that asking again will not better; TransportError, to be tried again, for the rest."""
    import httpx

    if response.status_code in good:
        return
    reason = f"{response.url} answers {response.status_code} {response.reason_phrase}"
    if response.status_code == 429 or response.status_code >= 500:
        raise httpx.RemoteProtocolError(reason, request=response.request)
    gone = "the vendor has moved or removed it" if response.status_code in (404, 410) else "it is not given out"
    raise StepError("here", step, reason, f"{gone}: name another url or version in a pins overlay, or --source module")


def _certificate(error: BaseException) -> ssl.SSLError | None:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLError):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def web(patience: Patience) -> Iterator[Web]:
    """A :class:`Web` that is closed at the end."""
    client = Web(patience)
    try:
        yield client
    finally:
        client.close()
