"""Members, asked as the redirector asks them: the same requests, attempts, timeouts and times between checks."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from binder_node.errors import StepError
from binder_node.federation.config import CheckRules, Federation, Member
from binder_node.federation.rules import (
    QUOTA,
    RETRY_SECONDS,
    UNKNOWN,
    Answer,
    Attempt,
    Verdict,
    judge,
    remembered,
    wait,
)

if TYPE_CHECKING:
    import httpx

# tornado's max_redirects, which the redirector leaves as it is.
REDIRECTS = 5
# Nothing of a BinderHub's /health or /versions is that long.
LONGEST = 1_000_000


@dataclass(frozen=True, slots=True)
class Checked:
    """One check of a member: what it answered, and what the redirector makes of it. ``at`` in seconds since 1970."""

    member: Member
    attempts: tuple[Attempt, ...]
    verdict: Verdict
    at: float
    seconds: float

    @property
    def pods(self) -> tuple[int, int | None] | None:
        """Pods and quota as last told; None where neither was."""
        for attempt in reversed(self.attempts):
            document = attempt.health.document if attempt.health else None
            checks = document.get("checks") if isinstance(document, dict) else None
            for check in checks if isinstance(checks, list) else ():
                if isinstance(check, dict) and check.get("service") == QUOTA and "total_pods" in check:
                    return check["total_pods"], check.get("quota")
        return None

    @property
    def slowest(self) -> float:
        """Seconds of the slowest answer: out of the timeout that it is given."""
        answers = [answer for attempt in self.attempts for answer in (attempt.versions, attempt.health) if answer]
        return max((answer.seconds for answer in answers), default=0.0)


@dataclass(frozen=True, slots=True)
class Way:
    """How members are reached. ``addresses`` says by host name where to connect in place of what DNS says; ``trust``
    whose certificates are taken, the public authorities' without it.
    """

    addresses: Mapping[str, str] = field(default_factory=dict)
    trust: ssl.SSLContext | None = None


def check(
    federation: Federation, names: Iterable[str] | None = None, *, way: Way | None = None, prime: Any = None
) -> tuple[Checked, ...]:
    """One check of each of ``names`` (none: all members), side by side, after one of the prime, whose versions they
    are held against. ``prime`` are its versions as seen before, for when it does not tell them now.

    A member that does not answer is out; nothing is raised for it.
    """
    chosen = set(names) if names is not None else {member.name for member in federation.members}
    return asyncio.run(_check(federation, chosen, way or Way(), prime))


async def _check(federation: Federation, names: set[str], way: Way, before: Any) -> tuple[Checked, ...]:
    async with _client(way) as client:
        first = await _one(client, federation.prime, federation.rules, before)
        versions = remembered(first.attempts, before)
        others = [one for one in federation.members if one.name in names and one is not federation.prime]
        found = await asyncio.gather(*(_one(client, one, federation.rules, versions) for one in others))
    by_name = {one.member.name: one for one in (first, *found)}
    return tuple(by_name[member.name] for member in federation.members if member.name in names)


def watch(
    federation: Federation,
    names: Iterable[str] | None,
    seen: Callable[[Checked], None],
    *,
    seconds: float | None = None,
    way: Way | None = None,
) -> None:
    """Check members again and again in the redirector's own rhythm, and hand each check to ``seen``.

    Ends after ``seconds``; None: never. The prime is checked in any case, and first. What ``seen`` raises ends it, and
    is raised.
    """
    chosen = set(names) if names is not None else {member.name for member in federation.members}
    try:
        asyncio.run(asyncio.wait_for(_watch(federation, chosen, seen, way or Way()), seconds))
    except TimeoutError:
        return
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


async def _watch(federation: Federation, names: set[str], seen: Callable[[Checked], None], way: Way) -> None:
    versions: Any = None

    async def once(client: httpx.AsyncClient, member: Member) -> float:
        nonlocal versions
        found = await _one(client, member, federation.rules, versions)
        if member is federation.prime:
            versions = remembered(found.attempts, versions)
        if member.name in names:
            seen(found)
        return wait(found.verdict.inside, federation.rules, random.random())

    async def follow(client: httpx.AsyncClient, member: Member, pause: float = 0.0) -> None:
        while True:
            await asyncio.sleep(pause)
            pause = await once(client, member)

    async with _client(way) as client, asyncio.TaskGroup() as tasks:
        pause = await once(client, federation.prime)
        for member in federation.members:
            if member is federation.prime:
                tasks.create_task(follow(client, member, pause))
            elif member.name in names:
                tasks.create_task(follow(client, member))


def active_hosts(url: str, *, timeout: float = 10.0, way: Way | None = None) -> tuple[str, ...]:
    """Names of the members that a running redirector sends people to, by its own word (``/active_hosts``).

    Raises StepError when ``url`` is no redirector's. A redirector with replicas answers for one of them.
    """
    answer = asyncio.run(_ask_once(f"{url.rstrip('/')}/active_hosts", timeout, way or Way()))
    hosts = answer.document.get("active_hosts") if isinstance(answer.document, dict) else None
    if not isinstance(hosts, dict):
        reason = answer.error or "the answer has no active_hosts"
        raise StepError(url, "ask the redirector for its members", reason, "is this the redirector's own address?")
    return tuple(hosts)


async def _ask_once(url: str, timeout: float, way: Way) -> Answer:
    async with _client(way) as client:
        return await _get(client, url, timeout)


async def _one(client: httpx.AsyncClient, member: Member, rules: CheckRules, prime: Any) -> Checked:
    """One check: as many attempts as the redirector makes, which are all of them unless there is a finding."""
    at, began = time.time(), time.monotonic()
    held = None if member.prime else prime
    attempts: list[Attempt] = []
    for number in range(rules.retries):
        attempts.append(await _attempt(client, member, rules))
        now = judge(attempts[-1:], held, rules)
        if not now.inside and now.cause != UNKNOWN:
            break
        if not now.inside and number + 1 < rules.retries:
            await asyncio.sleep(RETRY_SECONDS)
    verdict = judge(attempts, held, rules)
    return Checked(member, tuple(attempts), verdict, at, time.monotonic() - began)


async def _attempt(client: httpx.AsyncClient, member: Member, rules: CheckRules) -> Attempt:
    """Versions, then health. The redirector does not ask for health where the versions differ: here it is, to tell."""
    versions = await _get(client, member.versions, rules.timeout)
    if versions.error:
        return Attempt(versions)
    return Attempt(versions, await _get(client, member.health, rules.timeout))


async def _get(client: httpx.AsyncClient, url: str, timeout: float) -> Answer:
    import httpx

    began = time.monotonic()
    try:
        async with asyncio.timeout(timeout):
            document = await _document(client, url)
    except TimeoutError:
        return Answer(error=f"no answer within {timeout:g} s", seconds=time.monotonic() - began)
    except httpx.InvalidURL as error:
        return Answer(error=f"{url}: {error}", seconds=time.monotonic() - began)
    except (httpx.HTTPError, _NoDocumentError) as error:
        return Answer(error=str(error) or type(error).__name__, seconds=time.monotonic() - began)
    return Answer(document, seconds=time.monotonic() - began)


class _NoDocumentError(Exception):
    """An answer that the redirector raises an exception on; the message says what it was."""


async def _document(client: httpx.AsyncClient, url: str) -> Any:
    body = b""
    async with client.stream("GET", url) as answer:
        async for chunk in answer.aiter_bytes():
            body += chunk
            if len(body) > LONGEST:
                raise _NoDocumentError(f"an answer of more than {LONGEST} bytes")
    if not 200 <= answer.status_code < 300:
        raise _NoDocumentError(f"HTTP {answer.status_code} {answer.reason_phrase}{_failing(body)}")
    try:
        return json.loads(body)
    except ValueError:
        raise _NoDocumentError(f"HTTP {answer.status_code}, but no JSON: {_start(body)!r}") from None


def _failing(body: bytes) -> str:
    """What a 503 of /health says is wrong; the redirector itself sees the 503 only."""
    try:
        checks = json.loads(body)["checks"]
        failing = [str(check["service"]) for check in checks if not check["ok"]]
    except (ValueError, TypeError, KeyError):
        return f": {_start(body)}" if body else ""
    return f": {', '.join(failing)} not ok" if failing else ""


def _start(body: bytes) -> str:
    return " ".join(body[:200].decode("utf-8", "replace").split())[:100]


def _client(way: Way) -> httpx.AsyncClient:
    import httpx

    class At(httpx.AsyncBaseTransport):
        """Connects where ``way`` says; the name still is in ``Host``, SNI and the certificate's check."""

        def __init__(self, below: httpx.AsyncBaseTransport) -> None:
            self.below = below

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if address := way.addresses.get(request.url.host):
                request.extensions = {**request.extensions, "sni_hostname": request.url.host}
                request.url = request.url.copy_with(host=address)
            return await self.below.handle_async_request(request)

        async def aclose(self) -> None:
            await self.below.aclose()

    below = httpx.AsyncHTTPTransport(verify=way.trust or True)
    return httpx.AsyncClient(
        transport=At(below),
        follow_redirects=True,
        max_redirects=REDIRECTS,
        timeout=None,  # each request has the redirector's, as a whole
        headers={"User-Agent": "binder-node"},
    )
