"""The certificate of ``tls: {mode: files}`` as a Secret that both ingresses use, and whom to trust."""

from __future__ import annotations

import base64
import hashlib
import ssl
from pathlib import Path
from typing import Any

from binder_node.cluster.values import TLS_SECRET
from binder_node.errors import InputError, Problem
from binder_node.layout import NAMESPACE
from binder_node.secrets.masked import Masked
from binder_node.spec.model import AcmeTls, FilesTls, Spec


class Certificate:
    """PEM chain and key. ``digest`` (16 hex digits) changes with either and tells neither."""

    def __init__(self, chain: bytes, key: bytes) -> None:
        self.chain, self._key = chain, Masked(key.decode())
        self.digest = hashlib.sha256(chain + b"\0" + key).hexdigest()[:16]

    def secret(self) -> dict[str, Any]:
        """The ``kubernetes.io/tls`` Secret: for the API, and nothing else."""
        data = {"tls.crt": self.chain, "tls.key": self._key.reveal().encode()}
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {
                "name": TLS_SECRET,
                "namespace": NAMESPACE,
                "labels": {"app.kubernetes.io/managed-by": "binder-node", "binder-node/digest": self.digest},
            },
            "data": {name: base64.b64encode(value).decode() for name, value in data.items()},
        }


def certificate(spec: Spec) -> Certificate | None:
    """The operator's certificate, checked; None where the Spec has none.

    Raises:
        InputError: a file is missing or no PEM, the key is another certificate's, or a public name is not in it.
    """
    if not isinstance(spec.tls, FilesTls):
        return None
    chain, key = _read(spec.tls.certificate, "tls.certificate"), _read(spec.tls.key, "tls.key")
    _check(spec, spec.tls, chain, key)
    return Certificate(chain, key)


def authority(spec: Spec) -> str:
    """The PEM text of ``tls.authority``; empty where there is none.

    Raises:
        InputError: it cannot be read.
    """
    if not isinstance(spec.tls, AcmeTls) or spec.tls.authority is None:
        return ""
    return _read(spec.tls.authority, "tls.authority").decode(errors="replace")


def trust(spec: Spec) -> ssl.SSLContext:
    """Whom to trust for the node's names: who everybody trusts, and the operator's own chain, whoever issued it.

    Raises:
        InputError: as :func:`certificate`, or ``tls.authority`` is no PEM.
    """
    context = ssl.create_default_context()
    if own := authority(spec):
        try:
            context.load_verify_locations(cadata=own)
        except ssl.SSLError:
            assert isinstance(spec.tls, AcmeTls)
            assert spec.tls.authority is not None
            raise _wrong(spec.tls.authority, "tls.authority", "is no PEM certificate", "give the root's") from None
    found = certificate(spec)
    if found is not None:
        context.load_verify_locations(cadata=found.chain.decode())
        # The chain's end may be an issuer that nobody knows: what the operator gave is enough.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _read(file: Path, path: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(Problem(str(file), 0, path, f"cannot be read: {error.strerror}", "put it there")) from None


def _check(spec: Spec, tls: FilesTls, chain: bytes, key: bytes) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        leaf = x509.load_pem_x509_certificates(chain)[0]
    except ValueError:
        raise _wrong(
            tls.certificate, "tls.certificate", "is no PEM chain", "the leaf first, then its issuers"
        ) from None
    try:
        private = load_pem_private_key(key, None)
    except (ValueError, TypeError):
        raise _wrong(
            tls.key, "tls.key", "is no PEM private key without a passphrase", "take its passphrase off"
        ) from None
    if private.public_key() != leaf.public_key():
        raise _wrong(tls.key, "tls.key", "is not the certificate's key", f"give the one of {tls.certificate}")
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        covered = names.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        covered = []
    missing = [name for name in (spec.names.binder, spec.names.hub) if not _covers(covered, name)]
    if missing:
        raise _wrong(
            tls.certificate, "tls.certificate", f"is not for {' and '.join(missing)}", f"it is for {', '.join(covered)}"
        )


def _covers(names: list[str], name: str) -> bool:
    """Whether a certificate's names cover ``name``; a wildcard stands for one label (RFC 6125).

    >>> _covers(["*.example.org"], "hub.example.org"), _covers(["*.example.org"], "example.org")
    (True, False)
    """
    return name in names or f"*.{name.partition('.')[2]}" in names


def _wrong(file: Path, path: str, wrong: str, right: str) -> InputError:
    return InputError(Problem(str(file), 0, path, wrong, right))
