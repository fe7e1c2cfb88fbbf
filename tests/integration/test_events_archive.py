"""The program that archives launches, against a real MinIO: what is in the bucket is what was launched, always."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from minio.error import S3Error

from binder_node.host.on_node.s3 import Bucket, Patience
from binder_node.host.programs import PACKAGE, program, programs, run
from binder_node.secrets.masked import Masked
from binder_node.storage import bucket as buckets
from binder_node.storage.endpoint import Endpoint, client
from tests.integration.test_storage_minio import running
from tests.unit.event_samples import launch

pytestmark = pytest.mark.integration

ROOT = Masked("root-password-of-a-test")
NOW = datetime.now(UTC)
TODAY, YESTERDAY = (f"{NOW - timedelta(days=days):%Y-%m-%d}" for days in (0, 1))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with running(tmp_path_factory.mktemp("minio"), "root", ROOT) as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(root: Endpoint, request: pytest.FixtureRequest) -> Iterator[Endpoint]:
    """An empty bucket of the test's own."""
    name = "events-" + str(abs(hash(request.node.name)))
    own = Endpoint(root.node, root.url, root.region, name, root.access_key, root.secret_key)
    buckets.make(own)
    yield own
    buckets.remove(own, lambda _: None)


class Machine:
    """A machine with the program and its folder. ``name`` stands for what it would take from /etc/machine-id."""

    def __init__(self, folder: Path, endpoint: Endpoint, name: str = "one", keep: int = 90) -> None:
        self.folder, self.endpoint = folder / name, endpoint
        self.folder.mkdir(parents=True)
        self.config = folder / f"{name}.json"
        self.settings: dict[str, Any] = {
            "node": "bids-1",
            "folder": str(self.folder),
            "keep": keep,
            "endpoint": endpoint.url,
            "region": endpoint.region,
            "bucket": endpoint.bucket,
            "prefix": "events/",
            "access_key": endpoint.access_key,
            "secret_key": endpoint.secret_key.reveal(),
        }
        # What a machine is made to do in these tests is said in the program's own text: nothing else differs.
        (folder / f"{name}-id").write_text(f"{name}\n")
        self.lib = folder / f"{name}-lib"
        (self.lib / PACKAGE).mkdir(parents=True)
        for file in (*programs().files, program("events")):
            text = file.content.decode().replace("tries=4, pause=10.0, answer=60.0", "tries=2, pause=0.1, answer=5.0")
            text = text.replace("/etc/machine-id", str(folder / f"{name}-id"))
            (self.lib / PACKAGE / file.path.rpartition("/")[2]).write_text(text)

    def launched(self, *happened: dict[str, Any]) -> None:
        for event in happened:
            with (self.folder / f"events-{event['timestamp'][:10]}.jsonl").open("a") as file:
                file.write(json.dumps(event) + "\n")

    def run(self, *verb: str, code: int = 0) -> Any:
        self.config.write_text(json.dumps(self.settings))
        argv = [sys.executable, "-sE", *run("events", str(self.config), *verb).split()[1:]]
        done = subprocess.run(argv, cwd=self.lib, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout) if code == 0 else done.stderr

    def archive(self, code: int = 0) -> Any:
        return self.run("archive", code=code)


def there(endpoint: Endpoint, name: str) -> str:
    answer = client(endpoint).get_object(bucket_name=endpoint.bucket, object_name=f"events/{name}")
    try:
        return answer.read().decode()
    finally:
        answer.close()
        answer.release_conn()


def specs(endpoint: Endpoint, day: str) -> list[str]:
    return [json.loads(line)["spec"] for line in there(endpoint, f"events-{day}.jsonl").splitlines()]


def test_the_archive_is_what_the_public_one_is(tmp_path: Path, endpoint: Endpoint) -> None:
    """Times to the minute, sorted; an index whose counts are texts (mybinder.org-deploy, analytics-publisher)."""
    machine = Machine(tmp_path, endpoint)
    machine.launched(
        launch("2026-11-20T10:01:59.999999Z", "org/b/HEAD"),
        launch("2026-11-20T10:01:00.000000Z", "org/c/HEAD"),
        launch("2026-11-20T09:59:30.000000Z", "org/a/HEAD"),
        launch("2026-11-19T23:59:59.999999Z", "org/d/HEAD"),
    )
    assert machine.archive() == {
        "put": ["2026-11-19", "2026-11-20"],
        "made": ["2026-11-19", "2026-11-20"],
        "removed": [],
    }
    first = there(endpoint, "events-2026-11-20.jsonl").splitlines()[0]
    assert first == json.dumps(launch("2026-11-20T09:59:00+00:00", "org/a/HEAD"))
    assert specs(endpoint, "2026-11-20") == ["org/a/HEAD", "org/b/HEAD", "org/c/HEAD"]
    assert there(endpoint, "index.jsonl") == (
        '{"name": "events-2026-11-19.jsonl", "date": "2026-11-19", "count": "1"}\n'
        '{"name": "events-2026-11-20.jsonl", "date": "2026-11-20", "count": "3"}'
    )


