"""The form of all routes, and what the services have in common."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.testbed.openstack.state import Region, Row, State

Json = dict[str, Any]


class ApiError(Exception):
    """An answer that is a refusal. ``kind`` is the key that Nova and Cinder wrap it in, or Neutron's type."""

    def __init__(self, code: int, message: str, kind: str = "", headers: Mapping[str, str] | None = None) -> None:
        self.code, self.message, self.kind = code, message, kind
        self.headers = dict(headers or {})
        super().__init__(message)


@dataclass(frozen=True)
class Call:
    """One request: ``service``, its ``region``, ``args`` from the path, ``query``, ``body``; ``version``: the asked
    microversion of Nova as (2, 9).
    """

    state: State
    service: str
    region: Region
    args: Mapping[str, str]
    query: Mapping[str, str]
    body: Any
    base: str
    version: tuple[int, int] = (2, 1)

    @property
    def id(self) -> str:
        return self.args["id"]

    def part(self, key: str) -> Json:
        """``{"server": {...}}`` -> the inner one.

        Raises:
            ApiError: 400 when it is not there.
        """
        if not isinstance(self.body, dict) or not isinstance(self.body.get(key), dict):
            raise ApiError(400, f"Invalid input for field/attribute {key}. Value: {self.body!r:.80}.")
        found: Json = self.body[key]
        return found

    def row(self, table: str, id_: str = "") -> Row:
        """Raises ApiError 404 where there is none."""
        found = self.region.table(table).get(id_ or self.id)
        if found is None:
            raise ApiError(404, f"{NOUNS[table]} {id_ or self.id} could not be found.", f"{NOUNS[table]}NotFound")
        return found


NOUNS = {
    "servers": "Instance", "flavors": "Flavor", "images": "Image", "networks": "Network", "subnets": "Subnet",
    "ports": "Port", "groups": "SecurityGroup", "ips": "FloatingIP", "volumes": "Volume",
}  # fmt: skip


@dataclass(frozen=True)
class Answer:
    status: int
    body: Json | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Call], Answer]


@dataclass
class Routes:
    """A service's routes; ``{name}`` in a path is one segment of it."""

    service: str
    found: list[tuple[str, re.Pattern[str], Handler]] = field(default_factory=list)

    def on(self, method: str, path: str) -> Callable[[Handler], Handler]:
        pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path) + r"(\.json)?/?")

        def register(handler: Handler) -> Handler:
            self.found.append((method, pattern, handler))
            return handler

        return register

    def match(self, method: str, path: str) -> tuple[Handler, dict[str, str]]:
        """Raises ApiError: 404, or 405 where only the method is wrong."""
        other = False
        for verb, pattern, handler in self.found:
            if (hit := pattern.fullmatch(path)) is not None:
                if verb == method:
                    return handler, {key: value for key, value in hit.groupdict().items() if value}
                other = True
        raise ApiError(405 if other else 404, f"{method} {path}: the stand-in has no such route")


def page(call: Call, key: str, rows: Iterable[Row], *filters: str, forced: bool = True) -> Answer:
    """A page of ``rows`` with ``key_links`` to the next; ``filters`` are equal to the query's.

    ``forced``: the service has a largest page; Neutron only pages for those who ask.
    """
    found = list(rows)
    for name in filters:
        if name in call.query:
            found = [row for row in found if str(row.get(name, "")) == call.query[name]]
    start = 0
    if marker := call.query.get("marker"):
        ids = [row["id"] for row in found]
        if marker not in ids:
            raise ApiError(400, f"marker [{marker}] not found")
        start = ids.index(marker) + 1
    size = min(int(call.query.get("limit", call.state.page)), call.state.page)
    if "limit" not in call.query and not forced:
        size = len(found)
    part = found[start : start + size]
    body: Json = {key: part}
    if part and start + size < len(found):
        others = "".join(f"&{name}={value}" for name, value in call.query.items() if name not in ("marker", "limit"))
        link = f"{call.base}?limit={size}&marker={part[-1]['id']}{others}"
        body[f"{key}_links"] = [{"rel": "next", "href": link}]
        if call.service == "image":
            body["next"] = link[link.index("/v2/") :]
    return Answer(200, body)
