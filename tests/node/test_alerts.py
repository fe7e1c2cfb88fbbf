"""From a unit that stops to a person who is told, on a node of its own; and the dead-man's switch is fed."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.node.harness import Home, make_home

pytestmark = [pytest.mark.node, pytest.mark.soak]

NETWORK, PORT = "198.18.46", 9880
ALERTS = "alerts: {to: [webhook], deadman: true}"
# Three minutes that a unit is missed; half of one each for our numbers, a scrape, an evaluation, Alertmanager's group.
SECONDS = 400
# ... and the five minutes after which Alertmanager looks at a group again.
END_SECONDS = 500


class Told(ThreadingHTTPServer):
    """Who is told: every post with its path and its time."""

    def __init__(self, address: str) -> None:
        self.posts: list[tuple[float, str, Any]] = []
        super().__init__((address, PORT), Handler)

    def names(self, path: str, status: str = "firing") -> set[str]:
        """Alerts that were told at ``path``."""
        return {
            alert["labels"]["alertname"]
            for _, where, body in self.posts
            for alert in body["alerts"]
            if where == path and alert["status"] == status
        }


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert isinstance(self.server, Told)
        self.server.posts.append((time.monotonic(), self.path, body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def secret(home: Home, name: str, value: str) -> None:
    argv = [home.argv("secrets")[0], "secrets", "set", str(home.inventory), name]
    subprocess.run(
        argv, input=value, text=True, check=True, env=home.environment, cwd=home.folder, timeout=60, capture_output=True
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    made = make_home(tmp_path_factory.mktemp("alerts"), "iota", NETWORK, more=ALERTS)
    try:
        refused = made.up()
        assert refused.code == 2
        assert "there is no tokens.webhook" in refused.err
        assert "there is no tokens.deadman" in refused.err
        secret(made, "tokens.webhook", f"http://{NETWORK}.1:{PORT}/told")
        secret(made, "tokens.deadman", f"http://{NETWORK}.1:{PORT}/alive")
        made.up().ok()
        yield made
    finally:
        made.run("destroy", "--yes", made.name).ok()


@pytest.fixture(scope="module")
def told(home: Home) -> Iterator[Told]:
    server = Told(f"{home.network}.1")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def until(what: str, told: Told, path: str, name: str, status: str = "firing", seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while name not in told.names(path, status):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}; told: {told.posts}"
        time.sleep(1)


def test_a_trial_gets_out(home: Home, told: Told) -> None:
    assert "trial by webhook: sent" in home.run("alerts", "--test").ok().err
    assert "Trial" in told.names("/told")


def test_the_switch_is_fed(told: Told) -> None:
    until("a sign of life", told, "/alive", "Watchdog")
    assert told.names("/alive") == {"Watchdog"}
    assert "Watchdog" not in told.names("/told")


def test_a_unit_that_stops_is_told(home: Home, told: Told) -> None:
    home.ssh("systemctl stop binder-node-guard")
    try:
        until("the alert", told, "/told", "UnitDown")
    finally:
        home.ssh("systemctl start binder-node-guard")
    [alert] = [one for _, _, body in told.posts for one in body["alerts"] if one["labels"]["alertname"] == "UnitDown"]
    assert alert["labels"]["unit"] == "binder-node-guard.service"
    assert alert["labels"]["node"] == "iota"
    assert alert["annotations"]["summary"] == "binder-node-guard.service does not run"
    assert alert["annotations"]["runbook"] == "docs/runbooks/unit-down.md"
    shown = home.run("alerts").ok().err
    assert "told by webhook; the dead-man's switch is fed" in shown


def test_that_it_runs_again_is_told_as_well(told: Told) -> None:
    until("its end", told, "/told", "UnitDown", "resolved", END_SECONDS)
