"""What is inside ``secrets/NODE.age``: the values, and what is known about them. Pure.

A JSON object: each secret by its name, ``tokens`` by kind, ``about`` with when and by whom each was changed,
``recipients``, for whom it was last encrypted on purpose, and ``next``, keys that are on their way to the machine. All
but the secrets may be missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from binder_node.secrets.recipients import Recipient

Origin = Literal["made", "given"]
TOKENS = "tokens."
# Keys of the object that are no secrets of their own.
ABOUT, RECIPIENTS, MAPPING, NEXT = "about", "recipients", "tokens", "next"


@dataclass(frozen=True, slots=True)
class About:
    """``created`` and ``changed`` are UTC times in ISO 8601, empty where a version before this one wrote it."""

    created: str = ""
    changed: str = ""
    origin: Origin = "made"


@dataclass(frozen=True)
class Document:
    """``values``, ``tokens`` and ``coming`` are in clear; what prints one shows none of them. ``coming`` are new keys
    that the machine may have already, until they are proven and take their names' places."""

    values: Mapping[str, Any] = field(default_factory=dict, repr=False)
    tokens: Mapping[str, Any] = field(default_factory=dict, repr=False)
    about: Mapping[str, About] = field(default_factory=dict)
    recipients: tuple[Recipient, ...] = ()
    coming: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def names(self) -> list[str]:
        """Every name that holds a secret, tokens as ``tokens.KIND``, without the public halves."""
        own = [name for name in self.values if not name.endswith("_public")]
        return [*own, *(f"{TOKENS}{kind}" for kind in self.tokens)]

    def get(self, name: str) -> Any:
        """The value of ``name``, None where there is none."""
        if name.startswith(TOKENS):
            return self.tokens.get(name.removeprefix(TOKENS))
        return self.values.get(name)

    def same_secrets(self, other: Document) -> bool:
        kept = dict(self.values) == dict(other.values) and dict(self.tokens) == dict(other.tokens)
        return kept and dict(self.coming) == dict(other.coming)

    def replaces(self, other: Document) -> bool:
        """Whether a secret of ``other`` is another here, or gone."""
        return any(self.get(name) != other.get(name) for name in other.names)


def parse(content: bytes) -> Document | None:
    """The document in what was decrypted; None where it is none. Values are not looked at."""
    try:
        found = json.loads(content)
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    tokens, about, coming = (found.pop(name, {}) for name in (MAPPING, ABOUT, NEXT))
    listed = found.pop(RECIPIENTS, [])
    if not all(isinstance(part, dict) for part in (tokens, about, coming)) or not isinstance(listed, list):
        return None
    known = {str(name): _about(said) for name, said in about.items()}
    return Document(found, tokens, known, tuple(Recipient(str(key)) for key in listed), coming)


def _about(said: Any) -> About:
    if not isinstance(said, dict):
        return About()
    origin: Origin = "given" if said.get("origin") == "given" else "made"
    return About(str(said.get("created", "")), str(said.get("changed", "")), origin)


def dump(document: Document) -> bytes:
    """What is to be encrypted. ``tokens`` is left out where there is none."""
    about = {
        name: {"created": said.created, "changed": said.changed, "origin": said.origin}
        for name, said in document.about.items()
        if name in document.names
    }
    return json.dumps(
        {
            **document.values,
            **({MAPPING: dict(document.tokens)} if document.tokens else {}),
            **({NEXT: dict(document.coming)} if document.coming else {}),
            ABOUT: about,
            RECIPIENTS: [one.key for one in document.recipients],
        },
        indent=2,
    ).encode()


def with_values(document: Document, values: Mapping[str, str], now: str, given: Iterable[str] = ()) -> Document:
    """``document`` with ``values`` (``tokens.KIND`` among them) laid over it, each change noted at ``now``; ``given``
    are the names that somebody else made."""
    others = set(given)
    own, tokens, about = dict(document.values), dict(document.tokens), dict(document.about)
    for name, value in values.items():
        if document.get(name) == value:
            continue
        if name.startswith(TOKENS):
            tokens[name.removeprefix(TOKENS)] = value
        else:
            own[name] = value
        if not name.endswith("_public"):
            created = about[name].created if name in about else ("" if name in document.names else now)
            about[name] = About(created, now, "given" if name in others else "made")
    return replace(document, values=own, tokens=tokens, about=about)


def without_token(document: Document, kind: str) -> Document:
    """``document`` without a token."""
    tokens = {name: value for name, value in document.tokens.items() if name != kind}
    return replace(document, tokens=tokens)


def with_coming(document: Document, keys: Mapping[str, str]) -> Document:
    """``document`` with keys on their way; one that is on its way already stays as it is."""
    return replace(document, coming={**keys, **document.coming})


def without_coming(document: Document, names: Iterable[str]) -> Document:
    """``document`` without keys that no machine is going to get any more."""
    gone = set(names)
    return replace(document, coming={name: key for name, key in document.coming.items() if name not in gone})


def arrived(document: Document, names: Iterable[str], publics: Mapping[str, str], now: str) -> Document:
    """``document`` with the keys of ``names`` in their places; ``publics`` are their public halves by name."""
    came = {name: document.coming[name] for name in names if name in document.coming}
    halves = {f"{name}_public": publics[name] for name in came}
    return without_coming(with_values(document, {**came, **halves}, now), came)
