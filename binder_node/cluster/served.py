"""The certificates that a node shows to the world: for whom, from whom, how long still."""

from __future__ import annotations

import math
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from binder_node.spec.model import Spec

PORT = 443
SECONDS = 5.0
# Traefik renews 30 days before the end; with so few left, that has failed for more than a week.
WARN_DAYS = 21


@dataclass(frozen=True, slots=True)
class Served:
    """What is shown for ``name``. ``expires`` is ISO 8601, ``days`` whole ones until then (negative: over), both
    empty where nothing is shown. ``trouble`` says why nobody would trust it."""

    name: str
    expires: str = ""
    days: int | None = None
    issuer: str = ""
    trouble: str = ""

    @property
    def warning(self) -> str:
        """What an operator should hear; empty when all is well."""
        if self.trouble:
            return f"{self.name}: {self.trouble}"
        if self.days is not None and self.days < WARN_DAYS:
            return f"{self.name}: its certificate ends in {self.days} days ({self.expires[:10]})"
        return ""


def names(spec: Spec) -> tuple[str, ...]:
    """Names that users come by; none without TLS."""
    return () if spec.tls.mode == "none" else (spec.names.binder, spec.names.hub)


def look(spec: Spec, address: str, trust: ssl.SSLContext, *, port: int = PORT) -> list[Served]:
    """One handshake with the node's own address for each name, side by side; whatever fails is in the answer."""
    wanted = names(spec)
    with ThreadPoolExecutor(max_workers=len(wanted) or 1) as pool:
        return list(pool.map(lambda name: served(name, address, trust, port=port), wanted))


def served(name: str, address: str, trust: ssl.SSLContext, *, port: int = PORT) -> Served:
    """What is shown at ``address`` for ``name``, and whether ``trust`` takes it."""
    try:
        return told(name, _handshake(name, address, port, trust), "")
    except ssl.SSLCertVerificationError as error:
        trouble = f"nobody trusts its certificate: {error.verify_message}"
    except OSError as error:
        return Served(name, trouble=f"no TLS at {address}:{port}: {error.strerror or error}")
    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
    try:
        return told(name, _handshake(name, address, port, blind), trouble)
    except OSError:
        return Served(name, trouble=trouble)


def _handshake(name: str, address: str, port: int, context: ssl.SSLContext) -> bytes:
    with (
        socket.create_connection((address, port), SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=name) as safe,
    ):
        return safe.getpeercert(binary_form=True) or b""


def told(name: str, der: bytes, trouble: str, now: datetime | None = None) -> Served:
    """A certificate in short. Pure, but for the time of day where ``now`` does not give it."""
    from cryptography import x509

    found = x509.load_der_x509_certificate(der)
    end = found.not_valid_after_utc
    days = math.floor((end - (now or datetime.now(UTC))).total_seconds() / 86400)
    return Served(name, end.isoformat(), days, _short(found.issuer), trouble)


def _short(issuer: Any) -> str:
    from cryptography.x509 import NameOID

    parts = [issuer.get_attributes_for_oid(oid) for oid in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME)]
    return ", ".join(str(attributes[0].value) for attributes in parts if attributes)
