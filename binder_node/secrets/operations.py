"""What `binder-node secrets` does, over the store; what it tells holds no value."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from binder_node import files
from binder_node.errors import InputError, Problem
from binder_node.secrets import recipients as lists
from binder_node.secrets import tokens
from binder_node.secrets.catalog import CATALOG, entry, hindrance, unused
from binder_node.secrets.document import TOKENS, About, Document, with_values, without_coming, without_token
from binder_node.secrets.generate import KEYS, MAKERS, private_key, public_key
from binder_node.secrets.identity import ensure_identities
from binder_node.secrets.recipients import Recipient
from binder_node.secrets.store import SecretStore, given_keys, utc_now

# What the operator may give; everything else is made here and nobody has to know it.
SETTABLE = ("build_token_secret",)
# Larger than any key; a file given by mistake is not kept.
LARGEST = 64 * 1024
LEAST_HEX = 64  # 32 bytes, as the one made here


@dataclass(frozen=True, slots=True)
class Made:
    """What ``init`` found and made. ``missing`` are secrets that only the operator can give."""

    identity: Path
    identity_made: bool
    public: tuple[str, ...]
    file: Path
    file_made: bool
    recipients: int
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """One name, without its value. Times are ISO 8601 in UTC, empty where an older version wrote it."""

    name: str
    kind: str
    purpose: str
    created: str
    changed: str
    origin: str
    used: bool


@dataclass(frozen=True, slots=True)
class Rotated:
    """One name and what the next ``up`` does: ``restarts`` are units and pods, ``effect`` is what people notice."""

    name: str
    restarts: tuple[str, ...]
    effect: str


@dataclass(frozen=True, slots=True)
class Rotation:
    """``left`` are (name, why it was not rotated); ``in_force``: the machine has them already, without an `up`."""

    rotated: tuple[Rotated, ...]
    left: tuple[tuple[str, str], ...]
    in_force: bool = False


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who is listed, or whom the file is encrypted for, or both. ``source``: ``identity``, or the list's
    file; empty for one who is in no list any more."""

    key: str
    kind: str
    comment: str
    source: str
    encrypted: bool


