"""What a zone's authoritative servers say, each on its own: the records are there when the last of them has them."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

# One question by UDP, over a slow line; dnspython asks again by TCP where the answer was cut.
ANSWER_SECONDS = 3.0
LOOKUP_SECONDS = 10.0
PORT = 53


@dataclass(frozen=True, slots=True, order=True)
class Server:
    """``name`` is for people."""

    name: str
    address: str
    port: int = PORT


@dataclass(frozen=True, slots=True, order=True)
class Answer:
    """What ``server`` says to the question for ``name``: ``addresses`` sorted, or in ``trouble`` why it has none."""

    server: str
    name: str
    addresses: tuple[str, ...] = ()
    trouble: str = ""

    def __str__(self) -> str:
        return f"{self.server} says {' '.join(self.addresses) or self.trouble} for {self.name}"


def astray(answers: Iterable[Answer], address: str) -> tuple[Answer, ...]:
    """Those that do not lead to ``address`` and to nothing else. Pure."""
    return tuple(sorted(answer for answer in answers if answer.addresses != (address,)))


def told(answers: Sequence[Answer], most: int = 3) -> str:
    """Some of them in a line. Pure."""
    more = f", and {len(answers) - most} answers more" if len(answers) > most else ""
    return "; ".join(str(answer) for answer in answers[:most]) + more


def split(text: str) -> tuple[str, int]:
    """``name:port`` or ``name``.

    >>> split("198.18.0.10:5353"), split("ns1.example.org")
    (('198.18.0.10', 5353), ('ns1.example.org', 53))
    """
    host, _, port = text.partition(":")
    return host, int(port or PORT)


def resolved(text: str) -> Server:
    """A server by its name or address, as the Spec has it. Raises OSError."""
    host, port = split(text)
    found = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)
    return Server(text, str(found[0][4][0]), port)


def servers(names: Sequence[str], zone: str, binder: str) -> tuple[list[Server], list[Answer]]:
    """Those of ``names``, or else all of ``zone``; where it is empty, of the zone that ``binder`` is in.

    Whatever cannot be found comes as an answer with its trouble: it is waited for like every other.
    """
    import dns.exception
    import dns.resolver

    if names:
        return _resolved(names, binder)
    resolver = dns.resolver.Resolver()
    resolver.lifetime = LOOKUP_SECONDS
    try:
        origin = zone or dns.resolver.zone_for_name(binder, resolver=resolver, lifetime=LOOKUP_SECONDS)
        hosts = sorted(str(item.target).rstrip(".") for item in resolver.resolve(origin, "NS"))
    except (dns.exception.DNSException, OSError) as error:
        return [], [Answer("the resolver", binder, trouble=f"no name servers ({_said(error)})")]
    return _resolved(hosts, binder)


def _resolved(names: Sequence[str], binder: str) -> tuple[list[Server], list[Answer]]:
    found, trouble = [], []
    for name in names:
        try:
            found.append(resolved(name))
        except OSError as error:
            trouble.append(Answer(name, binder, trouble=f"nothing: it has no address ({error.strerror})"))
    return found, trouble


def ask_all(asked: Sequence[Server], names: Sequence[str]) -> list[Answer]:
    """Every server for every name, side by side."""
    pairs = [(server, name) for server in asked for name in names]
    with ThreadPoolExecutor(max_workers=min(16, len(pairs)) or 1) as pool:
        return list(pool.map(lambda pair: ask(*pair), pairs))


def ask(server: Server, name: str) -> Answer:
    """One server for the addresses of one name; it is not to ask others."""
    import dns.exception
    import dns.flags
    import dns.message
    import dns.query
    import dns.rcode
    import dns.rdatatype

    query = dns.message.make_query(name, "A")
    query.flags &= ~dns.flags.RD
    try:
        reply, _ = dns.query.udp_with_fallback(query, server.address, timeout=ANSWER_SECONDS, port=server.port)
    except (dns.exception.DNSException, OSError) as error:
        return Answer(server.name, name, trouble=f"nothing ({_said(error)})")
    code = reply.rcode()
    if code == dns.rcode.NXDOMAIN:
        return Answer(server.name, name, trouble="there is no such name")
    if code != dns.rcode.NOERROR:
        return Answer(server.name, name, trouble=dns.rcode.to_text(code))
    if not reply.flags & dns.flags.AA:
        return Answer(server.name, name, trouble="nothing of its own: it is not the zone's server")
    found = {str(item) for rrset in reply.answer if rrset.rdtype == dns.rdatatype.A for item in rrset}
    aliases = [str(item.target) for rrset in reply.answer if rrset.rdtype == dns.rdatatype.CNAME for item in rrset]
    trouble = f"CNAME {aliases[-1]}" if aliases else "there is no address"
    return Answer(server.name, name, tuple(sorted(found)), "" if found else trouble)


def _said(error: Exception) -> str:
    import dns.exception

    if isinstance(error, dns.exception.Timeout):
        return f"no answer within {ANSWER_SECONDS:.0f} s"
    return str(error) or type(error).__name__
