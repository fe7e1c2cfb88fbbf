"""Public host keys: fingerprints, and the ``known_hosts`` beside the inventories that holds the confirmed ones. Pure.

A key here is OpenSSH's ``TYPE BASE64``, without a comment.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable

FILE = "known_hosts"
HEADER = (
    "# Host keys that an operator has confirmed, for nodes whose inventory has no provider.host_key. Commit this file."
)
# The kinds of key in the order in which they are shown to a person: cloud images make all three.
KINDS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")


def fingerprint(key: str) -> str:
    """As ``ssh-keygen -l`` writes it: ``SHA256:`` and 43 letters.

    Raises:
        ValueError: ``key`` is no public key.
    """
    _, _, rest = key.strip().partition(" ")
    try:
        blob = base64.b64decode(rest.split(" ")[0], validate=True)
    except binascii.Error as error:
        raise ValueError(f"{key!r} is no public key") from error
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def described(key: str) -> str:
    """For messages: ``ssh-ed25519 SHA256:...``."""
    return f"{key.split()[0]} {fingerprint(key)}"


def preferred(keys: Iterable[str]) -> list[str]:
    """Keys of the known kinds, the one to show first at the front."""
    ranked = {kind: place for place, kind in enumerate(KINDS)}
    return sorted((key for key in keys if key.split()[0] in ranked), key=lambda key: (ranked[key.split()[0]], key))


def matching(keys: Iterable[str], wanted: str) -> str | None:
    """The key with the fingerprint ``wanted``."""
    return next((key for key in preferred(keys) if fingerprint(key) == wanted), None)


def find(text: str, name: str) -> str | None:
    """The key of the node ``name`` in a ``known_hosts``; of several lines the last one."""
    found: str | None = None
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 3 and not line.startswith("#") and name in words[0].split(","):
            found = f"{words[1]} {words[2]}"
    return found


def put(text: str, name: str, address: str, port: int, key: str) -> str:
    """``text`` with ``key`` as the only one of ``name``; other nodes' lines and comments stay.

    The line also names the address, so that plain ``ssh -o UserKnownHostsFile=...`` knows the machine.
    """
    place = address if port == 22 else f"[{address}]:{port}"
    kept = [line for line in text.splitlines() if line.startswith("#") or name not in line.split(" ")[0].split(",")]
    return "\n".join([*(kept or [HEADER]), f"{name},{place} {key}"]) + "\n"
