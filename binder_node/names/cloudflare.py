"""A zone at Cloudflare. https://developers.cloudflare.com/api/resources/dns/subresources/records/

A record's owner stands in its comment. All edits go in one batch, which is taken whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from binder_node.errors import StepError
from binder_node.names.base import missing_zone
from binder_node.names.records import KINDS, Edit, Found, Record, mark, owner_of
from binder_node.secrets.masked import Masked
from binder_node.spec.model import CloudflareDns

if TYPE_CHECKING:
    import httpx

SECONDS = 15.0
# A request is tried again for so long; the API's limit is counted over five minutes.
PATIENCE = 60.0
PAGE = 100
LATER, BROKEN = 429, 500
REMEDIES = {
    400: "is the token whole? it is an API token, not the global key",
    401: "make a token with the permission DNS, edit, for the zone",
    403: "make a token with the permission DNS, edit, for the zone",
    429: "the account asks too often; try again in five minutes",
}
# What is asked for by a name that the proxy answers for leads to Cloudflare, whatever the record says.
PROXIED = " (behind Cloudflare's proxy)"


class Again(Exception):
    """After this answer the same request may be sent again, in ``seconds`` or when it seems right. Stays in here."""

    def __init__(self, failed: StepError, seconds: float | None) -> None:
        self.failed, self.seconds = failed, seconds
        super().__init__(str(failed))


@dataclass(slots=True)
class Cloudflare:
    """``patience``: seconds for which a request is tried again."""

    node: str
    dns: CloudflareDns
    token: Masked
    patience: float = PATIENCE
    _zone: str = field(default="", init=False)

    def read(self, names: Iterable[str]) -> list[Found]:
        """Raises StepError."""
        with self._client() as client:
            path = f"/zones/{self._zone_id(client)}/dns_records"
            rows: dict[str, Mapping[str, Any]] = {}
            for asked in [*({"name.exact": name} for name in names), {"comment.exact": mark(self.node)}]:
                rows |= {row["id"]: row for row in self._pages(client, path, asked)}
        return found(rows.values())

    def write(self, edits: Sequence[Edit]) -> None:
        """Raises StepError; then nothing was changed."""
        with self._client() as client:
            path = f"/zones/{self._zone_id(client)}/dns_records/batch"
            self._ask(client, "POST", path, f"write records of {self.dns.zone}", json=batch(self.node, edits))

    def _zone_id(self, client: httpx.Client) -> str:
        if not self._zone:
            rows = list(self._pages(client, "/zones", {"name": self.dns.zone}))
            if not rows:
                shown = [str(row["name"]) for row in self._pages(client, "/zones", {})]
                raise missing_zone(self.node, self.dns.zone, shown)
            self._zone = str(rows[0]["id"])
        return self._zone

    def _pages(self, client: httpx.Client, path: str, asked: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
        page, pages = 1, 1
        while page <= pages:
            params = {**asked, "page": page, "per_page": PAGE if "dns_records" in path else 50}
            answer = self._ask(client, "GET", path, f"look at {self.dns.zone}", params=params)
            yield from answer["result"]
            pages = int((answer.get("result_info") or {}).get("total_pages", 1))
            page += 1

    @contextmanager
    def _client(self) -> Iterator[httpx.Client]:
        import httpx

        headers = {"Authorization": f"Bearer {self.token.reveal()}", "User-Agent": "binder-node"}
        with httpx.Client(base_url=self.dns.endpoint, headers=headers, timeout=SECONDS) as client:
            yield client

    def _ask(self, client: httpx.Client, method: str, path: str, what: str, **more: Any) -> Any:
        """One request and its answer. Reading is tried again; writing only where it certainly was not done."""
        import stamina

        stamina.instrumentation.set_on_retry_hooks(())  # it would log each repetition to stderr

        def hook(error: Exception) -> bool | float:
            if not isinstance(error, Again):
                return False
            return True if error.seconds is None else error.seconds if error.seconds < self.patience else False

        try:
            for attempt in stamina.retry_context(on=hook, attempts=None, timeout=self.patience, wait_max=10):
                with attempt:
                    return self._once(client, method, path, what, **more)
        except Again as error:
            raise error.failed from None
        raise AssertionError("stamina ends by returning or raising")

    def _once(self, client: httpx.Client, method: str, path: str, what: str, **more: Any) -> Any:
        import httpx

        try:
            answer = client.request(method, path, **more)
        except httpx.HTTPError as error:
            reason = f"{client.base_url.host}: {error or type(error).__name__}"
            failed = StepError(self.node, what, reason, "can you reach it? the same command goes on")
            if method == "GET":
                raise Again(failed, None) from None
            raise failed from None
        try:
            body = answer.json()
        except ValueError:
            body = None
        if answer.is_success and isinstance(body, dict) and body.get("success"):
            return body
        failed = StepError(self.node, what, told(answer.status_code, body), REMEDIES.get(answer.status_code, ""))
        if answer.status_code == LATER:
            raise Again(failed, seconds(answer.headers.get("Retry-After", "")))
        if answer.status_code >= BROKEN and method == "GET":
            raise Again(failed, None)
        raise failed


def found(rows: Iterable[Mapping[str, Any]]) -> list[Found]:
    """The API's records, one each, as sets. Pure."""

    def key(row: Mapping[str, Any]) -> tuple[str, str]:
        return str(row["name"]), str(row["type"])

    made = []
    for (name, kind), group in groupby(sorted(rows, key=key), key):
        if kind not in KINDS:
            continue
        here = list(group)
        owners = {owner_of(str(row.get("comment") or "")) for row in here}
        values = tuple(sorted(f"{row['content']}{PROXIED if row.get('proxied') else ''}" for row in here))
        ids = tuple(str(row["id"]) for row in here)
        owner = owners.pop() if len(owners) == 1 else ""
        made.append(Found(Record(name, next(k for k in KINDS if k == kind), values, int(here[0]["ttl"])), owner, ids))
    return made


def batch(node: str, edits: Sequence[Edit]) -> dict[str, list[dict[str, Any]]]:
    """The request that makes ``edits``. Pure."""
    deletes = [{"id": one} for edit in edits for gone in edit.over for one in gone.ids]
    posts = [
        {
            "type": edit.put.kind,
            "name": edit.put.name,
            "content": value,
            "ttl": edit.put.ttl,
            "proxied": False,
            "comment": mark(node),
        }
        for edit in edits
        if edit.put is not None
        for value in edit.put.values
    ]
    return {"deletes": deletes, "posts": posts}


def told(status: int, body: Any) -> str:
    """A refusal in the API's words. Pure.

    >>> told(403, {"success": False, "errors": [{"code": 10000, "message": "Authentication error"}]})
    'HTTP 403: Authentication error (10000)'
    """
    errors = body.get("errors") if isinstance(body, dict) else None
    said = "; ".join(f"{one.get('message')} ({one.get('code')})" for one in errors or ())
    return f"HTTP {status}" + (f": {said}" if said else "")


def seconds(header: str) -> float | None:
    """``Retry-After`` in seconds; None where it does not say. Pure."""
    return float(header) if header.isdigit() else None
