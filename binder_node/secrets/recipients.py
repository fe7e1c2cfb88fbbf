"""For whom a node's secrets are encrypted: lists in age's own form, one public key a line. Pure.

``secrets/recipients`` holds for every node, ``secrets/NODE.recipients`` for one, in its place. Both are plain files to
commit and to review (``age -R`` takes them too); who may read the secrets is no secret.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from binder_node.errors import InputError, Problem

if TYPE_CHECKING:
    from pathlib import Path

SHARED = "recipients"
SUFFIX = ".recipients"
ASK = "write age1... (of age-keygen), or a public key ssh-ed25519 or ssh-rsa in one line"
HEADER = """\
# Who can read the secrets here: one public key a line, age1... (of age-keygen), ssh-ed25519 or ssh-rsa.
# A key that is written here by hand reads nothing before `binder-node secrets recipients NODE --apply`.

"""
# The kinds of stanzas that age's header may hold (https://age-encryption.org/v1), and where others' plugins begin.
ARMOR = b"-----BEGIN AGE ENCRYPTED FILE-----"
GREASE = "-grease"


@dataclass(frozen=True, slots=True)
class Recipient:
    """A public key without its comment; two are one when their keys are."""

    key: str

    @property
    def kind(self) -> str:
        """``age``, ``ssh-ed25519`` or ``ssh-rsa``."""
        return self.key.split()[0] if self.key.startswith("ssh-") else "age"

    def short(self) -> str:
        """For a table: what tells it from others."""
        return self.key if self.kind == "age" else f"{self.kind} {fingerprint(self.key)}"

    def loaded(self) -> Any:
        """The key as pyrage takes it."""
        from pyrage import ssh, x25519  # type: ignore[import-untyped]

        kind = x25519.Recipient if self.kind == "age" else ssh.Recipient
        return kind.from_str(self.key)


@dataclass(frozen=True, slots=True)
class Listed:
    """A line of a list: the key, an ssh key's comment, and which file says so."""

    recipient: Recipient
    comment: str
    file: str


def recipient(text: str) -> Recipient:
    """The key in ``text``.

    Raises:
        ValueError: with what is wrong, in words.
    """
    from pyrage import RecipientError

    words = text.split()
    if not words:
        raise ValueError("is empty")
    first = words[0]
    if first.startswith("AGE-SECRET-KEY-") or "PRIVATE KEY" in text:
        raise ValueError("is a private key; it is not shown here, and does not belong in a list")
    if first.startswith("ssh-") and first not in ("ssh-ed25519", "ssh-rsa"):
        raise ValueError(f"age encrypts to no {first} key")
    if first.startswith(("ecdsa-", "sk-")):
        raise ValueError(f"age encrypts to no {first} key")
    if first.startswith("age1") and len(words) > 1:  # age itself refuses the file then
        raise ValueError("has more than a key on its line; comments stand on lines of their own")
    found = Recipient(_key(text))
    try:
        found.loaded()
    except (RecipientError, ValueError, TypeError):
        if first.startswith("age1"):
            raise ValueError("is no age key (mistyped, or of a plugin, which is not known here)") from None
        raise ValueError("is no public key") from None
    return found


def parsed(text: str, file: str) -> list[Listed]:
    """A list's lines. Raises InputError with every line that is none, by its number."""
    found, wrong = [], []
    for number, line in enumerate(text.splitlines(), 1):
        said = line.strip()
        if not said or said.startswith("#"):
            continue
        try:
            key = recipient(said)
        except ValueError as error:
            wrong.append(Problem(file, number, "", str(error), ASK))
            continue
        found.append(Listed(key, " ".join(said.split()[2:]) if key.kind != "age" else "", file))
    if wrong:
        raise InputError(*wrong)
    return found


def read(folder: Path, node: str) -> tuple[Path, list[Listed]]:
    """The list that holds for ``node``, and its file: the node's own where there is one. No file is an empty list.

    Raises:
        InputError: a line is no key, or the file cannot be read.
    """
    own = folder / f"{node}{SUFFIX}"
    path = own if own.exists() else folder / SHARED
    try:
        return path, parsed(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        return path, []
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise InputError(Problem(str(path), 0, "", f"cannot be read: {reason}", ASK)) from None


def sharing(listed_in: Path, file: Path) -> tuple[str, ...]:
    """Other nodes in the folder of ``file`` for which the list ``listed_in`` holds."""
    if listed_in.name != SHARED:
        return ()
    found = (path for path in sorted(file.parent.glob("*.age")) if path != file)
    return tuple(path.stem for path in found if not path.with_name(f"{path.stem}{SUFFIX}").exists())


def added(text: str, lines: Iterable[str]) -> str:
    """``text`` with ``lines`` at its end; an empty text gets its explaining head."""
    before = text or HEADER
    return before + ("" if before.endswith("\n") else "\n") + "".join(f"{line.strip()}\n" for line in lines)


def without(text: str, gone: Recipient) -> str:
    """``text`` without the lines of a key; comments and order stay."""

    def stays(line: str) -> bool:
        said = line.strip()
        return not said or said.startswith("#") or _key(said) != gone.key

    return "".join(line for line in text.splitlines(keepends=True) if stays(line))


def _key(line: str) -> str:
    words = line.split()
    return " ".join(words[:2]) if words[0].startswith("ssh-") else words[0]


def unique(found: Iterable[Recipient]) -> list[Recipient]:
    """Each once, in order."""
    return list(dict.fromkeys(found))


def fingerprint(public: str) -> str:
    """``SHA256:...`` of an OpenSSH public key, as ssh-keygen shows it."""
    blob = base64.b64decode(public.split()[1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def stanzas(sealed: bytes) -> Iterator[str]:
    """The kinds of recipients in an age file's header, ``X25519`` or ``ssh-ed25519``: as many as it is encrypted for.

    age's grease (random stanzas that nobody reads) is left out. A file that is none has none.
    """
    head = sealed
    if sealed.lstrip().startswith(ARMOR):
        body = [line for line in sealed.strip().splitlines() if not line.startswith(b"-----")]
        try:
            head = base64.b64decode(b"".join(body), validate=True)
        except binascii.Error:
            return
    for line in head.split(b"\n"):
        if line.startswith(b"---"):
            return
        if line.startswith(b"-> "):
            kind = line.split(b" ")[1].decode("ascii", "replace")
            if not kind.endswith(GREASE):
                yield kind


def lost(before: Sequence[Recipient], after: Sequence[Recipient]) -> list[Recipient]:
    """Who could read and can no more."""
    return [one for one in before if one not in after]


__all__ = [
    "ASK",
    "SHARED",
    "SUFFIX",
    "Listed",
    "Recipient",
    "added",
    "fingerprint",
    "lost",
    "parsed",
    "read",
    "recipient",
    "sharing",
    "stanzas",
    "unique",
    "without",
]
