"""A real ACME server for tests: Let's Encrypt's own small one, pebble, with a root that is new at each start."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

PORT, MANAGEMENT = 14000, 15000
START_SECONDS = 15.0
DAYS = 90


@dataclass
class Pebble:
    """One server at ``address``, which asks ``dns`` (``address:port``) where names lead, and ports 80 and 443 there.

    ``authority`` is a PEM file with whom to trust: for its own https, and, once it runs, for what it issues.
    """

    folder: Path
    address: str
    dns: str
    within: Sequence[str] = ()  # what the server is started by: nsenter into a namespace
    process: subprocess.Popen[bytes] | None = None

    @property
    def directory(self) -> str:
        return f"https://{self.address}:{PORT}/dir"

    @property
    def authority(self) -> Path:
        return self.folder / "authority.pem"

    def prepare(self) -> None:
        """Make its own certificate and the authority's file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        own = certificate(self.address, self.folder / "https.pem", self.folder / "https.key")
        self.authority.write_text(own)

    def start(self, binary: Path) -> None:
        """Start it, wait until it answers, and add its root to the authority's file."""
        config = {
            "pebble": {
                "listenAddress": f"{self.address}:{PORT}",
                "managementListenAddress": f"{self.address}:{MANAGEMENT}",
                "certificate": str(self.folder / "https.pem"),
                "privateKey": str(self.folder / "https.key"),
                "httpPort": 80,
                "tlsPort": 443,
                "profiles": {"default": {"description": "", "validityPeriod": DAYS * 86400}},
            }
        }
        (self.folder / "pebble.json").write_text(json.dumps(config))
        command = [*self.within, str(binary), "-config", str(self.folder / "pebble.json"), "-dnsserver", self.dns]
        # It sleeps for up to 15 s before a challenge unless told; refused nonces it keeps: clients must bear them.
        environment = {**os.environ, "PEBBLE_VA_NOSLEEP": "1"}
        with (self.folder / "pebble.log").open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self.authority.write_text(self.authority.read_text() + self._root())

    def _root(self) -> str:
        trust = ssl.create_default_context(cafile=str(self.authority))
        deadline = time.monotonic() + START_SECONDS
        assert self.process is not None
        while True:
            try:
                url = f"https://{self.address}:{MANAGEMENT}/roots/0"
                with urllib.request.urlopen(url, timeout=2, context=trust) as answer:
                    return str(answer.read().decode())
            except OSError:
                assert self.process.poll() is None, self.log()
                assert time.monotonic() < deadline, self.log()
            time.sleep(0.1)

    def orders(self) -> int:
        """How many certificates it was asked for."""
        return self.log().count("POST /order-plz")

    def shown(self, address: str, names: Sequence[str]) -> list[bytes]:
        """The certificates (DER) that ``address`` shows for ``names``, trusted by the authority's file alone."""
        trust = ssl.create_default_context(cafile=str(self.authority))
        found = []
        for name in names:
            with (
                socket.create_connection((address, 443), 10) as plain,
                trust.wrap_socket(plain, server_hostname=name) as safe,
            ):
                found.append(safe.getpeercert(binary_form=True) or b"")
        return found

    def log(self) -> str:
        return (self.folder / "pebble.log").read_text()

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
            self.process = None


def certificate(address: str, chain: Path, key: Path) -> str:
    """Write a certificate that is its own authority, for ``address``; its PEM text."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    secret = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pebble of a test")]), datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, secret.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(secret, hashes.SHA256())
    )
    text = made.public_bytes(Encoding.PEM)
    chain.write_bytes(text)
    key.write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return text.decode()