def test_a_second_run_does_nothing_and_a_launch_more_is_put(tmp_path: Path, endpoint: Endpoint) -> None:
    machine = Machine(tmp_path, endpoint)
    machine.launched(launch(f"{TODAY}T00:00:01.000000Z"))
    machine.archive()
    assert machine.archive() == {"put": [], "made": [], "removed": []}
    machine.launched(launch(f"{TODAY}T00:00:02.000000Z"))
    assert machine.archive() == {"put": [TODAY], "made": [TODAY], "removed": []}
    assert len(specs(endpoint, TODAY)) == 2
    assert json.loads(there(endpoint, "index.jsonl"))["count"] == "2"


def test_with_the_bucket_away_nothing_is_lost_and_the_next_run_makes_it_good(tmp_path: Path) -> None:
    with running(tmp_path, "root", ROOT) as endpoint:
        buckets.make(endpoint)
        machine = Machine(tmp_path, endpoint, keep=0)  # so short that a day would go at once, were it archived
        machine.launched(launch(f"{YESTERDAY}T10:00:00.000000Z", "org/before/HEAD"))
        machine.archive()
    machine.launched(launch("2026-11-01T10:00:00.000000Z", "org/meanwhile/HEAD"))
    said = machine.archive(code=1)
    assert "not archived, and kept" in said
    assert "no answer" in said
    told = machine.run("tell", "4000")
    assert told["error"]
    assert told["waiting"] == ["2026-11-01"]
    assert (machine.folder / "events-2026-11-01.jsonl").exists()
    with running(tmp_path, "root", ROOT) as endpoint:
        machine.settings["endpoint"] = endpoint.url  # another port
        assert machine.archive()["put"] == ["2026-11-01"]
        assert specs(endpoint, "2026-11-01") == ["org/meanwhile/HEAD"]
    assert machine.run("tell", "1")["error"] == ""


def test_two_machines_of_one_bucket_make_one_day_together(tmp_path: Path, endpoint: Endpoint) -> None:
    """A node and the one that takes its place: each saw half of the day, the same launch in the same minute too."""
    old, new = (Machine(tmp_path / name, endpoint, name) for name in ("old", "new"))
    old.launched(
        launch(f"{TODAY}T01:00:01.000000Z", "org/both/HEAD"), launch(f"{TODAY}T01:00:03.000000Z", "org/o/HEAD")
    )
    new.launched(
        launch(f"{TODAY}T01:00:02.000000Z", "org/both/HEAD"), launch(f"{TODAY}T00:59:02.000000Z", "org/n/HEAD")
    )
    old.archive()
    new.archive()
    assert specs(endpoint, TODAY) == ["org/n/HEAD", "org/both/HEAD", "org/both/HEAD", "org/o/HEAD"]
    assert json.loads(there(endpoint, "index.jsonl"))["count"] == "4"
    assert old.archive()["made"] == new.archive()["made"] == []


def test_a_day_that_another_machine_wrote_over_with_less_is_made_again(tmp_path: Path, endpoint: Endpoint) -> None:
    old, new = (Machine(tmp_path / name, endpoint, name) for name in ("old", "new"))
    old.launched(launch(f"{TODAY}T01:00:01.000000Z", "org/o/HEAD"))
    old.archive()
    half = there(endpoint, f"events-{TODAY}.jsonl").encode()
    new.launched(launch(f"{TODAY}T01:00:02.000000Z", "org/n/HEAD"))
    new.archive()
    import io

    client(endpoint).put_object(
        bucket_name=endpoint.bucket, object_name=f"events/events-{TODAY}.jsonl", data=io.BytesIO(half), length=len(half)
    )
    assert new.archive()["made"] == [TODAY]
    assert specs(endpoint, TODAY) == ["org/n/HEAD", "org/o/HEAD"] or specs(endpoint, TODAY) == [
        "org/o/HEAD",
        "org/n/HEAD",
    ]


