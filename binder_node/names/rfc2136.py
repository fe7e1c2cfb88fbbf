"""A zone by dynamic update (RFC 2136), signed with a TSIG key (RFC 8945).

A record's owner stands beside it, in a TXT record under :func:`heritage`. All edits go in one message, which the
server takes whole or not at all, and only where the zone still is as it was read.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from binder_node.errors import DeadlineError, InputError, Problem, StepError
from binder_node.names.records import KINDS, Edit, Found, Kind, Record
from binder_node.names.servers import Server, resolved
from binder_node.secrets.masked import Masked
from binder_node.spec.model import Rfc2136Dns

if TYPE_CHECKING:
    from dns.message import Message
    from dns.update import UpdateMessage

SECONDS = 10.0
PLAIN, WILD = "binder-node", "binder-node-any"
# What a server says when the zone is not as a message supposes (RFC 2136, 2.2).
CHANGED = ("NXDOMAIN", "NXRRSET", "YXDOMAIN", "YXRRSET")
REMEDIES = {
    "REFUSED": "let the key update the zone, and ask it, on that server",
    "NOTAUTH": "is it the zone's primary server? check dns.server and dns.zone",
    "NOTZONE": "check dns.zone",
    "SERVFAIL": "see the server's log",
}


def checked_secret(secret: Masked) -> Masked:
    """The key's secret. Raises InputError where it is not base64."""
    try:
        base64.b64decode(secret.reveal(), validate=True)
    except binascii.Error:
        wrong, right = "is not base64", "give the secret as the server's configuration has it"
        raise InputError(Problem("", 0, "the secret of dns.key", wrong, right)) from None
    return secret


def heritage(name: str) -> str:
    """Where a record's owner stands. Not below the record of a wildcard: that would end it for a name in between.

    >>> heritage("bids.example.org"), heritage("*.bids.example.org")
    ('binder-node.bids.example.org', 'binder-node-any.bids.example.org')
    """
    return f"{WILD}.{name[2:]}" if name.startswith("*.") else f"{PLAIN}.{name}"


def owner_text(node: str) -> str:
    """The TXT record's text."""
    return f"heritage=binder-node,node={node}"


