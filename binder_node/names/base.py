"""What a zone is to the stage. A further way to write records is one module that meets this, and one model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from binder_node.errors import StepError
from binder_node.names.records import Edit, Found
from binder_node.node import Node
from binder_node.spec.model import CloudflareDns, ManualDns, NoDns

STAGE = "names"


class Zone(Protocol):
    """A zone that can be written to. Every method raises StepError or DeadlineError, with what the server said."""

    def read(self, names: Iterable[str]) -> list[Found]:
        """The records of :data:`~binder_node.names.records.KINDS` at ``names``, as the zone holds them (no wildcard
        stands for a name here), and all others that bear the node's mark where the zone can be asked for those."""
        ...

    def write(self, edits: Sequence[Edit]) -> None:
        """Make the edits and mark what was put. What is no longer as it was read is not written over, where the
        server can tell."""
        ...


# Kinds of `binder_node.secrets.tokens`, by the Spec's `dns.kind`.
TOKENS = {"cloudflare": "cloudflare", "rfc2136": "rfc2136"}


def zone_of(node: Node) -> Zone | None:
    """The zone that the Spec names, nothing asked yet; None where nobody writes records.

    Raises:
        InputError: its token is not to be had, or of no use.
    """
    from binder_node.secrets.tokens import token

    name, dns = node.spec.name, node.spec.dns
    if isinstance(dns, NoDns | ManualDns):
        return None
    secret = token(node, TOKENS[dns.kind])
    if isinstance(dns, CloudflareDns):
        from binder_node.names.cloudflare import Cloudflare

        return Cloudflare(name, dns, secret)
    from binder_node.names.rfc2136 import Rfc2136, checked_secret

    return Rfc2136(name, dns, checked_secret(secret))


def missing_zone(node: str, zone: str, seen: Sequence[str]) -> StepError:
    """The token is good, and the zone is not among what it shows."""
    there = f"it shows {', '.join(sorted(seen)[:5])}" if seen else "it shows no zone at all"
    return StepError(node, f"find the zone {zone}", f"the token does not show it; {there}", "check dns.zone")
