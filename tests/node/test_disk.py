"""A small disk: builds of new images go on for as long as one likes; nothing is evicted, what is in use stays.

The bucket lies elsewhere (a MinIO of this computer's, by the Spec's ``storage.kind: s3``): what has been pushed is not
the collectors' to free.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.binaries import binary
from tests.node.harness import Home, make_home

pytestmark = [pytest.mark.node, pytest.mark.soak]

NETWORK = "198.18.60"
DISK_MB = 12_000
IMAGE_MB = 250  # of noise: as much again in the store, which keeps a layer packed and unpacked
# What is built in all is half as much again as the disk holds. The kubelet collects every five minutes; a low mark
# and a small cache let it free much at once.
BUILDS = DISK_MB * 3 // 2 // (2 * IMAGE_MB)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.setenv("BINDER_NODE_S3_ACCESS_KEY", "registry-of-a-test")
    monkeypatch.setenv("BINDER_NODE_S3_SECRET_KEY", "secret-of-a-test")
    home = make_home(
        tmp_path,
        "delta",
        NETWORK,
        disk=f"{DISK_MB}M",
        provider=f"  disk_image: {DISK_MB}M",
        storage=f"{{kind: s3, endpoint: 'http://{NETWORK}.1:9000', bucket: registry}}",
        more="kubernetes: {image_gc_low: 40}\nbuildkit: {cache: 2G}",
    )
    environment = {
        **os.environ,
        "MINIO_ROOT_USER": "registry-of-a-test",
        "MINIO_ROOT_PASSWORD": "secret-of-a-test",
    }
    bucket = None
    try:
        # The bridge, and with it the bucket's address, comes with the machine.
        home.run("up", timeout=300)
        command = [str(binary("minio")), "server", "--quiet", "--address", f"{NETWORK}.1:9000", str(tmp_path / "s3")]
        with (tmp_path / "minio.log").open("wb") as log:
            bucket = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        time.sleep(2)
        home.up().ok()
        home.world("up")
        yield home
    finally:
        home.world("down")
        home.run("destroy", "--yes", home.name).ok()
        if bucket is not None:
            bucket.terminate()
            bucket.wait(20)


class Watch(threading.Thread):
    """Looks at the node every few seconds: the least room there was, and whether the kubelet ever felt pressure."""

    LOOK = (
        "df -B1 --output=avail,size /var/lib/binder-node | tail -1;"
        "k3s kubectl get node -o jsonpath='{.items[0].status.conditions[?(@.type==\"DiskPressure\")].status}'"
    )

    def __init__(self, home: Home) -> None:
        super().__init__(daemon=True)
        self.home, self.least, self.pressure, self.over = home, 100.0, False, threading.Event()

    def run(self) -> None:
        while not self.over.wait(5):
            shown = self.home.run("ssh", "--", self.LOOK)
            if shown.code == 0:
                avail, size, pressure = shown.out.split()
                self.least = min(self.least, 100 * int(avail) / int(size))
                self.pressure = self.pressure or pressure == "True"


@pytest.mark.timeout(2400)
def test_builds_go_on_while_both_collectors_keep_the_disk_below_eviction(small: Home) -> None:
    kept = small.launch(f"{small.git}/minimal.git", "--keep", "--run", "print('in use')").ok()
    watch = Watch(small)
    watch.start()
    try:
        for number in range(BUILDS):
            dockerfile = (
                "FROM docker.io/binder-node/base:1\n"
                f"RUN head -c {IMAGE_MB}M /dev/urandom > /tmp/noise && echo {number} > /tmp/number\n"
            )
            url = small.new_repository("noise", {"Dockerfile": dockerfile}, branch=f"b{number}")
            small.launch(url, "--ref", f"b{number}", timeout=900).ok()
    finally:
        watch.over.set()
        watch.join(30)
    assert not watch.pressure
    assert watch.least > 8  # spec/sizing.py: the kubelet evicts below this
    assert watch.least < 30  # or the disk was never filled, and this test shows nothing

    evicted = json.loads(small.ssh("k3s kubectl get events -A -o json"))
    assert [item["message"] for item in evicted["items"] if item["reason"] == "Evicted"] == []
    # The one in use never left the node, nor did the one built last.
    assert kept.last["data"]["url"]
    before = small.ssh("k3s kubectl get events -n binder -o name | wc -l")
    last = small.launch(url, "--ref", f"b{BUILDS - 1}").ok()
    assert last.last["data"]["phases"][0] == "built"
    pulled = json.loads(small.ssh("k3s kubectl get events -n binder -o json"))
    assert before.strip() != "0"
    messages = [item["message"] for item in pulled["items"] if item["reason"] == "Pulling"]
    assert [message for message in messages if "noise" in message or "minimal" in message] == []