@dataclass(frozen=True, slots=True)
class Rfc2136:
    """``secret`` is the key's, in base64."""

    node: str
    dns: Rfc2136Dns
    secret: Masked

    def read(self, names: Iterable[str]) -> list[Found]:
        """Raises StepError or DeadlineError."""
        server, found = self._server(), []
        for name in names:
            there = [(kind, *got) for kind in KINDS if (got := self._rrset(server, name, kind)) is not None]
            owner = self._owner(server, name) if there else ""
            found += [Found(Record(name, kind, values, ttl), owner) for kind, values, ttl in there]
        return found

    def write(self, edits: Sequence[Edit]) -> None:
        """Raises StepError or DeadlineError; then nothing was changed."""
        message = self._update()
        for edit in edits:
            self._suppose(message, edit)
        for edit in edits:
            for found in edit.over:
                message.delete(_absolute(found.record.name), found.record.kind)
            beside = _absolute(heritage(edit.name))
            message.delete(beside, "TXT")
            if edit.put is not None:
                message.add(_absolute(edit.name), edit.put.ttl, edit.put.kind, *edit.put.values)
                message.add(beside, edit.put.ttl, "TXT", f'"{owner_text(self.node)}"')
        said = self._send(self._server(), message)
        if said in CHANGED:
            raise StepError(
                self.node,
                f"update {self.dns.zone}",
                f"a record changed meanwhile ({said})",
                "run the same command again",
            )
        if said != "NOERROR":
            raise self._refused(f"update {self.dns.zone}", said)

    def _suppose(self, message: UpdateMessage, edit: Edit) -> None:
        """That the zone still is as it was read."""
        name = _absolute(edit.name)
        for found in edit.over:
            # A target without its last dot would be a name of the zone.
            dot = "." if found.record.kind == "CNAME" else ""
            message.present(name, found.record.kind, *(f"{value}{dot}" for value in found.record.values))
        if edit.put is not None and not any(found.record.kind == "A" for found in edit.over):
            message.absent(name, "A")

    def _rrset(self, server: Server, name: str, kind: Kind) -> tuple[tuple[str, ...], int] | None:
        """Values and ttl of a record that stands at ``name`` itself: a wildcard further up answers too, and what a
        message supposes is of the zone alone (RFC 2136, 3.2)."""
        import dns.rdatatype

        wanted = dns.rdatatype.from_text(kind)
        answer = self._query(server, name, kind).answer
        there = [rrset for rrset in answer if rrset.rdtype == wanted and rrset.name == _absolute(name)]
        if not there:
            return None
        message = self._update()
        message.present(_absolute(name), kind)
        said = self._send(server, message)
        if said in CHANGED:
            return None
        if said != "NOERROR":
            raise self._refused(f"look at {name}", said)
        return tuple(sorted(str(item).rstrip(".") if kind == "CNAME" else str(item) for item in there[0])), there[0].ttl

    def _owner(self, server: Server, name: str) -> str:
        import dns.rdatatype

        for rrset in self._query(server, heritage(name), "TXT").answer:
            for item in rrset if rrset.rdtype == dns.rdatatype.TXT else ():
                text = b"".join(item.strings).decode(errors="replace")
                if text.startswith(owner_text("")):
                    return text.removeprefix(owner_text(""))
        return ""

    # --- messages --------------------------------------------------------------------------------------------------

    def _server(self) -> Server:
        try:
            return resolved(self.dns.server)
        except OSError as error:
            raise StepError(
                self.node, f"find {self.dns.server}", error.strerror or str(error), "check dns.server"
            ) from None

    def _keyring(self) -> dict[Any, Any]:
        import dns.name
        import dns.tsig

        name = dns.name.from_text(self.dns.key)
        return {name: dns.tsig.Key(name, self.secret.reveal(), self.dns.algorithm)}

    def _update(self) -> UpdateMessage:
        import dns.update

        return dns.update.UpdateMessage(self.dns.zone, keyring=self._keyring(), keyalgorithm=self.dns.algorithm)

    def _query(self, server: Server, name: str, kind: str) -> Message:
        import dns.flags
        import dns.message
        import dns.rcode

        query = dns.message.make_query(name, kind)
        query.flags &= ~dns.flags.RD
        query.use_tsig(self._keyring(), algorithm=self.dns.algorithm)
        reply = self._exchange(server, query, f"look at {name}")
        if reply.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            raise self._refused(f"look at {name}", dns.rcode.to_text(reply.rcode()))
        return reply

    def _send(self, server: Server, message: UpdateMessage) -> str:
        import dns.rcode

        return dns.rcode.to_text(self._exchange(server, message, f"update {self.dns.zone}").rcode())

    def _exchange(self, server: Server, message: Message, what: str) -> Message:
        import dns.exception
        import dns.query
        import dns.tsig

        try:
            return dns.query.tcp(message, server.address, timeout=SECONDS, port=server.port)
        except dns.exception.Timeout:
            raise DeadlineError(self.node, f"{self.dns.server} ({what})", SECONDS) from None
        except dns.tsig.PeerBadTime:
            raise StepError(self.node, what, "the server's clock and ours differ", "set both by NTP") from None
        except (dns.tsig.PeerError, dns.tsig.BadSignature, dns.message.UnknownTSIGKey) as error:
            reason = f"the server does not take our key {self.dns.key} ({type(error).__name__})"
            remedy = "check dns.key, dns.algorithm and the key's secret"
            raise StepError(self.node, what, reason, remedy) from None
        except dns.exception.FormError as error:
            # A server that refuses before it looks at the key does not sign.
            raise StepError(self.node, what, f"{self.dns.server}: {error}", REMEDIES["NOTAUTH"]) from None
        except (dns.exception.DNSException, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise StepError(self.node, what, f"{self.dns.server}: {reason}", "is it up, and open to you?") from None

    def _refused(self, what: str, said: str) -> StepError:
        return StepError(self.node, what, f"{self.dns.server} says {said}", REMEDIES.get(said, ""))


def _absolute(name: str) -> Any:
    import dns.name

    return dns.name.from_text(name)
