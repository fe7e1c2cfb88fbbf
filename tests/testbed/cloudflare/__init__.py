"""A stand-in for the part of Cloudflare's API that a zone's records need; it is not Cloudflare's.

The contract is that of https://developers.cloudflare.com/api (zones: list; DNS records: list, batch), as far as it
says: the envelope, paging, filters, the order within a batch and that it is taken whole, the checks of a record, and
errors with Cloudflare's own codes. A parameter or a key that is not in there is refused. What it cannot show: how long
Cloudflare's name servers take, its rate limits' numbers, other kinds of records.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

WRITE, READ = "w" * 40, "r" * 40
FILTERS = {"name.exact", "comment.exact", "type", "page", "per_page"}
KEYS = {"type", "name", "content", "ttl", "proxied", "comment"}
COMMENT = 100  # characters; of the free plan
Row = dict[str, Any]


class Refusal(Exception):
    """An answer that is an error: HTTP's status, the API's code, its words."""

    def __init__(self, status: int, code: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.code, self.message, self.headers = status, code, message, headers or {}
        super().__init__(message)


@dataclass
class CloudflareApi:
    """One account with ``zones`` (name to its records), behind a port on loopback.

    ``published`` is called with a zone's records after each change: what its name servers would have.
    ``faults`` are answered in order, each to one request, before anything is looked at; ``cut`` makes the next batch
    and then breaks the connection.
    """

    names: tuple[str, ...] = ("example.org",)
    published: Callable[[str, list[Row]], None] = lambda _zone, _rows: None
    zones: dict[str, dict[str, Row]] = field(default_factory=dict)
    faults: list[Refusal] = field(default_factory=list)
    cut: bool = False
    asked: list[str] = field(default_factory=list)
    _count: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _server: ThreadingHTTPServer | None = None

    @property
    def endpoint(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_port}/client/v4"

    def __enter__(self) -> Self:
        self.zones = {name: {} for name in self.names}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def put(self, zone: str, kind: str, name: str, content: str, *, proxied: bool = False, comment: str = "") -> None:
        """A record as somebody else made it."""
        row = {"type": kind, "name": name, "content": content, "ttl": 60, "proxied": proxied, "comment": comment}
        with self._lock:
            self._add(self.zones[zone], row)
            self.published(zone, list(self.zones[zone].values()))

    def contents(self, zone: str) -> list[str]:
        """``A bids.example.org 192.0.2.1 comment`` of each record."""
        rows = self.zones[zone].values()
        return sorted(" ".join((row["type"], row["name"], row["content"], row["comment"] or "-")) for row in rows)

    # --- answers ---------------------------------------------------------------------------------------------------

    def answer(self, method: str, url: str, token: str, body: Any) -> dict[str, Any]:
        """What is answered to one request. Raises Refusal."""
        parts = urlsplit(url)
        path, asked = parts.path.removeprefix("/client/v4").strip("/").split("/"), dict(parse_qsl(parts.query))
        with self._lock:
            self.asked.append(f"{method} {parts.path}")
            if self.faults:
                raise self.faults.pop(0)
            if token not in (WRITE, READ):
                raise Refusal(401, 9109, "Invalid access token")
            match method, path:
                case "GET", ["zones"]:
                    _known(asked, {"name", "page", "per_page"})
                    rows = [self._zone(name) for name in self.zones if asked.get("name", name) == name]
                    return _page(rows, asked, 50)
                case "GET", ["zones", zone, "dns_records"]:
                    _known(asked, FILTERS)
                    return _page(self._matching(self._named(zone), asked), asked, 5000000)
                case "POST", ["zones", zone, "dns_records", "batch"]:
                    if token == READ:
                        raise Refusal(403, 10000, "Authentication error")
                    return self._batch(self._named(zone), body)
        raise Refusal(404, 7003, f"Could not route to {parts.path}, perhaps your object identifier is invalid?")

    def _zone(self, name: str) -> Row:
        return {"id": _id(name), "name": name, "status": "active", "name_servers": ["a.ns.test", "b.ns.test"]}

    def _named(self, zone: str) -> str:
        for name in self.zones:
            if _id(name) == zone:
                return name
        raise Refusal(404, 7003, "Could not route to the zone, perhaps your object identifier is invalid?")

    def _matching(self, zone: str, asked: Mapping[str, str]) -> list[Row]:
        wanted = {key.removesuffix(".exact"): value for key, value in asked.items() if not key.endswith("page")}
        rows = self.zones[zone].values()
        return [row for row in rows if all(row[key] == value for key, value in wanted.items())]

    def _batch(self, zone: str, body: Any) -> dict[str, Any]:
        if not isinstance(body, dict) or set(body) - {"deletes", "patches", "puts", "posts"}:
            raise Refusal(400, 9207, "Request body is invalid.")
        rows = dict(self.zones[zone])
        deleted = []
        for gone in body.get("deletes", ()):
            if gone.get("id") not in rows:
                raise Refusal(404, 81044, "Record does not exist.")
            deleted.append(rows.pop(gone["id"]))
        posted = [self._add(rows, row) for row in body.get("posts", ())]
        self.zones[zone] = rows
        self.published(zone, list(rows.values()))
        if self.cut:
            self.cut = False
            raise ConnectionAbortedError
        return _envelope({"deletes": deleted, "patches": [], "puts": [], "posts": posted})

    def _add(self, rows: dict[str, Row], row: Row) -> Row:
        if set(row) - KEYS:
            raise Refusal(400, 9207, f"Request body is invalid: {sorted(set(row) - KEYS)}")
        try:
            IPv4Address(row["content"]) if row["type"] == "A" else None
            IPv6Address(row["content"]) if row["type"] == "AAAA" else None
        except ValueError:
            raise Refusal(400, 9005, f"Content for {row['type']} record is invalid.") from None
        if not (row["ttl"] == 1 or 60 <= row["ttl"] <= 86400):
            raise Refusal(400, 9021, "TTL must be between 60 and 86400 seconds, or 1 for Automatic.")
        if len(row.get("comment") or "") > COMMENT:
            raise Refusal(400, 9300, "DNS record comment is too long")
        for other in (other for other in rows.values() if other["name"] == row["name"]):
            if (other["type"], other["content"]) == (row["type"], row["content"]):
                raise Refusal(400, 81058, "An identical record already exists.")
            if "CNAME" in (other["type"], row["type"]):
                raise Refusal(400, 81053, "An A, AAAA, or CNAME record with that host already exists.")
        self._count += 1
        made = {"comment": None, "proxied": False, **row, "id": f"{self._count:032x}"}
        rows[made["id"]] = made
        return made


def _id(name: str) -> str:
    return name.encode().hex().ljust(32, "0")[:32]


def _known(asked: Mapping[str, str], known: set[str]) -> None:
    if unknown := set(asked) - known:
        raise Refusal(400, 6003, f"Invalid request parameters: {', '.join(sorted(unknown))}")


def _page(rows: list[Row], asked: Mapping[str, str], most: int) -> dict[str, Any]:
    page, size = int(asked.get("page", 1)), int(asked.get("per_page", 20))
    if not 1 <= size <= most:
        raise Refusal(400, 6003, f"per_page must be from 1 to {most}")
    shown = rows[(page - 1) * size : page * size]
    info = {"page": page, "per_page": size, "count": len(shown), "total_count": len(rows)}
    return {**_envelope(shown), "result_info": {**info, "total_pages": -(-len(rows) // size)}}


def _envelope(result: Any) -> dict[str, Any]:
    return {"success": True, "errors": [], "messages": [], "result": result}


def _handler(api: CloudflareApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(None)

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, body: Any) -> None:
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            status, headers = 200, dict[str, str]()
            try:
                said = api.answer(self.command, self.path, token, body)
            except Refusal as refusal:
                status, headers = refusal.status, dict(refusal.headers)
                said = {**_envelope(None), "success": False}
                said["errors"] = [{"code": refusal.code, "message": refusal.message}]
            except ConnectionAbortedError:
                self.connection.close()
                return
            content = json.dumps(said).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Type": "application/json"}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    return Handler
