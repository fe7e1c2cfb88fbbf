"""A stand-in for the feeds that `pins` asks; it is none of the vendors'.

One HTTP server on loopback with GitHub's releases (API and files), K3s's list of channels, a Helm repository, Quay's
tags and a BinderHub's /versions, in the shapes that docs/reference/feeds.md names with their sources: GitHub's paging
by ``Link``, drafts and prereleases among the rest, ``digest`` null for old files, both of its rate limits. A path or a
parameter that is not in there is refused. What it cannot show: how the vendors order and cache, and what they change.

The files have no content: their digests follow from their names, and only checksum lists are given out.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

# The places in pins, and the paths that they have here.
HOSTS = {
    "https://github.com": "",
    "https://get.helm.sh": "/helm",
    "https://jupyterhub.github.io/helm-chart": "/charts",
    "https://cryptnono.github.io/cryptnono": "/charts",
}
API = "/api"
LIMIT = 60


def digest(*names: str) -> str:
    """The SHA-256 that a file of that name has here."""
    return hashlib.sha256("/".join(names).encode()).hexdigest()


@dataclass
class Vendors:
    """``releases`` and ``tags`` by repository, newest made first; ``charts`` in the index's order.

    ``remaining``: requests that GitHub still takes; None: any number. ``faults``: answers to the next requests of
    paths that begin so, in order. ``asked``: paths with their queries, and ``tokens`` what came with them.
    """

    server: HTTPServer
    releases: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    tags: dict[str, list[str]] = field(default_factory=dict)
    charts: list[dict[str, str]] = field(default_factory=list)
    channels: dict[str, str] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    lists: dict[str, str] = field(default_factory=dict)
    faults: list[tuple[str, Response]] = field(default_factory=list)
    remaining: int | None = None
    reset: int = 0
    asked: list[str] = field(default_factory=list)
    tokens: list[tuple[str, str]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.server.expect_request(re.compile(".*")).respond_with_handler(self._answer)

    def url(self, path: str = "") -> str:
        return self.server.url_for(path or "/").rstrip("/")

    def moved(self, pins: str) -> str:
        """A pins file's text with its files here."""
        for host, path in HOSTS.items():
            pins = pins.replace(f"{host}/", f"{self.url()}{path}/")
        return pins

    @property
    def options(self) -> list[str]:
        """Those of `pins` that say where feeds are."""
        return [
            *("--github", self.url(API)),
            *("--channels", self.url("/v1-release/channels")),
            *("--quay", self.url()),
            *("--prime", self.url("/prime")),
        ]

    # --- what is told ----------------------------------------------------------------------------------------

    def release(
        self,
        repository: str,
        tag: str,
        *files: str,
        lists: Mapping[str, tuple[str, ...]] | None = None,
        draft: bool = False,
        prerelease: bool = False,
        shown: bool = True,
    ) -> None:
        """A release, newer made than those before. ``lists``: checksum lists by name, with the files in each.
        ``shown``: GitHub knows its files' digests."""
        place = f"/{repository}/releases/download/{tag}"
        for name, inside in (lists or {}).items():
            self.lists[f"{place}/{name}"] = "".join(f"{digest(tag, file)}  {file}\n" for file in inside)
        names = [*files, *(lists or {})]
        row = {
            "url": self.url(f"{API}/repos/{repository}/releases/{len(tag)}"),
            "html_url": f"https://github.com/{repository}/releases/tag/{quote(tag, safe='')}",
            "tag_name": tag,
            "name": None if draft else tag,
            "draft": draft,
            "prerelease": prerelease,
            "immutable": False,
            "created_at": "2026-11-02T10:00:00Z",
            "published_at": None if draft else "2026-11-02T11:00:00Z",
            "assets": [
                {
                    "name": name,
                    "label": "",
                    "state": "uploaded",
                    "size": 1024,
                    "digest": f"sha256:{digest(tag, name)}" if shown else None,
                    "browser_download_url": f"https://github.com{place}/{name}",
                }
                for name in names
            ],
            "body": "What is new",
        }
        self.releases.setdefault(repository, []).insert(0, row)

    def chart(self, name: str, version: str) -> None:
        self.charts.append({"name": name, "version": version})

    # --- answers ---------------------------------------------------------------------------------------------

    def _answer(self, request: Request) -> Response:
        path = unquote(request.path)
        with self._lock:
            self.asked.append(request.full_path.rstrip("?"))
            self.tokens.append((path, request.headers.get("Authorization", "")))
            for index, (begin, response) in enumerate(self.faults):
                if path.startswith(begin):
                    del self.faults[index]
                    return response
            if path.startswith(API + "/repos/"):
                return self._github(path.removeprefix(API + "/repos/"), request)
        if path == "/v1-release/channels":
            return _json(self._channels())
        if path == "/charts/index.yaml":
            return Response(self._index())
        if path == "/prime/versions":
            return _json(self.versions)
        if path.startswith("/api/v1/repository/") and path.endswith("/tag/"):
            return self._quay(path.removeprefix("/api/v1/repository/").removesuffix("/tag/"), request)
        if path in self.lists:
            return Response(self.lists[path])
        return Response("Not Found", status=404)

    def _github(self, path: str, request: Request) -> Response:
        if self.remaining == 0:
            return self.limited()
        if self.remaining is not None:
            self.remaining -= 1
        owner, name, kind, *rest = path.split("/", 4)
        rows = self.releases.get(f"{owner}/{name}")
        if rows is None or kind != "releases":
            return _json({"message": "Not Found", "status": "404"}, 404)
        if rest[:1] == ["tags"]:
            found = [row for row in rows if row["tag_name"] == rest[1] and not row["draft"]]
            return _json(found[0]) if found else _json({"message": "Not Found", "status": "404"}, 404)
        if unknown := set(request.args) - {"per_page", "page"}:
            return _json({"message": f"unknown: {unknown}"}, 422)
        size, page = min(int(request.args.get("per_page", 30)), 100), int(request.args.get("page", 1))
        answer = _json(rows[(page - 1) * size : page * size])
        last = math.ceil(len(rows) / size)
        if page < last:
            place = self.url(f"{API}/repos/{owner}/{name}/releases")
            links = {"next": page + 1, "last": last} | ({"prev": page - 1} if page > 1 else {})
            answer.headers["Link"] = ", ".join(
                f'<{place}?per_page={size}&page={number}>; rel="{rel}"' for rel, number in links.items()
            )
        return answer

    def limited(self, status: int = 403, after: int | None = None) -> Response:
        """What GitHub answers who has used up the primary limit; with ``after``, who has met a secondary one."""
        answer = _json(
            {"message": "API rate limit exceeded for 203.0.113.7.", "documentation_url": "https://docs.github.com/"},
            status,
        )
        if after is not None:
            answer.headers["retry-after"] = str(after)
            return answer
        answer.headers["x-ratelimit-limit"] = str(LIMIT)
        answer.headers["x-ratelimit-remaining"] = "0"
        answer.headers["x-ratelimit-reset"] = str(self.reset)
        return answer

    def _channels(self) -> dict[str, Any]:
        base = self.url("/v1-release/channels")
        rows = [
            {
                "id": name,
                "type": "channel",
                "links": {"self": f"{base}/{name}"},
                "name": name,
                "latest": latest,
                "latestRegexp": ".*",
                "excludeRegexp": "^[^+]+-",
            }
            for name, latest in self.channels.items()
        ]
        return {"type": "collection", "links": {"self": base}, "actions": {}, "resourceType": "channels", "data": rows}

    def _index(self) -> str:
        lines = ["apiVersion: v1", "entries:"]
        for name in dict.fromkeys(chart["name"] for chart in self.charts):
            lines.append(f"  {name}:")
            for chart in self.charts:
                if chart["name"] == name:
                    lines += self._entry(name, chart["version"])
        return "\n".join([*lines, "generated: '2026-11-02T10:00:00Z'", ""])

    def _entry(self, name: str, version: str) -> list[str]:
        return [
            "  - apiVersion: v2",
            "    created: '2026-11-02T10:00:00.000000000Z'",
            "    dependencies:",
            "    - name: jupyterhub",
            "      repository: https://jupyterhub.github.io/helm-chart",
            "      version: 4.3.5",
            f"    description: {name}",
            f"    digest: {digest(name, version)}",
            f"    home: https://{name}.readthedocs.io",
            f"    name: {name}",
            "    sources:",
            f"    - https://github.com/jupyterhub/{name}",
            "    urls:",
            f"    - {self.url('/charts')}/{name}-{version}.tgz",
            f"    version: {version}",
        ]

    def _quay(self, repository: str, request: Request) -> Response:
        if unknown := set(request.args) - {"onlyActiveTags", "limit", "page"}:
            return _json({"error_message": f"unknown: {unknown}"}, 400)
        if repository not in self.tags:
            return _json({"status": 404, "error_message": "Not Found", "title": "not_found"}, 404)
        size, page = min(int(request.args.get("limit", 50)), 100), int(request.args.get("page", 1))
        rows = self.tags[repository]
        shown = [
            {
                "name": name,
                "reversion": False,
                "start_ts": 1793000000,
                "manifest_digest": f"sha256:{digest(name)}",
                "is_manifest_list": False,
                "size": 1024,
                "last_modified": "Mon, 02 Nov 2026 10:00:00 -0000",
            }
            for name in rows[(page - 1) * size : page * size]
        ]
        return _json({"tags": shown, "page": page, "has_additional": page * size < len(rows)})


def _json(value: Any, status: int = 200) -> Response:
    return Response(json.dumps(value), status=status, content_type="application/json; charset=utf-8")
