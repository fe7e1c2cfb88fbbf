"""A bucket, as S3 has it: each request signed (AWS Signature Version 4) and tried some times.

Put on the node as a file beside the programs that use it: standard library only, nothing newer than Python 3.10.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import os
import threading
import time
import urllib.parse
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, BinaryIO
from xml.sax.saxutils import escape

UTC = timezone.utc  # noqa: UP017
# What one request may delete (S3's DeleteObjects).
BATCH = 1000
# Refusals that pass by themselves: request timeout, and too many of them.
AGAIN = (408, 429)


class Failure(Exception):
    """What went wrong, in one line; ``code`` is S3's."""

    def __init__(self, said: str, code: str = "") -> None:
        self.code = code
        super().__init__(said)


@dataclass(frozen=True)
class Patience:
    """A request is tried ``tries`` times with ``pause`` seconds in between; ``answer`` seconds are given to each.

    What is refused is not asked for again.
    """

    tries: int
    pause: float
    answer: float


@dataclass(frozen=True)
class Answer:
    """``why`` it was not done, with S3's ``code``; both empty where it was. ``status`` 0: there was no answer;
    ``body`` None: there is no such object."""

    status: int = 0
    body: bytes | None = None
    why: str = ""
    code: str = ""

    @property
    def refused(self) -> bool:
        """It would be told the same once more."""
        return bool(self.why) and 400 <= self.status < 500 and self.status not in AGAIN


class Bucket:
    """``config``: endpoint, region, bucket, access_key, secret_key. With ``keep`` a thread's connection stays open for
    its next request."""

    def __init__(self, config: dict[str, Any], patience: Patience, *, keep: bool = False) -> None:
        self.config, self.patience, self.keep = config, patience, keep
        self.parts = urllib.parse.urlsplit(config["endpoint"])
        self.own = threading.local()

    def get(self, name: str) -> bytes | None:
        """None where there is no such object."""
        return self._ask("GET", name)

    def has(self, name: str) -> bool:
        return self._ask("HEAD", name) is not None

    def put(self, name: str, body: bytes, kind: str = "") -> None:
        """``kind`` is its content type."""
        self._ask("PUT", name, body=body, more={"Content-Type": kind} if kind else {})

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
        md5 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        root = ET.fromstring(self._ask("POST", "", {"delete": ""}, body, {"Content-MD5": md5}) or b"<none/>")
        space = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
        for error in root.iter(f"{space}Error"):
            raise Failure(f"{error.findtext(f'{space}Key')} was not removed: {error.findtext(f'{space}Code')}")

    def put_tries(self, name: str, file: BinaryIO) -> Iterator[tuple[int, Answer]]:
        """Put a file of any size: each try's answer, and how many tries are left."""
        return self._tries("PUT", name, {}, file, {})

    # --- requests ---

    def _ask(
        self,
        method: str,
        name: str,
        query: Mapping[str, str] | None = None,
        body: bytes = b"",
        more: Mapping[str, str] | None = None,
    ) -> bytes | None:
        answer = Answer()
        for _, answer in self._tries(method, name, query or {}, body, more or {}):
            if not answer.why:
                return answer.body
        what = f"{method} {self.config['bucket']}/{name}"
        raise Failure(f"{self.config['endpoint']}: {what}: {answer.why}", answer.code)

    def _tries(
        self, method: str, name: str, query: Mapping[str, str], body: bytes | BinaryIO, more: Mapping[str, str]
    ) -> Iterator[tuple[int, Answer]]:
        path = urllib.parse.quote(f"{self.parts.path.rstrip('/')}/{self.config['bucket']}/{name}", safe="/-_.~")
        asked = "&".join(f"{_quoted(key)}={_quoted(value)}" for key, value in sorted(query.items()))
        digest = _sha256(body)
        for left in reversed(range(self.patience.tries)):
            headers = {**self._signed(method, path, asked, digest), **more}
            answer = self._once(method, f"{path}?{asked}" if asked else path, body, headers)
            yield (0 if answer.refused else left), answer
            if answer.refused:
                return
            if left:
                time.sleep(self.patience.pause)

    def _once(self, method: str, target: str, body: bytes | BinaryIO, headers: dict[str, str]) -> Answer:
        connection = self._connection()
        try:
            if not isinstance(body, bytes):
                body.seek(0)
                headers["Content-Length"] = str(os.fstat(body.fileno()).st_size)
            connection.request(method, target, body or None, headers)
            answer = connection.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return Answer(why=f"no answer: {error}")
        if not self.keep:
            connection.close()
        if answer.status == 200:
            return Answer(200, said)
        code = said.decode("utf-8", "replace").partition("<Code>")[2].partition("</Code>")[0]
        if answer.status == 404 and (method == "HEAD" or (method == "GET" and code == "NoSuchKey")):
            return Answer(404)
        return Answer(answer.status, None, f"HTTP {answer.status} {code or answer.reason}", code)

    def _connection(self) -> http.client.HTTPConnection:
        """This thread's; it opens where it is closed."""
        found: http.client.HTTPConnection | None = getattr(self.own, "connection", None)
        if found is None:
            secure = self.parts.scheme == "https"
            kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
            found = self.own.connection = kind(self.parts.netloc, timeout=self.patience.answer)
        return found

    def _signed(self, method: str, path: str, query: str, digest: str) -> dict[str, str]:
        now = datetime.now(UTC)
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


def _sha256(body: bytes | BinaryIO) -> str:
    if isinstance(body, bytes):
        return hashlib.sha256(body).hexdigest()
    digest = hashlib.sha256()
    for chunk in iter(lambda: body.read(1 << 20), b""):
        digest.update(chunk)
    return digest.hexdigest()
