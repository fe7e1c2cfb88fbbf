"""A bucket, as S3 has it: each request signed (AWS Signature Version 4), tried some times, on a connection a thread."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import threading
import time
import urllib.parse
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import Any
from xml.sax.saxutils import escape

UTC = timezone.utc  # noqa: UP017
# Seconds: between tries, for one answer.
TRIES, PAUSE, ANSWER = 4, 2.0, 30.0
# What one request may delete (S3's DeleteObjects).
BATCH = 1000


class Failure(Exception):
    """What went wrong, in one line; ``code`` is S3's."""

    def __init__(self, said: str, code: str = "") -> None:
        self.code = code
        super().__init__(said)


class Bucket:
    """``config``: endpoint, region, bucket, access_key, secret_key."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.parts = urllib.parse.urlsplit(config["endpoint"])
        self.own = threading.local()

    def get(self, name: str) -> bytes | None:
        """None where there is no such object."""
        return self._ask("GET", name, {})

    def has(self, name: str) -> bool:
        return self._ask("HEAD", name, {}) is not None

    def put(self, name: str, body: bytes) -> None:
        self._ask("PUT", name, {}, body)

    def listed(self, prefix: str) -> Iterator[tuple[str, float, int]]:
        """Name, time and size of all that is below ``prefix``, in the order of their names."""
        more: dict[str, str] = {}
        while True:
            root = ET.fromstring(self._ask("GET", "", {"list-type": "2", "prefix": prefix, **more}) or b"<none/>")
            space = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
            for item in root.iter(f"{space}Contents"):
                said = (item.findtext(f"{space}LastModified") or "").replace("Z", "+00:00")
                size = int(item.findtext(f"{space}Size") or 0)
                yield item.findtext(f"{space}Key") or "", datetime.fromisoformat(said).timestamp(), size
            token = root.findtext(f"{space}NextContinuationToken")
            if not token:
                return
            more = {"continuation-token": token}

    def remove(self, names: Sequence[str]) -> None:
        """At most :data:`BATCH`; what is gone already is as good."""
        if not names:
            return
        items = "".join(f"<Object><Key>{escape(name)}</Key></Object>" for name in names)
        body = f"<Delete><Quiet>true</Quiet>{items}</Delete>".encode()
        root = ET.fromstring(self._ask("POST", "", {"delete": ""}, body) or b"<none/>")
        space = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
        for error in root.iter(f"{space}Error"):
            raise Failure(f"{error.findtext(f'{space}Key')} was not removed: {error.findtext(f'{space}Code')}")

    # --- requests ---

    def _ask(self, method: str, name: str, query: dict[str, str], body: bytes = b"") -> bytes | None:
        why, code = "", ""
        for last in range(TRIES):
            if last:
                time.sleep(PAUSE)
            why, code, answer = self._once(method, name, query, body)
            if not why:
                return answer
        raise Failure(f"{self.config['endpoint']}: {method} {self.config['bucket']}/{name}: {why}", code)

    def _once(self, method: str, name: str, query: dict[str, str], body: bytes) -> tuple[str, str, bytes | None]:
        """Why it was not done, with S3's code; both empty where it was, and the answer."""
        path = urllib.parse.quote(f"{self.parts.path.rstrip('/')}/{self.config['bucket']}/{name}", safe="/-_.~")
        asked = "&".join(f"{_quoted(key)}={_quoted(value)}" for key, value in sorted(query.items()))
        headers = self._signed(method, path, asked, body)
        if "delete" in query:
            headers["Content-MD5"] = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        connection = self._connection()
        try:
            connection.request(method, f"{path}?{asked}" if asked else path, body or None, headers)
            answer = connection.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return f"no answer: {error}", "", None
        if answer.status == 200:
            return "", "", said
        code = said.decode("utf-8", "replace").partition("<Code>")[2].partition("</Code>")[0]
        if answer.status == 404 and (code == "NoSuchKey" or method == "HEAD"):
            return "", "", None
        return f"HTTP {answer.status} {code or answer.reason}", code, None

    def _connection(self) -> http.client.HTTPConnection:
        found: http.client.HTTPConnection | None = getattr(self.own, "connection", None)
        if found is None:
            secure = self.parts.scheme == "https"
            kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
            found = self.own.connection = kind(self.parts.netloc, timeout=ANSWER)
        return found

    def _signed(self, method: str, path: str, query: str, body: bytes) -> dict[str, str]:
        now = datetime.now(UTC)
        digest = hashlib.sha256(body).hexdigest()
        stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        headers = {"host": self.parts.netloc, "x-amz-content-sha256": digest, "x-amz-date": stamp}
        names = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        request = "\n".join([method, path, query, lines, names, digest])
        scope = f"{day}/{self.config['region']}/s3/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
        key = b"AWS4" + self.config["secret_key"].encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        credential = f"Credential={self.config['access_key']}/{scope}"
        headers["Authorization"] = f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={names}, Signature={signature}"
        return headers


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="-_.~")
