"""A node with names and certificates of its own: from an empty zone and a new ACME account to a launch by https."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import pytest

from tests.integration.binaries import binary
from tests.node.harness import Home, make_home
from tests.testbed.acme import DAYS, Pebble
from tests.testbed.knot import KEY, SECRET, Knot

pytestmark = pytest.mark.node

NETWORK, NAME = "198.18.91", "sigma"
WORLD, NODE = f"{NETWORK}.10", f"{NETWORK}.20"
BINDER, HUB = f"{NAME}.test", f"hub.{NAME}.test"
DNS = f"{{kind: rfc2136, zone: {BINDER}, server: '{WORLD}', key: {KEY}, nameservers: ['{WORLD}'], wait: 20}}"


@dataclass
class Sigma:
    """The node, and the two servers of its world."""

    home: Home
    knot: Knot
    pebble: Pebble
    ordered: int = 0

    def tls(self, text: str) -> None:
        """Write another ``tls`` into the inventory."""
        lines = self.home.inventory.read_text().splitlines()
        new = [f"tls: {text}" if line.startswith("tls:") else line for line in lines]
        self.home.inventory.write_text("\n".join(new) + "\n")

    @property
    def acme(self) -> str:
        authority, directory = self.pebble.authority, self.pebble.directory
        return f"{{mode: acme, email: ops@example.org, directory: '{directory}', authority: '{authority}'}}"

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.home.run("status", "-o", "json").out)
        return found


def ask(name: str) -> list[str]:
    reply = dns.query.udp(dns.message.make_query(name, "A"), WORLD, timeout=5)
    return [str(item) for rrset in reply.answer for item in rrset]


@pytest.fixture(scope="module")
def sigma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sigma]:
    folder: Path = tmp_path_factory.mktemp("https")
    home = make_home(folder, NAME, NETWORK, more=f"dns: {DNS}")
    within = ("nsenter", f"--net=/run/netns/world-{NAME}")
    made = Sigma(
        home,
        Knot(folder / "knot", WORLD, 53, {BINDER: []}, within),
        Pebble(folder / "pebble", WORLD, f"{WORLD}:53", within),
    )
    made.pebble.prepare()
    made.tls(made.acme)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RFC2136_TSIG_SECRET", SECRET)
        try:
            yield made
        finally:
            made.pebble.stop()
            made.knot.stop()
            home.world("down")
            home.run("destroy", "--yes", home.name)


def test_a_name_server_that_is_not_there_is_said_once_the_machine_is_made(sigma: Sigma) -> None:
    failed = sigma.home.up()
    assert failed.code in (1, 3)
    assert WORLD in failed.err
    assert "Traceback" not in failed.err
    assert [event["stage"] for event in failed.events if event["kind"] == "change"][-1] == "machine"


def test_then_names_lead_to_the_node_and_both_have_a_certificate(sigma: Sigma) -> None:
    sigma.home.world("up")
    sigma.knot.start()
    sigma.pebble.start(binary("pebble"))
    sigma.home.up().ok()
    for name in (BINDER, HUB, f"any.{BINDER}"):
        assert ask(name) == [NODE]
    certificates = sigma.status()["certificates"]
    assert [(item["name"], item["trouble"]) for item in certificates] == [(BINDER, ""), (HUB, "")]
    assert all(item["issuer"].startswith("Pebble Intermediate CA") for item in certificates)
    assert all(DAYS - 2 <= item["days"] <= DAYS for item in certificates)
    # One for each name; Traefik orders again where it was restarted before the first answer.
    sigma.ordered = sigma.pebble.orders()
    assert sigma.ordered in (2, 3)
    assert sigma.home.up().ok().last["data"]["changes"] == 0


def test_a_launch_by_https(sigma: Sigma) -> None:
    done = sigma.home.launch(f"{sigma.home.git}/minimal.git", "--run", "print('by https')").ok()
    assert done.last["data"]["output"] == "by https\n"
    assert done.last["data"]["url"].startswith(f"https://{HUB}/")


def test_http_is_sent_to_https(sigma: Sigma) -> None:
    del sigma
    for name in (BINDER, HUB):
        argv = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}", f"http://{name}/health"]
        done = subprocess.run([*argv, "--resolve", f"{name}:80:{NODE}"], capture_output=True, text=True, check=False)
        assert done.stdout == f"301 https://{name}/health"


def outcomes(sigma: Sigma, only: str) -> dict[str, tuple[str, str]]:
    """Outcome and reason of some smoke checks by their ids."""
    ran = sigma.home.run("smoke", "-o", "json", "--only", only)
    assert ran.code in (0, 1), ran.shown
    return {entry["id"]: (entry["outcome"], entry["reason"]) for entry in json.loads(ran.out)["checks"]}


def test_the_smoke_checks_ask_by_https_and_trust_whom_the_world_trusts(sigma: Sigma) -> None:
    well = outcomes(sigma, "binder")
    assert {outcome for outcome, _ in well.values()} == {"ok"}, well
    sigma.tls(f"{{mode: acme, email: ops@example.org, directory: '{sigma.pebble.directory}'}}")
    try:
        distrusted = outcomes(sigma, "binder.renewals,binder.versions")
    finally:
        sigma.tls(sigma.acme)
    failed = {id: reason for id, (outcome, reason) in distrusted.items() if outcome == "failed"}
    assert failed.keys() == {"binder.certificates"}
    assert f"{BINDER}: nobody trusts its certificate" in failed["binder.certificates"]
    assert distrusted["binder.renewals"][0] == distrusted["binder.versions"][0] == "blocked"


def test_certificates_are_kept_when_k3s_and_traefik_start_anew(sigma: Sigma) -> None:
    before = sigma.pebble.shown(NODE, (BINDER, HUB))
    sigma.home.ssh("systemctl restart k3s", timeout=200)
    sigma.home.ssh("k3s kubectl rollout restart -n kube-system deployment/traefik")
    sigma.home.ssh("k3s kubectl rollout status -n kube-system deployment/traefik --timeout=90s", timeout=100)
    sigma.home.up().ok()
    assert sigma.pebble.shown(NODE, (BINDER, HUB)) == before
    assert sigma.pebble.orders() == sigma.ordered
    mode = sigma.home.ssh("stat -c '%a %u' /var/lib/binder-node/acme /var/lib/binder-node/acme/acme.json")
    assert mode.split("\n")[:2] == ["700 65532", "600 65532"]


@pytest.mark.soak
def test_without_tls_it_is_plain_again_and_back_with_it_nothing_is_ordered_anew(sigma: Sigma) -> None:
    before = sigma.pebble.shown(NODE, (BINDER, HUB))
    sigma.tls("{mode: none}")
    sigma.home.up().ok()
    shown = sigma.status()
    assert (shown["url"], shown["certificates"]) == (f"http://{BINDER}", [])
    sigma.tls(sigma.acme)
    sigma.home.up().ok()
    assert sigma.pebble.shown(NODE, (BINDER, HUB)) == before
    assert sigma.pebble.orders() == sigma.ordered


def test_destroy_takes_the_names_with_it(sigma: Sigma) -> None:
    sigma.home.run("destroy", "--yes", NAME).ok()
    # The bridge went with the machine: the zone's own file says what is left.
    sigma.knot.stop()
    left = (sigma.knot.folder / f"{BINDER}.zone").read_text()
    assert NODE not in left
    assert "heritage" not in left
    assert f"ns.{BINDER}." in left
