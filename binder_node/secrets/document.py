"""What is inside ``secrets/NODE.age``: the values, and what is known about them. Pure.

A JSON object: each secret by its name, ``tokens`` by kind, ``about`` with when and by whom each was changed, and
``recipients``, for whom it was last encrypted on purpose. The last three may be missing: they are newer.
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
ABOUT, RECIPIENTS, MAPPING = "about", "recipients", "tokens"


@dataclass(frozen=True, slots=True)
class About:
    """``created`` and ``changed`` are UTC times in ISO 8601, empty where a version before this one wrote it."""

    created: str = ""
    changed: str = ""
    origin: Origin = "made"


@dataclass(frozen=True)
class Document:
    """``values`` and ``tokens`` are in clear: never print one. Both ``__repr__`` and tracebacks show names only."""

    values: Mapping[str, Any] = field(default_factory=dict, repr=False)
    tokens: Mapping[str, Any] = field(default_factory=dict, repr=False)
    about: Mapping[str, About] = field(default_factory=dict)
    recipients: tuple[Recipient, ...] = ()

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
        return dict(self.values) == dict(other.values) and dict(self.tokens) == dict(other.tokens)

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
    tokens, about, listed = found.pop(MAPPING, {}), found.pop(ABOUT, {}), found.pop(RECIPIENTS, [])
    if not isinstance(tokens, dict) or not isinstance(about, dict) or not isinstance(listed, list):
        return None
    return Document(
        found,
        tokens,
        {str(name): _about(said) for name, said in about.items()},
        tuple(Recipient(str(k)) for k in listed),
    )


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
