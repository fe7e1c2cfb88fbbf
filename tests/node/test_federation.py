"""The node as a member: `federation check` of it, and the federation's real redirector over it where there is one."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from binder_node.binder.client import Binder
from binder_node.federation.checkout import PROD, set_weight
from binder_node.federation.entry import Entry
from binder_node.federation.register import register
from tests.integration.federation_fixtures import (
    CHECKOUT,
    PlayedMember,
    Redirector,
    config,
    members,
    redirector,
    redirector_folder,
    through,
)
from tests.node.harness import PROGRAM, Home

pytestmark = pytest.mark.node
# BinderHub asks its hub every 15 s and counts its pods once a minute; the redirector tries five times, a second apart.
NOTICED = 15 + 5 + 40.0
# A node of the tests' size has a quota below the usual headroom; with none, a quota of 0 would be in.
HEADROOM = 1
SCALE = "k3s kubectl scale -n binder deployment/hub --replicas"


@pytest.fixture
def prime(home: Home) -> Iterator[PlayedMember]:
    """A prime with the node's own versions."""
    with members("prime") as found, Binder(f"http://{home.name}.test", f"{home.network}.20") as binder:
        found["prime"].versions = binder.versions()
        yield found["prime"]


def checked(home: Home, file: Path) -> dict[str, Any]:
    """What `federation check` says of the node."""
    argv = [PROGRAM, "federation", "check", str(home.inventory), "--config", str(file), "--direct", "-o", "json"]
    done = home.call(argv)
    assert done.out, done.err
    (found,) = json.loads(done.out)["members"]
    assert done.code == (0 if found["inside"] else 1)
    return dict(found)


def until(what: Callable[[], bool], seconds: float) -> float:
    """Wait for ``what``; the seconds that it took."""
    began = time.monotonic()
    while not what():
        assert time.monotonic() < began + seconds, f"not within {seconds} s"
        time.sleep(1)
    return time.monotonic() - began


def test_the_node_is_in_with_the_primes_versions_and_out_with_others_or_a_dead_hub(
    home: Home, prime: PlayedMember, tmp_path: Path
) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config({"prime": prime}, pod_headroom=HEADROOM)))
    found = checked(home, file)
    assert (found["name"], found["inside"], found["reasons"]) == (home.name, True, [])
    assert found["quota"] > 0
    own, prime.versions = prime.versions, {**prime.versions, "binderhub": "newer"}
    assert checked(home, file)["cause"] == "versions"
    prime.versions = own
    home.ssh(f"{SCALE} 0")
    try:
        until(lambda: not checked(home, file)["inside"], NOTICED)
        (reason,) = checked(home, file)["reasons"]
        assert reason.startswith("health: HTTP 503")
        assert "JupyterHub API not ok" in reason
    finally:
        home.ssh(f"{SCALE} 1")
    print(f"back after {until(lambda: checked(home, file)['inside'], 90):.0f} s")


@pytest.mark.skipif(redirector_folder() is None, reason=f"{CHECKOUT} names no checkout of mybinder.org-deploy")
def test_the_real_redirector_takes_the_node_routes_to_it_drops_it_and_takes_it_back(
    home: Home, prime: PlayedMember, tmp_path: Path
) -> None:
    folder = redirector_folder()
    assert folder is not None
    values = f"federationRedirect:\n  hosts:\n    prime: {json.dumps(prime.entry(True))}\n"
    with ExitStack() as stack:
        node = stack.enter_context(through(f"{home.name}.test", f"{home.network}.20"))
        joined = register({PROD: values}, None, Entry("node", node, central=False)).files[PROD]
        assert joined is not None
        hosts = YAML(typ="safe").load(set_weight(joined, "node", 25))["federationRedirect"]["hosts"]
        settings = {**config({}, pod_headroom=HEADROOM), "hosts": hosts}
        real = stack.enter_context(redirector(folder, settings, tmp_path))
        time.sleep(2)  # its first checks
        real.until({"prime", "node"}, 10)
        found = Counter(real.route(f"/build/gh/o/r{number}/HEAD") for number in range(3000))
        assert found[node] == pytest.approx(1000, abs=130)  # five sigma
        seen = _out_and_back(home, prime, real)
    print("\n".join(f"{what}: out after {out:.1f} s, back after {back:.1f} s" for what, (out, back) in seen.items()))


def _out_and_back(home: Home, prime: PlayedMember, real: Redirector) -> dict[str, tuple[float, float]]:
    """For each way out: the seconds until the redirector has dropped the node, and until it has it back."""
    own, text = prime.versions, home.inventory.read_text()
    seen: dict[str, tuple[float, float]] = {}
    prime.versions = {**own, "binderhub": "newer"}
    out = real.until({"prime"}, 5)
    prime.versions = own
    seen["versions"] = out, real.until({"prime", "node"}, 5)
    try:
        home.ssh(f"{SCALE} 0")
        out = real.until({"prime"}, NOTICED)
    finally:
        home.ssh(f"{SCALE} 1")
    seen["hub"] = out, real.until({"prime", "node"}, 90)
    try:
        home.inventory.write_text(f"{text}binderhub: {{quota: 0}}\n")
        home.up().ok()
        out = real.until({"prime"}, 90)
    finally:
        home.inventory.write_text(text)
        home.up().ok()
    seen["drain"] = out, real.until({"prime", "node"}, 90)
    return seen
