"""An operator's certificate: taken when it serves both names, refused with the reason otherwise."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from binder_node.cluster.tls import certificate
from binder_node.errors import InputError
from binder_node.spec.model import Spec
from tests.unit.host_samples import sample_spec

BOTH = ["bids.example.org", "hub.bids.example.org"]


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def chain_pem(key: ec.EllipticCurvePrivateKey, names: list[str]) -> bytes:
    subject, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")]), datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM)


def spec_with(folder: Path, chain: bytes, key: bytes) -> Spec:
    (folder / "chain.pem").write_bytes(chain)
    (folder / "key.pem").write_bytes(key)
    files = {"mode": "files", "certificate": str(folder / "chain.pem"), "key": str(folder / "key.pem")}
    return sample_spec(tls=files)


@pytest.fixture
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def test_none_without_tls() -> None:
    assert certificate(sample_spec()) is None


@pytest.mark.parametrize("names", [BOTH, ["bids.example.org", "*.bids.example.org"]])
def test_the_secret_that_both_ingresses_use(tmp_path: Path, key: ec.EllipticCurvePrivateKey, names: list[str]) -> None:
    chain = chain_pem(key, names)
    found = certificate(spec_with(tmp_path, chain, key_pem(key)))
    assert found is not None
    secret = found.secret()
    assert (secret["type"], secret["metadata"]["name"], secret["metadata"]["namespace"]) == (
        "kubernetes.io/tls",
        "binder-tls",
        "binder",
    )
    assert {name: base64.b64decode(value) for name, value in secret["data"].items()} == {
        "tls.crt": chain,
        "tls.key": key_pem(key),
    }
    assert secret["metadata"]["labels"]["binder-node/digest"] == found.digest
    assert len(found.digest) == 16


def test_a_renewed_certificate_has_another_digest(tmp_path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    digests = []
    for _ in range(2):
        found = certificate(spec_with(tmp_path, chain_pem(key, BOTH), key_pem(key)))
        assert found is not None
        digests.append(found.digest)
    assert digests[0] != digests[1]


def test_a_name_that_is_missing(tmp_path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    with pytest.raises(InputError, match=r"tls\.certificate: is not for hub\.bids\.example\.org; it is for bids\."):
        certificate(spec_with(tmp_path, chain_pem(key, BOTH[:1]), key_pem(key)))


def test_another_certificates_key(tmp_path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(InputError, match="is not the certificate's key"):
        certificate(spec_with(tmp_path, chain_pem(key, BOTH), key_pem(other)))


def test_files_that_are_no_pem(tmp_path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    with pytest.raises(InputError, match="is no PEM chain"):
        certificate(spec_with(tmp_path, b"hello", key_pem(key)))
    with pytest.raises(InputError, match="is no PEM private key"):
        certificate(spec_with(tmp_path, chain_pem(key, BOTH), b"hello"))


def test_a_file_that_is_missing(tmp_path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    spec = spec_with(tmp_path, chain_pem(key, BOTH), key_pem(key))
    (tmp_path / "key.pem").unlink()
    with pytest.raises(InputError, match=r"tls\.key: cannot be read"):
        certificate(spec)
