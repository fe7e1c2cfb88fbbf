"""What is asked of the node: systemd, the firewall, Kubernetes, its own names, certificates."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

SECONDS = 10
# BinderHub asks hub and registry itself before it answers.
HEALTH_SECONDS = 20
# Longer than two renewals, so that one may fail.
TOKEN_SECONDS = 7200
# Nobody's health is longer.
LONGEST = 10**6


class Failure(Exception):
    """What went wrong, in one line."""


def output(*argv: str, text: str | None = None) -> str:
    """A program's output. Raises Failure."""
    try:
        done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(f"{argv[0]}: {error}") from None
    if done.returncode:
        raise Failure(f"{argv[0]}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    return done.stdout


def systemd(units: Iterable[str]) -> str:
    return output("systemctl", "show", "-p", "Id,ActiveState,ActiveEnterTimestampMonotonic", *units)


def counters(table: list[str]) -> Any:
    """The firewall's counters; None where there is no table."""
    try:
        return json.loads(output("/usr/sbin/nft", "-j", "list", "counters", "table", *table))
    except Failure:
        return None


def records(folder: str) -> dict[str, dict[str, Any]]:
    """What on_node/record.py wrote, by job."""
    found = {}
    for path in Path(folder).glob("*.json"):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(content, dict):
            found[path.stem] = content
    return found


def booted() -> float:
    """When the machine was started, in seconds since the epoch."""
    return time.time() - time.clock_gettime(time.CLOCK_MONOTONIC)


def api(server: str, path: str, secure: ssl.SSLContext, body: Any = None) -> Any:
    """An answer of Kubernetes'. Raises OSError, ValueError."""
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(f"{server}{path}", data=data, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=SECONDS, context=secure) as answer:
        return json.load(answer)


def token(server: str, account: str, secure: ssl.SSLContext) -> str:
    """A new token of a ServiceAccount, ``NAMESPACE/NAME``."""
    namespace, _, name = account.partition("/")
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": TOKEN_SECONDS},
    }
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
    return str(api(server, path, secure, body)["status"]["token"])


def web(address: str, host: str, path: str, *, tls: bool) -> tuple[int, bytes, bytes]:
    """Status, body and certificate (DER; empty without TLS) of one of the node's names, asked at ``address``.

    The certificate is not judged here: whether it is any good is what a browser says, how long it lasts is a number.
    Raises OSError, HTTPException.
    """
    port = 443 if tls else 80
    with socket.create_connection((address, port), timeout=HEALTH_SECONDS) as plain:
        connection = http.client.HTTPConnection(host, port, timeout=HEALTH_SECONDS)
        certificate = b""
        connection.sock = plain
        if tls:
            any_one = ssl.create_default_context()
            any_one.check_hostname, any_one.verify_mode = False, ssl.CERT_NONE
            secured = any_one.wrap_socket(plain, server_hostname=host)
            certificate = secured.getpeercert(binary_form=True) or b""
            connection.sock = secured
        connection.request("GET", path, headers={"Host": host, "User-Agent": "binder-node", "Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read(LONGEST), certificate


def answers(port: int) -> bool:
    """Whether a registry answers: it wants a login when it is well, and says 503 when its bucket does not answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status in (200, 401)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def ends(pem: str) -> float:
    """When the first certificate of a PEM text ends. Raises Failure."""
    said = output("openssl", "x509", "-noout", "-enddate", text=pem).strip()
    try:
        return float(ssl.cert_time_to_seconds(said.partition("=")[2]))
    except ValueError:
        raise Failure(f"openssl: {said!r}") from None
