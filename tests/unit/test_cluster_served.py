"""What is said of the certificates that a node shows, and of those that it could not get."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from binder_node.cluster.acme import complaints, missing
from binder_node.cluster.served import Served, names, told
from tests.unit.host_samples import sample_spec

END = datetime(2026, 12, 24, 12, 0, tzinfo=UTC)


def certificate(end: datetime) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Let's Test"),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, "E7"),
        ]
    )
    made = (
        x509.CertificateBuilder(issuer, x509.Name([]), key.public_key(), x509.random_serial_number())
        .not_valid_before(end - timedelta(days=90))
        .not_valid_after(end)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    ("before", "days", "warning"),
    [
        (timedelta(days=60), 60, ""),
        (timedelta(days=21), 21, ""),
        (timedelta(days=21, seconds=-1), 20, "bids.example.org: its certificate ends in 20 days (2026-12-24)"),
        (timedelta(hours=-1), -1, "bids.example.org: its certificate ends in -1 days (2026-12-24)"),
    ],
)
def test_days_left_and_when_to_warn(before: timedelta, days: int, warning: str) -> None:
    found = told("bids.example.org", certificate(END), "", now=END - before)
    assert (found.days, found.issuer, found.expires) == (days, "Let's Test, E7", "2026-12-24T12:00:00+00:00")
    assert found.warning == warning


def test_trouble_comes_first() -> None:
    found = Served("bids.example.org", days=3, trouble="nobody trusts its certificate: expired")
    assert found.warning == "bids.example.org: nobody trusts its certificate: expired"
    assert missing([found, Served("hub.bids.example.org", days=3)]) == [found]


def test_names_are_those_that_users_come_by() -> None:
    assert names(sample_spec()) == ()
    acme = sample_spec(tls={"mode": "acme", "email": "ops@example.org"})
    assert names(acme) == ("bids.example.org", "hub.bids.example.org")


def test_the_last_errors_about_certificates_are_shown() -> None:
    log = "\n".join(
        [
            "2026-11-21T12:00:00Z INF Register... providerName=acme.acme",
            "2026-11-21T12:00:01Z ERR Unable to obtain ACME certificate for domains error=one providerName=acme.acme",
            "2026-11-21T12:00:02Z ERR Cannot create service",
            "2026-11-21T12:00:03Z ERR Unable to obtain ACME certificate for domains error=two providerName=acme.acme",
        ]
    )
    assert [line.split("error=")[1] for line in complaints(log)] == [
        "one providerName=acme.acme",
        "two providerName=acme.acme",
    ]
    assert complaints("") == []


def test_errors_are_found_in_colour_as_traefik_writes_them() -> None:
    level, about = "\x1b[31mERR\x1b[0m", "\x1b[1mUnable to obtain ACME certificate for domains\x1b[0m"
    why = '\x1b[36merror=\x1b[0m\x1b[31m\x1b[1m"no A record"\x1b[0m\x1b[0m \x1b[36mproviderName=\x1b[0macme.acme'
    (line,) = complaints(f"\x1b[90m2026-11-21T12:00:01Z\x1b[0m {level} {about} {why}\n")
    assert line == (
        '  | 2026-11-21T12:00:01Z ERR Unable to obtain ACME certificate for domains error="no A record" '
        "providerName=acme.acme"
    )
