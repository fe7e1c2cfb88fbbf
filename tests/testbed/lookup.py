"""A resolver in this process for one zone: asks its server and remembers an answer for as long as its ttl says.

Stands in for the resolver that a user's computer has; names of other zones are asked as ever.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dns.exception
import dns.message
import dns.query
import dns.rdatatype

# resolv.conf(5) has two of five seconds; more, since the machine of the tests is busier than most.
SECONDS, TRIES = 5.0, 4


class Lookup:
    """``lookup(name)``: the address of a name below ``zone``, as the server at ``address`` has it."""

    def __init__(self, address: str, zone: str) -> None:
        self.address, self.zone = address, zone
        self._known: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def __call__(self, name: str) -> str:
        with self._lock:
            found, until = self._known.get(name, ("", 0.0))
        if time.monotonic() < until:
            return found
        for rrset in self._asked(name).answer:
            if rrset.rdtype == dns.rdatatype.A:
                found = str(next(iter(rrset)))
                with self._lock:
                    self._known[name] = (found, time.monotonic() + rrset.ttl)
                return found
        raise socket.gaierror(socket.EAI_NONAME, f"{self.address} has no address for {name}")

    def _asked(self, name: str) -> dns.message.Message:
        """Asked again where no answer comes, as libc's resolver does."""
        for _ in range(TRIES):
            try:
                return dns.query.udp_with_fallback(dns.message.make_query(name, "A"), self.address, timeout=SECONDS)[0]
            except dns.exception.Timeout:
                continue
        raise socket.gaierror(socket.EAI_AGAIN, f"no answer from {self.address} for {name}")

    def covers(self, host: object) -> bool:
        return isinstance(host, str) and (host == self.zone or host.endswith(f".{self.zone}"))

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Every look-up of this process goes by here, for the block."""
        before: Callable[..., Any] = socket.getaddrinfo

        def getaddrinfo(host: Any, *more: Any, **named: Any) -> Any:
            return before(self(host) if self.covers(host) else host, *more, **named)

        socket.getaddrinfo = getaddrinfo
        try:
            yield
        finally:
            socket.getaddrinfo = before
