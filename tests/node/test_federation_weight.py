"""A node as a member: drained and taken back, following a prime, and looked at for a ramp."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from binder_node.federation.tokens import SPEC
from tests.integration.binder_server import Handler, played
from tests.node.harness import PROGRAM, Home, Ran, events_in

pytestmark = pytest.mark.node

# A node of the tests' size has a quota below the redirector's usual headroom.
HOSTS = """\
federationRedirect:
  pod_headroom: 0
  hosts:
    prime:
      prime: true
      url: {prime}
      weight: 50
      health: {prime}/health
      versions: {prime}/versions
    alpha:
      prime: false
      url: {own}
      weight: {weight}
      health: {own}/health
      versions: {own}/versions
"""


def federation(home: Home, verb: str, *args: str, timeout: float = 420) -> Ran:
    """``binder-node federation VERB NODE ...``"""
    return home.call([PROGRAM, "federation", verb, str(home.inventory), *args], timeout)


def asked(home: Home, path: str, **headers: str) -> httpx.Response:
    """The node's BinderHub, by its address."""
    return httpx.get(f"http://{home.network}.20{path}", headers={"Host": f"{home.name}.test", **headers}, timeout=20)


def quota(home: Home) -> int:
    checks = asked(home, "/health").json()["checks"]
    return int(next(check["quota"] for check in checks if check["service"] == "Pod quota"))


def soon(found: Callable[[], bool], seconds: float = 15) -> bool:
    """Whether it is so, or comes to be: a BinderHub that was replaced serves for some seconds more."""
    until = time.monotonic() + seconds
    while not found():
        if time.monotonic() > until:
            return False
        time.sleep(0.5)
    return True


@dataclass
class Prime:
    """A prime whose versions are what a test says, and whose launch pages are minted with the node's own secret."""

    home: Home
    url: str = ""
    versions: dict[str, Any] = field(default_factory=dict)

    def page(self, to: Handler) -> None:
        to.reply(200, asked(self.home, to.path, Origin=self.url).text, "text/html")


@pytest.fixture
def prime(home: Home) -> Iterator[Prime]:
    with played() as server:
        made = Prime(home, f"http://127.0.0.1:{server.port}", asked(home, "/versions").json())
        server.routes["GET /versions"] = lambda to: to.reply(200, made.versions)
        server.routes["GET /health"] = lambda to: to.reply(200, asked(home, "/health").json())
        server.routes[f"GET /v2/{SPEC}"] = made.page
        yield made


def image_of(versions: dict[str, Any], image: str) -> dict[str, Any]:
    return {**versions, "builder_info": {**versions["builder_info"], "build_image": image}, "builder": image}


def test_a_drain_takes_the_node_out_by_its_quota_and_undrain_puts_it_back(home: Home, git: str) -> None:
    assert soon(lambda: quota(home) > 0)  # others drained it before
    before, inventory = quota(home), home.inventory.read_bytes()
    home.launch(f"{git}/minimal.git", "--keep").ok()
    drained = federation(home, "drain", "-o", "json").ok()
    assert quota(home) == 0
    assert drained.last["data"]["sessions"] >= 1
    assert 0 < drained.last["data"]["likely"] <= drained.last["data"]["most"] <= 21600
    assert "drained by binder-node" in home.inventory.read_text()
    assert home.launch(f"{git}/minimal.git").code == 1

    federation(home, "undrain", "-o", "json").ok()
    assert (quota(home), home.inventory.read_bytes()) == (before, inventory)
    home.ssh("k3s kubectl delete pods -n binder -l component=singleuser-server --wait=false")


def test_a_member_takes_the_primes_build_tokens(home: Home, prime: Prime) -> None:
    found = federation(home, "token", "--prime", prime.url, "-o", "json").ok()
    assert json.loads(found.out) == {"node": home.name, "ok": True, "why": "", "remedy": ""}


def test_the_nodes_own_numbers_gate_a_step(home: Home, git: str, prime: Prime, tmp_path: Path) -> None:
    inventory = home.inventory.read_text()
    checkout = tmp_path / "prod.yaml"
    checkout.write_text(HOSTS.format(prime=prime.url, own=f"http://{home.name}.test", weight=0))
    home.inventory.write_text(f"{inventory}federation: {{member: alpha}}\n")
    try:
        # Its first weight: as the prime, in rotation by the redirector's rules, and its secret is the prime's.
        pace = ("--checkout", str(checkout), "--target", "40", "-o", "json", "--every", "1", "--launches", "2")
        first = federation(home, "ramp", *pace).ok()
        assert first.events[-2]["message"] == "alpha: weight 0 -> 5: the first weight"

        ramp = subprocess.Popen(
            [*first.argv, "--window", "0.3"],
            env=home.environment,
            cwd=home.folder,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert ramp.stdout is not None
        # What is launched before the first look is not the window's.
        while '"progress"' not in (line := ramp.stdout.readline()):
            assert line
        for _ in range(2):
            home.launch(f"{git}/minimal.git").ok()
        out, _ = ramp.communicate(timeout=120)
        last = events_in(out)[-1]["data"]
        seen = last["seen"]
        assert (seen["launched"], seen["failed"], last["what"]) == (2, 0, "go"), last
        assert seen["disk"]["used"] > 0
        assert seen["quota"] == quota(home)
    finally:
        home.inventory.write_text(inventory)


@pytest.mark.soak
def test_following_the_prime_proves_a_new_build_image_and_refuses_a_broken_one(
    home: Home, git: str, prime: Prime
) -> None:
    before = prime.versions
    old = str(before["builder_info"]["build_image"])
    new, broken = (f"{old.rpartition(':')[0]}:{tag}" for tag in ("new", "broken"))
    pins = home.inventory.with_suffix(".pins.toml")
    follow = ("--prime", prime.url, "--once", "--every", "1", "--canary", f"{git}/minimal.git", "-o", "json")
    try:
        home.ssh(f"k3s ctr images tag --force {old} {new}")
        prime.versions = image_of(before, new)
        done = federation(home, "follow", *follow).ok()
        assert asked(home, "/versions").json() == prime.versions
        assert done.last["data"]["what"] == "parity"
        assert 0 < done.last["data"]["minutes"] < 10
        assert pins.read_text().endswith(f'[images]\nbuild = "{new}"\n')
        # A release made alone is known on the node, too: an upgrade does not take it for one that is to be made.
        assert f'build = "{new}"' in home.ssh("cat /etc/binder-node/pins.toml")

        # An image that is none: the release stays as it is, so that the redirector leaves the node out.
        hub = home.ssh("k3s ctr images ls -q | grep -m 1 /k8s-hub:").strip()
        home.ssh(f"k3s ctr images tag --force {hub} {broken}")
        prime.versions = image_of(before, broken)
        refused = federation(home, "follow", *follow)
        assert refused.code == 1
        assert refused.last["data"]["canary"] == f"{git}/minimal.git"
        assert f"canary {git}/minimal.git was not built on {broken}: " in refused.last["message"]
        assert asked(home, "/versions").json() == image_of(before, new)
    finally:
        pins.unlink(missing_ok=True)
        home.up().ok()
    assert soon(lambda: asked(home, "/versions").json() == before)
