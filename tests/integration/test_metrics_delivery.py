"""What Alertmanager is told it delivers: by webhook, mail and Zulip, and the sign of life to the dead-man's switch."""

from __future__ import annotations

import json
import socketserver
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from binder_node.host.metrics.config import alertmanager_text, secret_file, secret_texts
from binder_node.host.on_node.alerts import told
from binder_node.lifecycle.alerting import counts, the_trial
from binder_node.secrets.masked import Masked
from binder_node.spec.model import Spec
from tests.integration.binaries import binary
from tests.integration.servers import Server, free_port, listening, until
from tests.unit.host_samples import sample_secrets, sample_spec

NODE = {"node": "bids-1"}
DISK = {"alertname": "DiskFull", "severity": "critical", "mountpoint": "/", **NODE}
LIFE = {"alertname": "Watchdog", "severity": "none", **NODE}


class Web:
    """Keeps what was posted: path and JSON."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, Any]] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                web.posted.append((self.path, json.loads(body)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def at(self, path: str) -> list[Any]:
        return [body for where, body in self.posted if where.partition("?")[0] == path]


class Mails(socketserver.ThreadingTCPServer):
    """A mail server of RFC 5321's least words, which keeps what it took. No TLS: it listens on loopback alone."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        self.kept: list[str] = []
        super().__init__(("127.0.0.1", 0), Session)


class Session(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.say("220 here")
        while line := self.rfile.readline().decode().strip():
            if line == "DATA":
                self.say("354 go on")
                text = ""
                while (more := self.rfile.readline().decode()) != ".\r\n":
                    text += more
                assert isinstance(self.server, Mails)
                self.server.kept.append(text)
            self.say("221 bye" if line == "QUIT" else "250 well")

    def say(self, words: str) -> None:
        self.wfile.write(f"{words}\r\n".encode())


@contextmanager
def serving(server: socketserver.TCPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def alertmanager(spec: Spec, tokens: dict[str, Masked], folder: Path, changed: dict[str, str]) -> Iterator[int]:
    """Alertmanager with the node's configuration, its files in ``folder`` and ``changed`` in its text."""
    text = alertmanager_text(spec).decode()
    for old, new in {"group_wait: 30s": "group_wait: 0s", **changed}.items():
        assert old in text
        text = text.replace(old, new)
    secrets = sample_secrets().model_copy(update={"tokens": tokens})
    for kind, secret in secret_texts(spec, secrets).items():
        (folder / f"{kind}.secret").write_text(secret.reveal())
        text = text.replace(secret_file(kind), str(folder / f"{kind}.secret"))
    (folder / "alerts.yaml").write_text(text)
    port = free_port()
    command = [
        str(binary("alertmanager")), f"--config.file={folder / 'alerts.yaml'}", f"--storage.path={folder / 'data'}",
        "--cluster.listen-address=", f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    server = Server("alertmanager", command, folder, lambda: listening(port))
    server.start()
    try:
        yield port
    finally:
        server.stop()


def tell(port: int, *labels: dict[str, str]) -> None:
    told = [
        {"labels": one, "annotations": {"summary": f"{one['alertname']} it is", "action": "look"}} for one in labels
    ]
    data, headers = json.dumps(told).encode(), {"Content-Type": "application/json"}
    url = f"http://127.0.0.1:{port}/api/v2/alerts"
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=10) as answer:
        assert answer.status == 200


@pytest.fixture
def web() -> Iterator[Web]:
    made = Web()
    with serving(made.server):
        yield made


def test_webhook_and_zulip_get_what_is_wrong_and_the_switch_the_sign_of_life(web: Web, tmp_path: Path) -> None:
    spec = sample_spec(
        alerts={"to": ["webhook", "zulip"], "zulip": web.url, "zulip_stream": "binder alerts", "deadman": True}
    )
    tokens = {
        "webhook": Masked(f"{web.url}/hook"),
        "zulip": Masked("key+1"),
        "deadman": Masked(f"{web.url}/alive"),
    }
    with alertmanager(spec, tokens, tmp_path, {}) as port:
        tell(port, DISK, LIFE)
        zulip = "/api/v1/external/alertmanager"
        until("all three", lambda: bool(web.at("/hook") and web.at(zulip) and web.at("/alive")), 20)
    [said] = web.at("/hook")
    assert [alert["labels"]["alertname"] for alert in said["alerts"]] == ["DiskFull"]
    assert said["alerts"][0]["annotations"]["summary"] == "DiskFull it is"
    [asked] = [where for where, _ in web.posted if where.startswith(zulip)]
    assert asked == f"{zulip}?api_key=key%2B1&stream=binder%20alerts&name=node&desc=summary"
    assert {one["labels"]["alertname"] for body in web.at("/alive") for one in body["alerts"]} == {"Watchdog"}


def test_a_trial_is_sent_or_not(web: Web, tmp_path: Path) -> None:
    spec = sample_spec(alerts={"to": ["webhook", "zulip"], "zulip": web.url, "zulip_stream": "binder alerts"})
    tokens = {"webhook": Masked(f"{web.url}/hook"), "zulip": Masked("key")}
    trial = the_trial(spec, datetime.now(UTC))
    with alertmanager(spec, tokens, tmp_path, {}) as port:
        assert told(port, trial, counts(spec), 20) == {"webhook": "sent"}
        assert len(web.posted) == 2
        web.server.shutdown()
        web.server.server_close()
        later = the_trial(spec, datetime.now(UTC) + timedelta(seconds=5))
        assert told(port, later, counts(spec), 20) == {"webhook": "failed"}


def test_who_cannot_be_reached_is_counted_for_the_alert_about_it(tmp_path: Path) -> None:
    spec = sample_spec(alerts={"to": ["webhook"]})
    tokens = {"webhook": Masked(f"http://127.0.0.1:{free_port()}/hook")}
    with alertmanager(spec, tokens, tmp_path, {"group_interval: 5m": "group_interval: 1s"}) as port:
        tell(port, DISK)

        def failed() -> bool:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                lines = answer.read().decode().splitlines()
            name = 'alertmanager_notifications_failed_total{integration="webhook"'
            return any(line.startswith(name) and not line.endswith(" 0") for line in lines)

        until("a failure to be counted", failed, 30)


def test_a_mail_says_what_is_wrong(tmp_path: Path) -> None:
    mails = Mails()
    spec = sample_spec(
        alerts={
            "to": ["mail"],
            "mail_to": ["ada@example.org", "ops@example.org"],
            "mail_from": "bids-1@example.org",
            "mail_server": f"127.0.0.1:{mails.server_address[1]}",
        }
    )
    # A mail server on the way through the world has to offer TLS; this one on loopback has none.
    with serving(mails), alertmanager(spec, {}, tmp_path, {"send_resolved: true": "require_tls: false"}) as port:
        tell(port, DISK)
        until("a mail", lambda: bool(mails.kept), 20)
    [mail] = mails.kept
    assert "To: ada@example.org, ops@example.org" in mail
    assert "From: bids-1@example.org" in mail
    assert "DiskFull" in mail
