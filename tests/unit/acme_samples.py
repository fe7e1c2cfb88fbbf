"""Stores of certificates as Traefik keeps them, made on the spot."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ACCOUNT: dict[str, Any] = {
    "Email": "ops@example.org",
    "Registration": {"uri": "https://ca.example/acct/1"},
    "PrivateKey": "AAAA",
}


@cache
def pair(name: str, days: int) -> tuple[str, str]:
    """Certificate and key in base 64; it ends ``days`` after :data:`NOW`."""
    key, subject = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=400))
        .not_valid_after(NOW + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return base64.b64encode(made.public_bytes(Encoding.PEM)).decode(), base64.b64encode(private).decode()


def raw(name: str, days: int, sans: list[str] | None = None) -> dict[str, Any]:
    certificate, key = pair(name, days)
    domain: dict[str, Any] = {"main": name, **({"sans": sans} if sans else {})}
    return {"domain": domain, "certificate": certificate, "key": key, "Store": "default"}


def store_text(*entries: dict[str, Any], account: dict[str, Any] | None = ACCOUNT) -> str:
    return json.dumps({"acme": {"Account": account, "Certificates": list(entries) or None}})