def test_old_days_go_from_the_node_once_they_are_in_the_bucket(tmp_path: Path, endpoint: Endpoint) -> None:
    machine = Machine(tmp_path, endpoint, keep=30)
    machine.launched(launch("2025-01-01T10:00:00.000000Z"), launch(f"{TODAY}T00:00:01.000000Z"))
    (machine.folder / "failures-2025-01-01.jsonl").write_text("{}\n")
    assert machine.archive()["removed"] == ["2025-01-01"]
    assert sorted(path.name for path in machine.folder.glob("*.jsonl")) == [f"events-{TODAY}.jsonl"]
    assert machine.archive() == {"put": [], "made": [], "removed": []}
    assert len(specs(endpoint, "2025-01-01")) == 1
    assert len(there(endpoint, "index.jsonl").splitlines()) == 2


def test_what_it_remembers_may_be_lost(tmp_path: Path, endpoint: Endpoint) -> None:
    machine = Machine(tmp_path, endpoint)
    machine.launched(launch(f"{TODAY}T00:00:01.000000Z"))
    machine.archive()
    (machine.folder / "archive.json").write_text("{")
    assert machine.archive() == {"put": [], "made": [], "removed": []}


def test_a_bucket_that_lost_a_day_gets_it_again(tmp_path: Path, endpoint: Endpoint) -> None:
    machine = Machine(tmp_path, endpoint)
    machine.launched(launch(f"{TODAY}T00:00:01.000000Z"))
    machine.archive()
    for one in list(client(endpoint).list_objects(bucket_name=endpoint.bucket, prefix="events/", recursive=True)):
        client(endpoint).remove_object(bucket_name=endpoint.bucket, object_name=str(one.object_name))
    with pytest.raises(S3Error):
        there(endpoint, f"events-{TODAY}.jsonl")
    assert machine.archive()["put"] == [TODAY]
    assert len(specs(endpoint, TODAY)) == 1


def test_half_a_line_and_rubbish_are_passed_over(tmp_path: Path, endpoint: Endpoint) -> None:
    machine = Machine(tmp_path, endpoint)
    with (machine.folder / f"events-{TODAY}.jsonl").open("w") as file:
        file.write(
            f'nonsense\n[1]\n{{"timestamp": "yesterday"}}\n{json.dumps(launch(f"{TODAY}T00:00:01.0Z"))}\n{{"times'
        )
    machine.archive()
    assert len(specs(endpoint, TODAY)) == 1


def test_a_key_that_is_refused_is_told_with_its_reason(tmp_path: Path, endpoint: Endpoint) -> None:
    machine = Machine(tmp_path, endpoint)
    machine.settings["secret_key"] = "wrong"
    assert "SignatureDoesNotMatch" in machine.archive(code=1)


def test_more_parts_than_one_answer_lists(tmp_path: Path, endpoint: Endpoint) -> None:
    """MinIO lists a thousand names at once: a bucket of three years has more parts and days than that."""
    import io

    line = json.dumps(launch("2020-01-01T00:00:00+00:00")).encode() + b"\n"
    server = client(endpoint)
    for number in range(1005):
        name = f"events/parts/2020-01-01/old-{number:04}.jsonl"
        server.put_object(bucket_name=endpoint.bucket, object_name=name, data=io.BytesIO(line), length=len(line))
    found = list(Bucket(Machine(tmp_path, endpoint).settings, Patience(2, 0.1, 5.0)).listed("events/"))
    assert len(found) == 1005
    assert {size for _, _, size in found} == {len(line)}


def test_numbers_of_the_last_days(tmp_path: Path, endpoint: Endpoint) -> None:
    machine = Machine(tmp_path, endpoint)
    machine.launched(
        launch(f"{TODAY}T00:00:01.000000Z"), launch(f"{TODAY}T00:59:01.000000Z"), launch("2025-01-01T00:00:01.000000Z")
    )
    failure = {
        "timestamp": f"{TODAY}T00:10:00Z",
        "path": "gh/org/name/HEAD",
        "phase": "building",
        "message": "no\n  way",
    }
    (machine.folder / f"failures-{TODAY}.jsonl").write_text(json.dumps(failure) + "\n")
    told = machine.run("tell", "2")
    assert told["first"] == YESTERDAY
    assert told["launches"] == [[f"{TODAY}T00", "GitHub", "org/name/HEAD", "success", 2]]
    assert told["failures"] == [[f"{TODAY}T00", "gh/org/name/HEAD", "building", "no way", 1]]
    assert told["waiting"] == ["2025-01-01", TODAY]
    assert os.stat(machine.folder).st_mode & 0o700
