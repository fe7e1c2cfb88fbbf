"""The archive of launches without a bucket: what is asked of one, and in what order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from binder_node.host.on_node import events
from binder_node.host.on_node.s3 import Bucket
from tests.unit.event_samples import launch


class Played(Bucket):
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

    def listed(self, prefix: str) -> Iterator[tuple[str, float, int]]:
        return ((name, 0.0, len(body)) for name, body in self.objects.items() if name.startswith(prefix))


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
    there = {name.removeprefix("events/"): size for name, _, size in bucket.listed("events/")}
    assert events.tidy(config, {"2020-01-02": [1, 1]}, there, "bids-1") == []
    assert (Path(config["folder"]) / "events-2020-01-02.jsonl").exists()
