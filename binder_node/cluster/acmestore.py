"""What Traefik keeps of an authority: its account and its certificates with their keys, one JSON file. Pure.

The file is ``acme.json`` in the state folder's :data:`~binder_node.layout.ACME_STATE` (Traefik's
``provider/acme/account.go`` and ``local_store.go``): by resolver, ``Account`` and ``Certificates``, each with
``domain.main``, ``domain.sans``, and ``certificate`` and ``key`` as PEM in base 64.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from binder_node.cluster.ingress import RESOLVER


@dataclass(frozen=True, slots=True)
class Entry:
    """One certificate: the names that it is for, and its end. ``raw`` is as Traefik has it, with the private key."""

    names: tuple[str, ...]
    ends: datetime
    raw: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Store:
    """``account`` is None where Traefik has registered nowhere yet; it holds a private key."""

    account: Mapping[str, Any] | None = field(default=None, repr=False)
    entries: tuple[Entry, ...] = ()

    def of(self, names: tuple[str, ...]) -> Entry | None:
        """The certificate for exactly these names."""
        return next((entry for entry in self.entries if set(entry.names) == set(names)), None)


def parsed(text: str) -> Store:
    """The store in a file's text; an empty file is an empty store.

    Raises:
        ValueError: it is none, in words that hold nothing of it.
    """
    if not text.strip():
        return Store()
    try:
        found = json.loads(text)
    except ValueError:
        raise ValueError("it is no JSON") from None
    try:
        resolver = found.get(RESOLVER)
        if resolver is None:
            return Store()
        return Store(resolver.get("Account"), tuple(map(_entry, resolver.get("Certificates") or ())))
    except (AttributeError, KeyError, TypeError, ValueError, binascii.Error):
        raise ValueError("it has another form than Traefik's") from None


def _entry(raw: Mapping[str, Any]) -> Entry:
    from cryptography import x509

    domain, leaf = raw["domain"], x509.load_pem_x509_certificates(base64.b64decode(raw["certificate"]))[0]
    return Entry((domain["main"], *(domain.get("sans") or ())), leaf.not_valid_after_utc, raw)


def text_of(store: Store) -> str:
    """The file's text."""
    resolver = {"Account": store.account, "Certificates": [dict(entry.raw) for entry in store.entries]}
    return json.dumps({RESOLVER: resolver}, indent=2)


def carried(old: Store, new: Store, wanted: Collection[str], now: datetime) -> Store:
    """``new`` with what ``old`` has better: certificates for the names ``wanted`` that last longer, and its account
    where ``new`` has none.

    Others of ``old`` stay behind: Traefik renews whatever is in its store, and would be refused for names that do not
    lead to it. Equal to ``new`` where there is nothing to carry.
    """
    entries = list(new.entries)
    for entry in old.entries:
        if not set(entry.names) <= set(wanted) or entry.ends <= now:
            continue
        there = new.of(entry.names)
        if there is None:
            entries.append(entry)
        elif there.ends < entry.ends:
            entries[entries.index(there)] = entry
    return Store(new.account or old.account, tuple(entries))


def covers(store: Store, name: str, now: datetime) -> bool:
    """Whether a certificate for ``name`` is there that still holds."""
    return any(name in entry.names and entry.ends > now for entry in store.entries)
