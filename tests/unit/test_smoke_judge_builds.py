"""What the checks of BuildKit and of the bucket say of what they see."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from binder_node.smoke import judge_buildkit as build
from binder_node.smoke import judge_storage as store
from binder_node.smoke.test_storage import LOOK
from binder_node.storage.bucket import Bucket, Key
from tests.unit.host_samples import sample_spec
from tests.unit.test_smoke_judge_machine import reason

WANTED = sample_spec().buildkit


def test_the_nodes_look_at_its_bucket() -> None:
    """The program that runs on the node, against a server here."""

    class Store(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(403)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Store) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        argv = [sys.executable, "-c", LOOK, "http", "localhost", str(server.server_address[1])]
        done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
        server.shutdown()
    seen = json.loads(done.stdout)
    assert seen["status"] == 403
    assert 0 < seen["seconds"] < 1
    assert abs(seen["off"]) < 2


CACHE = int(WANTED.cache)
DISK = 40 * 10**9


def worker(**more: Any) -> dict[str, Any]:
    labels = {f"{build.LABEL}executor": "containerd", f"{build.LABEL}network": "cni", **more.pop("labels", {})}
    policy = {"maxUsedSpace": CACHE, "minFreeSpace": 12 * 10**9}
    return {
        "labels": labels,
        "platforms": [{"os": "linux", "architecture": "amd64"}, {"os": "linux", "architecture": "386"}],
        "gcPolicy": [{"maxUsedSpace": CACHE // 10, "filter": ["type==source.local"]}, {**policy, "all": True}],
        **more,
    }


def test_workers_as_buildctl_tells_them() -> None:
    assert build.workers(json.dumps([worker()])) == [worker()]
    assert build.workers("could not connect") == []


def test_worker() -> None:
    assert build.worker([worker()], WANTED, "amd64") is None
    assert reason(build.worker([], WANTED, "amd64")) == "its workers are none, not containerd"
    oci = worker(labels={f"{build.LABEL}executor": "oci"})
    assert reason(build.worker([oci], WANTED, "amd64")) == "its workers are oci, not containerd"
    assert "not linux/arm64" in reason(build.worker([worker()], WANTED, "arm64"))


def test_network() -> None:
    assert build.network(worker()) is None
    assert "in the network host" in reason(build.network(worker(labels={f"{build.LABEL}network": "host"})))


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_network_file_that_is_none(text: str) -> None:
    assert "no network configuration" in reason(build.bridge(text, WANTED, {}))


@pytest.mark.parametrize(
    ("change", "ports", "said"),
    [
        ({}, {}, ""),
        ({}, {"veth1": "1450"}, ""),
        ({"mtu": 1500}, {}, "the build network: its MTU is 1500, not 1450"),
        ({}, {"veth1": "1500"}, "the build network: the MTU of veth1 is 1500, not 1450"),
        ({"portIsolation": False}, {}, "the build network: isolation of steps is False, not True"),
    ],
)
def test_bridge(change: dict[str, Any], ports: dict[str, str], said: str) -> None:
    plugin = {"mtu": 1450, "portIsolation": True, "ipam": {"ranges": [[{"subnet": "10.10.0.0/16"}]]}, **change}
    assert reason(build.bridge(json.dumps({"plugins": [plugin]}), WANTED, ports)) == said


def test_collector() -> None:
    assert build.collector(worker(), WANTED, DISK) is None
    more = [{"maxUsedSpace": 300 * 10**9, "minFreeSpace": 1, "all": True}]
    said = reason(build.collector(worker(gcPolicy=more), WANTED, DISK))
    assert said == "its cache may take 300 GB on a filesystem of 40 GB"
    assert "only grows" in reason(build.collector(worker(gcPolicy=[]), WANTED, DISK))
    unlimited = [{"minFreeSpace": 1, "all": True}]
    assert "no limit" in reason(build.collector(worker(gcPolicy=unlimited), WANTED, DISK))
    other = [{"maxUsedSpace": CACHE - 1, "minFreeSpace": 1, "all": True}]
    assert f"not to {CACHE}" in reason(build.collector(worker(gcPolicy=other), WANTED, DISK))
    greedy = [{"maxUsedSpace": CACHE, "all": True}]
    assert "keeps no space free" in reason(build.collector(worker(gcPolicy=greedy), WANTED, DISK))


def test_cache() -> None:
    text = '{"id": "a", "size": 5}\n{"id": "b", "size": 7}\n'
    assert (build.total(text), build.total('[{"size": 5}, {"size": 7}]'), build.total("null\n")) == (12, 12, 0)
    assert build.cache_size(CACHE, WANTED) is None
    assert "over its limit" in reason(build.cache_size(2 * CACHE, WANTED))


def test_guard() -> None:
    command = "/usr/bin/python3 /state/engine/bin/guard.py --parent builds --limit 2000000000 "
    assert build.guard("active", command, 2 * 10**9) is None
    assert "is inactive" in reason(build.guard("inactive", command, 2 * 10**9))
    assert "without its limit" in reason(build.guard("active", command, 4 * 10**9))


def test_files() -> None:
    wanted = {"/e/a": "1", "/e/b": "2"}
    assert build.files(wanted, {**wanted, "/e/c": "3"}) is None
    assert reason(build.files(wanted, {"/e/a": "9"})) == "/e/a is changed, /e/b is missing"


# --- the bucket ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("ok", ""),
        ("missing", "bucket b refuses the registry's key: InvalidAccessKeyId"),
        ("stale", "bucket b refuses the registry's key: SignatureDoesNotMatch"),
        ("unscoped", "bucket b refuses the registry's key: AccessDenied"),
    ],
)
def test_key(key: Key, said: str) -> None:
    assert reason(store.key(Bucket(key, False, False), "b")) == said


def test_bucket_and_lifecycle() -> None:
    assert store.exists(Bucket("ok", True, False), "b") is None
    assert reason(store.exists(Bucket("ok", False, False), "b")) == "bucket b is not there"
    assert store.lifecycle(Bucket("ok", True, True), "b") is None
    assert "for ever" in reason(store.lifecycle(Bucket("ok", True, False), "b"))
    assert store.forgets(Bucket("ok", True, True), "b") is None
    assert "Docker Hub" in reason(store.forgets(Bucket("ok", True, True, forgets=False), "b"))


@pytest.mark.parametrize(("value", "good"), [("24h", True), ("1h", True), ("720h", False), ("1d", False), ("", False)])
def test_stale_uploads(value: str, good: bool) -> None:
    environment = store.environment(f"MINIO_API_STALE_UPLOADS_EXPIRY={value}\nMINIO_BROWSER=off\n\n")
    assert (store.stale_uploads(environment) is None) is good


def test_scope() -> None:
    assert store.scope("AccessDenied", "other") is None
    assert "answered with NoSuchBucket" in reason(store.scope("NoSuchBucket", "other"))


def test_what_is_in_the_bucket() -> None:
    assert store.only_ours(["docker/"], "b") is None
    assert store.only_ours([], "b") is None
    assert reason(store.only_ours(["docker/", "harbor/"], "b")) == "bucket b holds what is not ours: harbor/"


def test_where_the_bucket_is() -> None:
    assert store.near(0.002, "https://s3") is None
    assert reason(store.near(0.024, "https://s3")) == "https://s3 is 24 ms away from the node"
    assert store.clock(-200, "https://s3") is None
    assert "400 s apart" in reason(store.clock(400, "https://s3"))


@pytest.mark.parametrize(
    ("age", "more", "said"),
    [
        (3600.0, {}, ""),
        (13 * 3600.0, {}, ""),
        (14 * 3600.0, {}, "the last backup is 14 hours old, one is due every 6"),
        (None, {}, ""),
        (None, {"waiting": 20 * 3600.0}, "there is no backup, one is due every 6"),
        (60.0, {"state": "inactive"}, "the timer of backups is inactive: none are made"),
        (60.0, {"result": "exit-code"}, "the last backup failed (exit-code): no backup: age"),
    ],
)
def test_backup(age: float | None, more: dict[str, Any], said: str) -> None:
    about: dict[str, Any] = {"state": "active", "waiting": 60.0, "result": "success", "said": "no backup: age", **more}
    found = store.backup(age, 6, store.Timer(**about), "bids")
    assert (reason(found) if found else "") == said


@pytest.mark.parametrize(
    ("timer", "result", "said"),
    [
        ("active", "success", ""),
        ("inactive", "success", "the timer of the archive of launches is inactive: it lacks what comes"),
        ("active", "exit-code", "launches could not be archived (exit-code): no answer"),
    ],
)
def test_events(timer: str, result: str, said: str) -> None:
    found = store.events(timer, result, "no answer", "bids")
    assert (reason(found) if found else "") == said
