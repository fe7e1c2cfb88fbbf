"""Debian's ``hcloud`` command line, made by others in another language, against the stand-in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.hetzner_judge import judged
from tests.testbed.hetzner.server import HetznerApi

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("hcloud") is None, reason="Debian's package hcloud-cli is not installed"),
]


class Hcloud:
    """The command, in a home of its own."""

    def __init__(self, cloud: HetznerApi, home: Path) -> None:
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "HCLOUD_ENDPOINT": cloud.endpoint,
            "HCLOUD_TOKEN": cloud.token,
        }

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["hcloud", *words], env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )

    def __call__(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
        return done.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "-o", "json"))


@pytest.fixture
def cloud() -> Iterator[HetznerApi]:
    with judged(pace=0) as made:
        yield made


@pytest.fixture
def hcloud(cloud: HetznerApi, tmp_path: Path) -> Hcloud:
    return Hcloud(cloud, tmp_path)


def test_a_server_with_all_that_belongs_to_it(hcloud: Hcloud, tmp_path: Path) -> None:
    (tmp_path / "user-data").write_text("#cloud-config\n{}\n")
    subprocess.run(["ssh-keygen", "-qt", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    hcloud("ssh-key", "create", "--name", "key", "--public-key-from-file", str(tmp_path / "key.pub"))
    hcloud("placement-group", "create", "--name", "group", "--type", "spread")
    hcloud("firewall", "create", "--name", "wall")
    rule = ["--direction", "in", "--protocol", "tcp", "--port", "22", "--source-ips", "0.0.0.0/0"]
    hcloud("firewall", "add-rule", "wall", *rule)
    hcloud("volume", "create", "--name", "data", "--size", "10", "--location", "fsn1", "--format", "xfs")
    hcloud(
        *("server", "create", "--name", "one", "--type", "cx23", "--image", "debian-12", "--location", "fsn1"),
        *("--ssh-key", "key", "--placement-group", "group", "--firewall", "wall", "--volume", "data"),
        *("--user-data-from-file", str(tmp_path / "user-data"), "--label", "binder-node/node=one"),
    )
    server = hcloud.json("server", "describe", "one")
    assert (server["status"], server["labels"]) == ("running", {"binder-node/node": "one"})
    assert hcloud("server", "ip", "one").strip() == server["public_net"]["ipv4"]["ip"]
    assert [row["name"] for row in hcloud.json("server", "list", "--selector", "binder-node/node=one")] == ["one"]
    assert "running" in hcloud("server", "list")
    assert hcloud.json("volume", "describe", "data")["server"] == server["id"]
    assert [row["name"] for row in hcloud.json("primary-ip", "list")] != []

    hcloud("server", "enable-protection", "one", "delete", "rebuild")
    refused = hcloud.run("server", "delete", "one")
    assert refused.returncode != 0
    assert "protected" in refused.stderr
    hcloud("server", "disable-protection", "one", "delete", "rebuild")
    for verb in ("reboot", "shutdown", "poweron", "poweroff"):
        hcloud("server", verb, "one")
    hcloud("server", "rebuild", "one", "--image", "debian-13")
    hcloud("volume", "detach", "data")
    hcloud("server", "delete", "one")
    assert not hcloud.json("server", "list")
    for words in (("volume", "delete", "data"), ("firewall", "delete", "wall"), ("placement-group", "delete", "group")):
        hcloud(*words)


def test_what_is_for_sale(hcloud: Hcloud) -> None:
    names = [row["name"] for row in hcloud.json("server-type", "list")]
    assert {"ccx63", "cx23", "cax11"} <= set(names)
    assert hcloud.json("server-type", "describe", "ccx63")["cores"] == 48
    assert {row["name"] for row in hcloud.json("location", "list")} >= {"fsn1", "nbg1", "hel1"}
    assert len(hcloud.json("datacenter", "list")) == 6
    assert {row["name"] for row in hcloud.json("image", "list")} >= {"debian-12", "ubuntu-24.04"}


def test_errors_reach_the_operator_by_their_names(cloud: HetznerApi, hcloud: Hcloud) -> None:
    words = ("server", "create", "--name", "one", "--type", "cx23", "--image", "debian-12", "--location", "fsn1")
    cloud.catalogue.stock_out("cx23", "fsn1")
    assert "resource_unavailable" in hcloud.run(*words).stderr
    cloud.catalogue.restock("cx23")
    cloud.fault("fail", command="start_server", message="no host took it")
    assert "no host took it" in hcloud.run(*words).stderr
    assert "uniqueness_error" in hcloud.run(*words).stderr
    hcloud.environment["HCLOUD_TOKEN"] = cloud.read_token
    assert "token_readonly" in hcloud.run("server", "delete", "one").stderr
    hcloud.environment["HCLOUD_TOKEN"] = "x" * 64
    assert "unauthorized" in hcloud.run("server", "list").stderr
