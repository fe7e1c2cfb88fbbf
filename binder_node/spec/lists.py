"""A list of who is banned: networks and repositories, one a line; ``#`` begins a comment. Pure.

Read here for the inventory's own file, and on the node for the list at a URL: standard library only, nothing newer than
Python 3.10. A list with a wrong line is wrong as a whole.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, collapse_addresses
from urllib.parse import unquote

# Wider than this is a slip that would cut users from the world; together a sixteenth of all addresses.
WIDEST, MOST_ADDRESSES = 8, 2**28
# nft takes a set of so many in a second, BinderHub goes through so many at a launch in milliseconds.
MOST_LINES = 20_000
# Where the node itself, its pods and services, its neighbours and the metadata service are (RFC 6890). They are the
# firewall's to refuse; banned, they would be refused to the node's own web.
PRIVATE = tuple(
    IPv4Network(one)
    for one in ("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
                "192.168.0.0/16", "224.0.0.0/4", "240.0.0.0/4")
)  # fmt: skip
NETWORK, PLACE = "an IPv4 address or network, like 203.0.113.0/24", "a repository, like github.com/org/name"


@dataclass(frozen=True)
class Banned:
    """``networks`` put together where they meet, ``repositories`` as :func:`place` writes them."""

    networks: tuple[IPv4Network, ...] = ()
    repositories: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wrong:
    """What is wrong at ``line`` (from 1; 0: the whole), and what would be right."""

    line: int
    wrong: str
    right: str


def place(url: str) -> str:
    """Host and path of a repository, as they are compared: no scheme, login, port, ``www.`` or ``.git``, small letters.

    >>> place("https://me@GitHub.com:443/Org//Name.git/")
    'github.com/org/name'
    >>> place("https://doi.org/10.5281/zenodo.3242074")
    '10.5281/zenodo.3242074'
    """
    text = unquote(url).strip().lower().partition("#")[0].partition("?")[0]
    host, _, path = re.sub(r"^([a-z+.-]+:)?//", "", text).partition("/")
    host = host.rpartition("@")[2].partition(":")[0].rstrip(".").removeprefix("www.")
    inner = posixpath.normpath("/" + re.sub(r"\.git(?=/|$)", "", path)).strip("/")
    if host in ("doi.org", "dx.doi.org"):
        return inner
    return f"{host}/{inner}".rstrip("/")


def is_banned(url: str, repositories: Iterable[str]) -> bool:
    """Whether a repository, or what it is below, is one of ``repositories``.

    >>> is_banned("https://github.com/org/name", ["github.com/org"])
    True
    >>> is_banned("https://github.com/organisation/name", ["github.com/org"])
    False
    """
    asked = place(url)
    return any(asked == one or asked.startswith(f"{one}/") for one in repositories)


def against(network: IPv4Network, own: str = "") -> str:
    """Why a network is not to be banned, empty where nothing is against it; ``own`` is the node's address."""
    if network.prefixlen < WIDEST:
        return f"{network} is too much of the world"
    if own and IPv4Address(own) in network:
        return f"{network} has the node's own address, {own}"
    private = next((one for one in PRIVATE if one.overlaps(network)), None)
    return f"{network} is in {private}, where the node's own parts and its neighbours are" if private else ""


def read(text: str, own: str = "") -> tuple[Banned, list[Wrong]]:
    """What a list says, and every wrong line; ``own`` is the node's address, empty where it is not known."""
    networks, repositories, wrong = [], [], []
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        said = line.partition("#")[0].strip()
        if not said:
            continue
        found = _network(said)
        if found is not None:
            if why := against(found, own):
                wrong.append(Wrong(number, why, f"ban public networks of /{WIDEST} or narrower"))
            networks.append(found)
        elif why := _no_place(said):
            wrong.append(Wrong(number, why, f"write {NETWORK}, or {PLACE}"))
        else:
            repositories.append(place(said))
    count = len(networks) + len(repositories)
    if count > MOST_LINES:
        wrong.append(Wrong(0, f"it has {count} lines", f"write {MOST_LINES} at most"))
    together = tuple(collapse_addresses(networks))
    if not wrong and sum(one.num_addresses for one in together) > MOST_ADDRESSES:
        wrong.append(Wrong(0, "together its networks are too much of the world", "ban a sixteenth of it at most"))
    return Banned(together, tuple(dict.fromkeys(repositories))), wrong


def _network(said: str) -> IPv4Network | None:
    try:
        return IPv4Network(said, strict=False)
    except ValueError:
        return None


def _no_place(said: str) -> str:
    """Why a line is no repository's."""
    found = place(said)
    host, _, path = found.partition("/")
    # DOIs begin with numbers, too (https://www.doi.org/the-identifier/resources/handbook: 10. and four digits or more).
    number = re.fullmatch(r"[\d.]+", host) and not re.fullmatch(r"10\.\d{4,9}", host)
    if number or "." not in host or re.search(r"\s", said):
        return f"{said!r} is neither a network nor a repository"
    return "" if path else f"{said!r} would ban all of {host}"
