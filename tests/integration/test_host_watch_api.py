"""The watch of Kubernetes against a small API of its protocol: TLS with a client's certificate, a list, a stream."""

from __future__ import annotations

import base64
import datetime
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any, ClassVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from binder_node.host.on_node.watch import api

pytestmark = pytest.mark.integration


class Api(BaseHTTPRequestHandler):
    """Two pods; the first watch ends with an error (its version is too old), the second one tells a change."""

    watches: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        if "watch=1" not in self.path:
            pods = [{"metadata": {"name": name, "uid": name}} for name in ("a", "b")]
            self.wfile.write(json.dumps({"items": pods, "metadata": {"resourceVersion": "7"}}).encode())
            return
        self.watches.append(self.path)
        bookmark = {"type": "BOOKMARK", "object": {}}
        change = {"type": "MODIFIED", "object": {"metadata": {"name": "b", "uid": "b"}}}
        for line in (bookmark, {"type": "ERROR", "object": {}} if len(self.watches) == 1 else change):
            self.wfile.write(json.dumps(line).encode() + b"\n")

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that is its own authority, and its key; both sides use it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "api")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "api.crt", folder / "api.key"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return public, private


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The API, for the block; yields the path of a kubeconfig for it."""
    public, private = certificate(folder)
    secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secure.load_cert_chain(public, private)
    secure.verify_mode = ssl.CERT_REQUIRED
    secure.load_verify_locations(public)
    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        server.socket = secure.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever)
        thread.start()
        said = {name: base64.b64encode(file.read_bytes()).decode() for name, file in (("c", public), ("k", private))}
        file = folder / "k3s.yaml"
        file.write_text(
            f"clusters:\n- cluster:\n    certificate-authority-data: {said['c']}\n"
            f"    server: https://127.0.0.1:{server.server_port}\nusers:\n- user:\n"
            f"    client-certificate-data: {said['c']}\n    client-key-data: {said['k']}\n"
        )
        try:
            yield str(file)
        finally:
            server.shutdown()
            thread.join()


def test_a_list_then_changes_and_a_list_again_when_the_server_has_forgotten(tmp_path: Path) -> None:
    out: Queue[tuple[str, str, Any]] = Queue()
    with served(tmp_path) as kubeconfig:
        watch = api.Watch(kubeconfig, "pods", "/api/v1/pods", out)
        watch.follow()
        watch.follow()
    told = [out.get(timeout=1) for _ in range(out.qsize())]
    assert [(what, found["metadata"]["name"] if found else "") for _, what, found in told] == [
        ("SEEN", "a"), ("SEEN", "b"), ("LISTED", ""),  # the first watch was too old
        ("SEEN", "a"), ("SEEN", "b"), ("LISTED", ""), ("MODIFIED", "b"),
    ]  # fmt: skip
    assert "resourceVersion=7" in Api.watches[0]


def test_the_key_is_on_no_disk_when_the_connection_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    (tmp_path / "run").mkdir()
    with served(tmp_path) as kubeconfig:
        api.context(api.credentials(Path(kubeconfig).read_text()))
    assert list((tmp_path / "run").iterdir()) == []
