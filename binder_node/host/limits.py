"""What users' code may ask of the world, as rules of the node's nftables table: sets, counters, chains. Pure.

A source is a pod or a build step by its address. What it may meet at once is a token bucket in the kernel (`limit` in a
dynamic set); who asks for more gets into a set, where all that it asks for is refused until its time is over.
"""

from __future__ import annotations

from ipaddress import collapse_addresses

from binder_node.layout import LIB, MAIL
from binder_node.spec.abuse import Abuse

# Why a packet was refused: a named counter of the table each; binder_node.abuse.words says them in words.
COUNTERS = ("too_fast", "too_many", "mail", "banned", "false_source", "invalid", "flood", "upload", "private", "node",
            "port", "outside")  # fmt: skip
# Sets whose elements outlive a replacement of the table (host/on_node/keep.py).
KEPT = ("met", "too_fast", "too_many", "mailers", "asked_banned")
FETCHED = "banned_fetched"  # kept, too, while there is a list to be fetched
KEPT_FILE = "/run/binder-node/firewall-kept.nft"
KEEP = str(LIB / "keep.py")
# A target that was met counts as new again after an hour without a new connection to it.
MET_SECONDS = 3600
# Room for 600 pods with 200 targets each; what has none is let out, and counted in no set.
MET_SIZE, SOURCES_SIZE = 131072, 65535
# All build steps together, whatever source they write on their packets: BuildKit runs at most a few dozen.
FLOOD_RATE, FLOOD_BURST = 300, 3000
# An acknowledgement without data is 52 bytes, 64 with SACK's blocks: a fast download sends megabytes of them.
ACKNOWLEDGEMENT = 100
# Seconds' worth of `abuse.upload` that may go at once: a notebook that is pushed, not a data set.
UPLOAD_SECONDS = 16
TARGET = "ip saddr . ip daddr . th dport"


def sets(abuse: Abuse) -> str:
    """Counters and sets, as they stand in the table."""
    pair = "ipv4_addr . ipv4_addr . inet_service"
    networks = ", ".join(str(network) for network in collapse_addresses(abuse.banned))
    return "".join(
        [
            *(f"\tcounter {name} {{ }}\n" for name in COUNTERS),
            "\t# What each source has left: new connections, new targets, bytes.\n",
            *(_set(name, "ipv4_addr", "10m") for name in ("fast", "spread", "heavy")),
            "\t# Whom it met lately.\n",
            _set("met", pair, f"{MET_SECONDS}s", MET_SIZE),
            "\t# Who is cut, and who asked for what nobody gets; with how often.\n",
            *(_set(name, "ipv4_addr", f"{abuse.cut}s", counted=True) for name in ("too_fast", "too_many")),
            *(_set(name, pair, f"{MET_SECONDS}s", counted=True) for name in ("mailers", "asked_banned")),
            _banned("banned", networks),
            _banned("banned_fetched", ""),
        ]
    )


def _set(name: str, kind: str, timeout: str, size: int = SOURCES_SIZE, *, counted: bool = False) -> str:
    counter = " counter;" if counted else ""
    return f"\tset {name} {{\n\t\ttype {kind}; size {size}; flags dynamic,timeout; timeout {timeout};{counter}\n\t}}\n"


def _banned(name: str, networks: str) -> str:
    elements = f"\t\telements = {{ {networks} }}\n" if networks else ""
    return f"\tset {name} {{\n\t\ttype ipv4_addr; flags interval; auto-merge;\n{elements}\t}}\n"


def asks(abuse: Abuse) -> list[str]:
    """Chain of each new connection of a source towards the world; falls through where nothing is against it."""
    mail, allowed = ", ".join(map(str, MAIL)), f"{abuse.connections_rate}/second burst {abuse.connections} packets"
    return [
        "ip saddr @too_fast counter name too_fast jump refuse",
        "ip saddr @too_many counter name too_many jump refuse",
        f"tcp dport {{ {mail} }} update @mailers {{ {TARGET} }} counter name mail jump refuse",
        *(
            f"meta l4proto {{ tcp, udp }} ip daddr @{name} update @asked_banned {{ {TARGET} }} "
            "counter name banned jump refuse"
            for name in ("banned", "banned_fetched")
        ),
        f"update @fast {{ ip saddr limit rate over {allowed} }} "
        "update @too_fast { ip saddr } counter name too_fast jump refuse",
        "meta l4proto { tcp, udp } jump meets",
    ]


def meets(abuse: Abuse) -> list[str]:
    """Chain that counts targets, each once an hour."""
    return [
        f"{TARGET} @met update @met {{ {TARGET} }} return",
        f"update @spread {{ ip saddr limit rate over {abuse.targets_rate}/second burst {abuse.targets} packets }} "
        "update @too_many { ip saddr } counter name too_many jump refuse",
        f"update @met {{ {TARGET} }}",
    ]


def upload(abuse: Abuse, sources: str, inside: str) -> list[str]:
    """Rules before all others of the forward chain: what is above the limit is dropped, and TCP slows down.

    Answers to those who called in (a server's pages) are not a pod's own connections.
    """
    if abuse.upload is None:
        return []
    rate, burst = int(abuse.upload), int(abuse.upload) * UPLOAD_SECONDS
    return [
        f"ip saddr {sources} ip daddr != {inside} ct direction original meta length > {ACKNOWLEDGEMENT} "
        f"update @heavy {{ ip saddr limit rate over {rate} bytes/second burst {burst} bytes }} "
        "counter name upload drop"
    ]


def callers() -> list[str]:
    """Rules against banned networks that call."""
    return [f"ip saddr @{name} counter name banned jump refuse" for name in ("banned", "banned_fetched")]