@dataclass(frozen=True, slots=True)
class Readers:
    """``listed_in`` is the list that holds; ``encrypted_for`` is how many the file's header has, which may be more than
    are known here; ``added`` and ``removed`` are keys that an :func:`apply_lists` let in and put out; ``others`` are
    further nodes of the same list."""

    listed_in: Path
    readers: tuple[Reader, ...]
    encrypted_for: int
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether the file is encrypted for exactly those who are listed."""
        listed = all(reader.encrypted and reader.source for reader in self.readers)
        return listed and self.encrypted_for == len(self.readers)


def init(store: SecretStore) -> Made:
    """Make the identity and the file where they are missing, with every secret that can be made here.

    Raises:
        InputError, StepError: the file is there and cannot be used, or nothing can be written.
    """
    identity_made, file_made = not store.identity.exists(), not store.file.exists
    if identity_made and not file_made:
        store.document()  # a lost identity is not made anew: says so
    identities = ensure_identities(store.identity)
    _, document = store.change(store.completed)
    return Made(
        store.identity,
        identity_made,
        tuple(identity.public.key for identity in identities),
        store.path,
        file_made,
        store.file.encrypted_for(),
        tuple(store.s3_missing(document.values)),
    )


def names(store: SecretStore) -> list[Shown]:
    """Every secret that there is, and none of their values."""
    document = store.document()
    return [_shown(name, document, store) for name in document.names if name.startswith(TOKENS) or name in CATALOG]


def _shown(name: str, document: Document, store: SecretStore) -> Shown:
    about, known = document.about.get(name, About()), entry(name)
    return Shown(
        name, known.kind, known.purpose, about.created, about.changed, about.origin, not unused(name, store.spec)
    )


def rotate(store: SecretStore, wanted: Sequence[str], *, new_machine: bool = False) -> Rotation:
    """New values for ``wanted``, or for all that can be rotated when none is named.

    Raises:
        InputError: a name is unknown or cannot be rotated; nothing was changed.
        StepError: the file cannot be read or written.
    """
    document, node = store.document(), store.inventory.stem
    known = [name for name in document.names if name.startswith(TOKENS) or name in CATALOG]
    if unknown := [name for name in wanted if name not in known]:
        right = f"`binder-node secrets show {node} --names` lists them"
        raise InputError(*(Problem(str(store.path), 0, name, "there is no such secret", right) for name in unknown))
    asked = list(dict.fromkeys(wanted)) or known
    why = {name: hindrance(name, store.spec, document, node, new_machine=new_machine) for name in asked}
    refused = [(name, reason) for name, reason in why.items() if reason]
    if wanted and refused:
        raise InputError(*(Problem("", 0, name, "is not rotated", reason) for name, reason in refused))
    chosen = [name for name in asked if not why[name]]
    values = new_values(chosen)
    store.change(lambda old: without_coming(with_values(old, values, utc_now()), values))
    told = tuple(_rotated(name, new_machine=new_machine) for name in chosen)
    return Rotation(told, tuple(refused))


def on_machine(wanted: Sequence[str], *, new_machine: bool) -> bool:
    """Whether ``wanted`` are keys that a running machine is handed at once
    (:func:`binder_node.lifecycle.keys.rotate_keys`)."""
    return not new_machine and any(name in KEYS for name in wanted)


def rotated_on_machine(names: Sequence[str]) -> Rotation:
    """What is told of keys that the machine has taken."""
    return Rotation(tuple(_rotated(name, new_machine=False) for name in dict.fromkeys(names)), (), in_force=True)


def _rotated(name: str, *, new_machine: bool) -> Rotated:
    known = entry(name)
    if known.fixed and new_machine:
        return Rotated(name, (), "only a machine that is made anew gets it")
    return Rotated(name, known.restarts, known.effect)


def new_values(chosen: Sequence[str]) -> dict[str, str]:
    """A fresh value for each name of :data:`~binder_node.secrets.catalog.CATALOG`; a key's public half with it."""
    values: dict[str, str] = {}
    for name in chosen:
        if name in KEYS:
            values[name] = private_key()
            values[f"{name}_public"] = public_key(values[name])
        else:
            values[name] = MAKERS[name]()
    return values


def put(store: SecretStore, name: str, text: str) -> bool:
    """Keep a value that somebody else made; whether it was another than before. Makes the file where there is none.

    Raises:
        InputError: the name is none that can be given, or the value none that it can have; nothing was changed.
    """
    value = _checked(store, name, text)

    def edit(old: Document) -> Document:
        return with_values(store.completed(old) if not old.names else old, {name: value}, utc_now(), [name])

    before, after = store.change(edit)
    return bool(after.get(name) != before.get(name))


def drop(store: SecretStore, name: str) -> None:
    """Forget a token. Raises InputError where there is none of that name, or it is no token."""
    document = store.document()
    if not name.startswith(TOKENS) or document.get(name) is None:
        kept = ", ".join(other for other in document.names if other.startswith(TOKENS)) or "there are none"
        raise InputError(Problem(str(store.path), 0, name, "is no token that is kept", f"tokens: {kept}"))
    store.change(lambda old: without_token(old, name.removeprefix(TOKENS)))


def settable(store: SecretStore) -> list[str]:
    """Names that the operator may give a value to."""
    return [*given_keys(store.spec), *SETTABLE, *(f"{TOKENS}{kind}" for kind in tokens.KINDS)]


