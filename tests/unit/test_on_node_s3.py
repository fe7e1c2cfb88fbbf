"""How programs on the node talk to a bucket: what is signed, what is tried again, and what an answer means."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pytest_httpserver import HTTPServer

from binder_node.host.on_node import backup, s3
from binder_node.host.on_node.s3 import Bucket, Failure, Patience

PATIENCE = Patience(tries=4, pause=0.01, answer=5.0)
SLOW = "<Error><Code>SlowDown</Code></Error>"


def config_of(endpoint: str) -> dict[str, Any]:
    return {"endpoint": endpoint, "bucket": "b", "region": "eu-1", "access_key": "K", "secret_key": "S"}


@pytest.mark.parametrize(
    ("method", "name", "query"),
    [
        ("GET", "", "list-type=2&prefix=events%2F"),
        ("PUT", "events/parts/2026-11-20/bids-1.jsonl", ""),
        ("GET", "", "continuation-token=a%2Bb%3D%3D&list-type=2&prefix=events%2F"),
    ],
)
def test_requests_are_signed_as_another_client_signs_them(
    method: str, name: str, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from minio.credentials.credentials import Credentials
    from minio.signer import sign_v4_s3

    now = datetime(2026, 11, 21, 10, 20, 30, tzinfo=UTC)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            del tz
            return now

    monkeypatch.setattr(s3, "datetime", Clock)
    ours = Bucket(config_of("https://s3.example.net"), PATIENCE)._signed(
        method, f"/b/{name}", query, sha256(b"body").hexdigest()
    )
    url = urlsplit(f"https://s3.example.net/b/{name}?{query}")
    given: dict[str, Any] = {key: ours[key] for key in ("host", "x-amz-content-sha256", "x-amz-date")}
    theirs = sign_v4_s3(
        method=method, url=url, region="eu-1", headers=given, credentials=Credentials("K", "S"),
        content_sha256=ours["x-amz-content-sha256"], date=now,
    )  # fmt: skip
    assert ours["Authorization"].replace(", ", ",") == str(theirs["Authorization"]).replace(", ", ",")


# --- what a bucket answers -----------------------------------------------------------------------------------------

LIST = """<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{more}{items}\
</ListBucketResult>"""
ITEM = """<Contents><Key>events/{name}</Key><LastModified>1970-01-01T00:01:00.000Z</LastModified><Size>{size}</Size>\
</Contents>"""


@pytest.fixture
def remote(httpserver: HTTPServer) -> Bucket:
    return Bucket(config_of(httpserver.url_for("")), PATIENCE)


def test_a_long_list_is_read_to_its_end(remote: Bucket, httpserver: HTTPServer) -> None:
    first = {"list-type": "2", "prefix": "events/"}
    more = "<NextContinuationToken>a+b=</NextContinuationToken>"
    body = LIST.format(more=more, items=ITEM.format(name="index.jsonl", size=7))
    httpserver.expect_ordered_request("/b/", query_string=first).respond_with_data(body)
    body = LIST.format(more="", items=ITEM.format(name="parts/2026-11-20/a&amp;b.jsonl", size=9))
    again = {**first, "continuation-token": "a+b="}
    httpserver.expect_ordered_request("/b/", query_string=again).respond_with_data(body)
    assert list(remote.listed("events/")) == [
        ("events/index.jsonl", 60.0, 7),
        ("events/parts/2026-11-20/a&b.jsonl", 60.0, 9),
    ]


def test_a_bucket_that_is_overloaded_is_asked_again(remote: Bucket, httpserver: HTTPServer) -> None:
    httpserver.expect_ordered_request("/b/x", method="PUT", data="body").respond_with_data(SLOW, status=503)
    httpserver.expect_ordered_request("/b/x", method="PUT", data="body").respond_with_data("")
    remote.put("x", b"body")
    httpserver.check_assertions()
    assert len(httpserver.log) == 2


def test_what_is_not_there_is_none_and_a_bucket_that_is_not_there_a_failure(
    remote: Bucket, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/b/x").respond_with_data("<Error><Code>NoSuchKey</Code></Error>", status=404)
    httpserver.expect_request("/b/y").respond_with_data("<Error><Code>NoSuchBucket</Code></Error>", status=404)
    assert remote.get("x") is None
    with pytest.raises(Failure, match="GET b/y: HTTP 404 NoSuchBucket") as failed:
        remote.get("y")
    assert failed.value.code == "NoSuchBucket"
    assert len(httpserver.log) == 2  # nobody is asked twice for what is refused


def test_nobody_answers(remote: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "parts", urlsplit("http://127.0.0.1:1"))
    with pytest.raises(Failure, match="no answer"):
        remote.put("x", b"")


@contextmanager
def counting() -> Iterator[tuple[str, list[Any]]]:
    """A server that keeps connections open: its URL, and the connections that it had."""
    connections: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            connections.append(self.client_address)

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """In silence."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", connections
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(("keep", "connections"), [(True, 1), (False, 3)])
def test_a_connection_serves_the_next_request_where_it_is_kept(keep: bool, connections: int) -> None:
    with counting() as (url, seen):
        bucket = Bucket(config_of(url), PATIENCE, keep=keep)
        for _ in range(3):
            assert bucket.get("x") == b""
        # What is left open would hold the server.
        bucket._connection().close()
        assert len(seen) == connections


# --- a file, as the backup puts it ---------------------------------------------------------------------------------


@pytest.fixture
def put(tmp_path: Path, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a file of more than one read."""
    monkeypatch.setattr(backup, "PATIENCE", PATIENCE)
    (tmp_path / "x").write_bytes(b"x" * 3_000_000)
    return lambda: backup.put(config_of(httpserver.url_for("")), "name", str(tmp_path / "x"))


def test_a_file_is_sent_whole_at_each_try(put: Any, httpserver: HTTPServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A refusal that passes, and a store that is away for a moment."""
    for answer, status in ((SLOW, 503), ("", 429), ("", 200)):
        httpserver.expect_ordered_request("/b/name", method="PUT").respond_with_data(answer, status=status)
    put()
    httpserver.check_assertions()
    for request, _ in httpserver.log:
        assert request.data == b"x" * 3_000_000
        assert request.headers["x-amz-content-sha256"] == sha256(request.data).hexdigest()
    assert capsys.readouterr().err == (
        "HTTP 503 SlowDown; once more in 0 s\nHTTP 429 TOO MANY REQUESTS; once more in 0 s\n"
    )


def test_a_file_that_is_refused_is_sent_once(put: Any, httpserver: HTTPServer) -> None:
    denied = "<Error><Code>AccessDenied</Code></Error>"
    httpserver.expect_request("/b/name").respond_with_data(denied, status=403)
    with pytest.raises(Failure, match="refused name: HTTP 403 AccessDenied"):
        put()
    assert len(httpserver.log) == 1


def test_a_file_that_nobody_takes(put: Any, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/b/name").respond_with_data(SLOW, status=503)
    with pytest.raises(Failure, match="did not take name: HTTP 503 SlowDown"):
        put()
    assert len(httpserver.log) == 4
