"""The archive of launches without a bucket: what is asked of one, in what order, and how a request is signed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pytest_httpserver import HTTPServer

from binder_node.host.on_node import events
from tests.unit.event_samples import launch


class Played(events.Bucket):
    """A bucket in memory."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.puts: list[str] = []

    def put(self, name: str, body: bytes, kind: str = "") -> None:
        del kind
        self.objects[name] = body
        self.puts.append(name)

    def get(self, name: str) -> bytes | None:
        return self.objects.get(name)

    def listed(self, prefix: str) -> dict[str, int]:
        return {name[len(prefix) :]: len(body) for name, body in self.objects.items() if name.startswith(prefix)}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(events, "machine", lambda node: f"{node}-1")
    return {"node": "bids", "folder": str(tmp_path), "keep": 30, "prefix": "events/"}


def write(config: dict[str, Any], *happened: dict[str, Any]) -> None:
    for event in happened:
        with (Path(config["folder"]) / f"events-{event['timestamp'][:10]}.jsonl").open("a") as file:
            file.write(json.dumps(event) + "\n")


def test_a_part_then_its_day_then_the_index_and_the_next_time_nothing(config: dict[str, Any]) -> None:
    bucket, state = Played(), dict[str, Any]()
    write(config, launch("2026-11-20T10:01:59.9Z"))
    events.archive(config, state, bucket)
    assert bucket.puts == [
        "events/parts/2026-11-20/bids-1.jsonl",
        "events/events-2026-11-20.jsonl",
        "events/index.jsonl",
    ]
    events.archive(config, state, bucket)
    events.archive(config, {}, bucket)
    assert len(bucket.puts) == 3


def test_a_day_is_made_again_while_its_size_is_not_that_of_its_parts(config: dict[str, Any]) -> None:
    bucket, state = Played(), dict[str, Any]()
    write(config, launch("2026-11-20T10:01:59.9Z"))
    events.archive(config, state, bucket)
    line = events.public([launch("2026-11-20T09:00:00.0Z", "org/theirs/HEAD")])
    bucket.objects["events/parts/2026-11-20/other-2.jsonl"] = line
    assert events.archive(config, state, bucket)["made"] == ["2026-11-20"]
    assert bucket.objects["events/events-2026-11-20.jsonl"].startswith(line)
    assert json.loads(bucket.objects["events/index.jsonl"])["count"] == "2"


def test_what_the_bucket_lost_stays_on_the_node_until_it_is_there_again(config: dict[str, Any]) -> None:
    """A day goes from the node by what the bucket lists now, not by what was once put."""
    bucket, state = Played(), dict[str, Any]()
    write(config, launch("2020-01-01T10:00:00.0Z"))
    assert events.archive(config, state, bucket)["removed"] == ["2020-01-01"]
    write(config, launch("2020-01-02T10:00:00.0Z"))
    there = bucket.listed("events/")
    assert events.tidy(config, {"2020-01-02": [1, 1]}, there, "bids-1") == []
    assert (Path(config["folder"]) / "events-2020-01-02.jsonl").exists()


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

    monkeypatch.setattr(events, "datetime", Clock)
    config = {
        "endpoint": "https://s3.example.net",
        "bucket": "b",
        "region": "eu-1",
        "access_key": "K",
        "secret_key": "S",
    }
    ours = events.Bucket(config)._signed(method, f"/b/{name}", query, b"body")
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
ITEM = "<Contents><Key>events/{name}</Key><Size>{size}</Size></Contents>"


@pytest.fixture
def remote(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> events.Bucket:
    monkeypatch.setattr(events, "PAUSE", 0.01)
    endpoint = httpserver.url_for("")
    return events.Bucket({"endpoint": endpoint, "bucket": "b", "region": "eu-1", "access_key": "K", "secret_key": "S"})


def test_a_long_list_is_read_to_its_end(remote: events.Bucket, httpserver: HTTPServer) -> None:
    first = {"list-type": "2", "prefix": "events/"}
    more = "<NextContinuationToken>a+b=</NextContinuationToken>"
    body = LIST.format(more=more, items=ITEM.format(name="index.jsonl", size=7))
    httpserver.expect_ordered_request("/b/", query_string=first).respond_with_data(body)
    body = LIST.format(more="", items=ITEM.format(name="parts/2026-11-20/a&amp;b.jsonl", size=9))
    again = {**first, "continuation-token": "a+b="}
    httpserver.expect_ordered_request("/b/", query_string=again).respond_with_data(body)
    assert remote.listed("events/") == {"index.jsonl": 7, "parts/2026-11-20/a&b.jsonl": 9}


def test_a_bucket_that_is_overloaded_is_asked_again(remote: events.Bucket, httpserver: HTTPServer) -> None:
    slow = "<Error><Code>SlowDown</Code></Error>"
    httpserver.expect_ordered_request("/b/x", method="PUT", data="body").respond_with_data(slow, status=503)
    httpserver.expect_ordered_request("/b/x", method="PUT", data="body").respond_with_data("")
    remote.put("x", b"body")
    httpserver.check_assertions()
    assert len(httpserver.log) == 2


def test_what_is_not_there_is_none_and_a_bucket_that_is_not_there_a_failure(
    remote: events.Bucket, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/b/x").respond_with_data("<Error><Code>NoSuchKey</Code></Error>", status=404)
    httpserver.expect_request("/b/y").respond_with_data("<Error><Code>NoSuchBucket</Code></Error>", status=404)
    assert remote.get("x") is None
    with pytest.raises(events.Failure, match="HTTP 404 NoSuchBucket"):
        remote.get("y")


def test_nobody_answers(remote: events.Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "parts", urlsplit("http://127.0.0.1:1"))
    with pytest.raises(events.Failure, match="no answer"):
        remote.put("x", b"")