def _checked(store: SecretStore, name: str, text: str) -> str:
    value = text.strip()
    if name not in settable(store) and not _token_of_ones_own(name):
        right = f"what can be given here: {', '.join(settable(store))}"
        raise InputError(Problem("", 0, name, "is made here, and nobody gives it a value", right))
    if name.startswith(TOKENS):
        kind = name.removeprefix(TOKENS)
        return tokens.checked(value, tokens.KINDS.get(kind, tokens.Kind(kind, kind, (), ())), name).reveal()
    wrong = ""
    if not value:
        wrong = "is empty"
    elif len(value) > LARGEST or not value.isascii() or not value.isprintable() or " " in value:
        wrong = "has line breaks, spaces or other characters that no key has"
    elif name == "build_token_secret" and (
        set(value) - set(string.hexdigits) or len(value) < LEAST_HEX or len(value) % 2
    ):
        wrong = f"is not {LEAST_HEX} hexadecimal digits or more, as BinderHub wants it"
    if wrong:
        raise InputError(Problem("", 0, name, f"the value {wrong}", "give it and nothing else, by stdin or --from"))
    return value


def _token_of_ones_own(name: str) -> bool:
    """A kind that this version does not know: a provider of one's own may."""
    kind = name.removeprefix(TOKENS)
    return name.startswith(TOKENS) and kind.isidentifier() and kind.islower() and kind.isascii()


# --- who reads them ------------------------------------------------------------------------------------------------


def readers(store: SecretStore) -> Readers:
    """Who is listed, whom the file is encrypted for. Raises InputError where there is no file, or a list is wrong."""
    return _readers(store, store.document())


def _readers(store: SecretStore, document: Document, before: Sequence[Recipient] = ()) -> Readers:
    path, listed = store.listed()
    own = store.file.own()
    comments = {one.recipient: one.comment for one in listed}
    encrypted = document.recipients or own
    found = []
    for one in lists.unique([*own, *comments, *encrypted]):
        source = "identity" if one in own else str(path) if one in comments else ""
        found.append(Reader(one.key, one.kind, comments.get(one, ""), source, one in encrypted))
    return Readers(
        path,
        tuple(found),
        store.file.encrypted_for(),
        tuple(one.key for one in encrypted if before and one not in before),
        tuple(one.key for one in lists.lost(before, encrypted)),
        lists.sharing(path, store.path),
    )


def apply_lists(store: SecretStore, add: Sequence[str] = (), remove: Sequence[str] = ()) -> Readers:
    """Add and remove lines of the list that holds for the node, and encrypt the file for whom it then names.

    With the first line the operator's own key gets into the list too: whoever writes the file next keeps them in.

    Raises:
        InputError: a key is none, or to be removed and in no list, or the operator's own; nothing was changed.
    """
    store.document()
    path, listed = store.listed()
    new, gone = _keys("--add", add), _keys("--remove", remove)
    own, there = store.file.own(), [one.recipient for one in listed]
    _check_removal(path, gone, own, there)
    lines = [line for line, key in zip(add, new, strict=True) if key not in there]
    mine = [one.key for one in own if one not in [*there, *new]] if lines or listed else []
    if lines or gone or mine:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        for one in gone:
            text = lists.without(text, one)
        store.file.put_list(path, lists.added(text, [*mine, *lines]) if lines or mine else text)
    wanted = [one.recipient for one in store.listed()[1]]
    with files.alone(store.path.parent):
        current = store.file.read()
        before = current.recipients or tuple(own)
        after = store.file.write(current, wanted)
        store.file.reencrypt_old(after.recipients)
    return _readers(store, after, before)


def _check_removal(path: Path, gone: Sequence[Recipient], own: Sequence[Recipient], there: Sequence[Recipient]) -> None:
    wrong = []
    for one in gone:
        if one in own:
            wrong.append(Problem("", 0, "--remove", f"{one.short()} is your own key", "you could not read it any more"))
        elif one not in there:
            wrong.append(Problem(str(path), 0, "--remove", f"{one.short()} is not listed", "say a key that is"))
    if wrong:
        raise InputError(*wrong)


def _keys(option: str, texts: Sequence[str]) -> list[Recipient]:
    found, wrong = [], []
    for text in texts:
        try:
            found.append(lists.recipient(text))
        except ValueError as error:
            wrong.append(Problem("", 0, option, f"what you gave {error}", lists.ASK))
    if wrong:
        raise InputError(*wrong)
    return found
