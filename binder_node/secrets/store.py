"""``secrets/NODE.age``: one node's secrets as JSON, encrypted to the operator's identity and to whom it lists.

The file is what ``age -d -i identity.txt secrets/NODE.age`` reads; it may be committed, the identity may not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from binder_node import files
from binder_node.errors import InputError, Problem
from binder_node.node import Sealing
from binder_node.secrets import recipients as lists
from binder_node.secrets.agefile import FOLDER_VARIABLE, AgeFile
from binder_node.secrets.document import Document, with_values
from binder_node.secrets.generate import KEYS, complete, public_key
from binder_node.secrets.identity import identity_path
from binder_node.secrets.model import Secrets
from binder_node.secrets.recipients import Listed, Recipient
from binder_node.spec.model import S3Storage, Spec

S3_VARIABLES = {"s3_access_key": "BINDER_NODE_S3_ACCESS_KEY", "s3_secret_key": "BINDER_NODE_S3_SECRET_KEY"}
BACKUP_VARIABLES = {
    "backup_access_key": "BINDER_NODE_BACKUP_ACCESS_KEY",
    "backup_secret_key": "BINDER_NODE_BACKUP_SECRET_KEY",
}


def given_keys(spec: Spec) -> dict[str, str]:
    """Keys of buckets elsewhere, which others make: each with the variable that it comes by. Pure."""
    return {
        **(S3_VARIABLES if isinstance(spec.storage, S3Storage) else {}),
        **(BACKUP_VARIABLES if spec.backup.endpoint is not None else {}),
    }


def nobodys(spec: Spec) -> list[str]:
    """Secrets that this node has not: it writes its backups with the registry's key. Pure."""
    own = spec.backup.endpoint is not None or not isinstance(spec.storage, S3Storage)
    return [] if own else list(BACKUP_VARIABLES)


def utc_now() -> str:
    """Like ``2026-11-21T13:00:00+00:00``."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class SecretStore:
    """The secrets of the node that ``inventory`` describes. ``spec`` is loaded from there where it is not given."""

    def __init__(self, inventory: Path, spec: Spec | None = None, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        self.inventory, self._spec = inventory.absolute(), spec
        folder = self._environ.get(FOLDER_VARIABLE)
        beside = Path(folder).expanduser() if folder else self.inventory.parent.parent / "secrets"
        self.file = AgeFile(beside / f"{self.inventory.stem}.age", identity_path(self._environ))

    @property
    def path(self) -> Path:
        return self.file.path

    @property
    def identity(self) -> Path:
        return self.file.identity

    @property
    def spec(self) -> Spec:
        """Raises InputError where the inventory is wrong."""
        if self._spec is None:
            from binder_node.spec.load import load

            self._spec = load(self.inventory)
        return self._spec

    # --- for a node --------------------------------------------------------------------------------------------------

    def load(self) -> Secrets:
        """The secrets as they are.

        Raises:
            InputError: there are none yet, or they have a field that this version does not know.
            StepError: they cannot be read: the identity is missing or another one, or the file is damaged.
        """
        return self._checked(self.document())

    def ensure(self) -> tuple[Secrets, bool]:
        """The secrets, with what is missing made and kept; whether anything was written.

        Keys of buckets elsewhere come from the variables that :func:`given_keys` tells; where these are set they
        replace what was kept.

        Raises as :meth:`load`, but for missing secrets; InputError when S3 keys are needed and not to be had.
        """
        self.file.make_folder()
        with files.alone(self.path.parent):
            old = self.read_or_empty()
            new = self._completed(old)
            made = self._checked(new)
            if new.same_secrets(old):
                return made, False
            self.file.write(new, self.recipients_of(old), keep_old=new.replaces(old))
            return made, True

    def preview(self) -> Secrets:
        """What :meth:`ensure` would give, with nothing written: values that are not kept yet differ at each call."""
        return self._checked(self._completed(self.read_or_empty()))

    def sealing(self) -> Sealing:
        """For whom the file is encrypted and the file as it is; empty where there is none yet.

        Raises StepError where it cannot be read.
        """
        if not self.file.exists:
            return Sealing()
        known = self.file.read().recipients or self.file.own()
        return Sealing(tuple(sorted(one.key for one in known)), self.path.read_bytes())

    # --- for whoever looks after them ------------------------------------------------------------------------------

    def document(self) -> Document:
        """What is in the file, as it is. Raises InputError where there is none, StepError where it cannot be read."""
        if not self.file.exists:
            name = self.inventory.stem
            right = f"`binder-node secrets init {name}` or `binder-node up {name}` makes them"
            raise InputError(Problem(str(self.path), 0, "", "there are no secrets yet", right))
        return self.file.read()

    def read_or_empty(self) -> Document:
        return self.file.read() if self.file.exists else Document()

    def change(self, edit: Callable[[Document], Document]) -> tuple[Document, Document]:
        """Lay ``edit`` over what is in the file, and write it when it changes a secret; before and after.

        A value that is replaced stays readable in the file before (:attr:`AgeFile.old`). It stays encrypted for the
        same people, whatever the lists say by now.
        """
        self.file.make_folder()
        with files.alone(self.path.parent):
            old = self.read_or_empty()
            new = edit(old)
            if new.same_secrets(old):
                return old, old
            return old, self.file.write(new, self.recipients_of(old), keep_old=new.replaces(old))

    def listed(self) -> tuple[Path, list[Listed]]:
        """The list that holds for this node. Raises InputError where it is wrong."""
        return lists.read(self.path.parent, self.inventory.stem)

    def recipients_of(self, document: Document) -> Sequence[Recipient]:
        """For whom ``document`` is to be written: for whom it was; a first one for whom the list names.

        A line that somebody slips into a list reads nothing until an operator applies the list.

        Raises:
            InputError: the file is encrypted for more than are known: to write it would lock somebody out.
        """
        found = list(document.recipients) or [one.recipient for one in self.listed()[1]]
        if self.file.exists:
            count, known = self.file.encrypted_for(), len(lists.unique([*self.file.own(), *found]))
            if count > known:
                wrong = f"it is encrypted for {count}, of whom {known} are known here: writing it would lock others out"
                right = f"list all and run `binder-node secrets recipients {self.inventory.stem} --apply`"
                raise InputError(Problem(str(self.path), 0, "", wrong, right))
        return found

    def completed(self, old: Document) -> Document:
        """``old`` with everything that can be made here; what only the operator can give may still be missing."""
        self._usable(old)
        known = self._s3_from_environment(old)
        made = complete(known)
        for name in (*self.s3_missing(known), *nobodys(self.spec)):
            if name not in known:
                del made[name]
        return with_values(old, made, utc_now(), self._given())

    # --- helpers -----------------------------------------------------------------------------------------------------

    def _completed(self, old: Document) -> Document:
        """As :meth:`completed`. Raises InputError where an S3 key is missing."""
        self._usable(old)
        values = self._s3_from_environment(old)
        missing = [self._no_s3_key(name) for name in self.s3_missing(values)]
        if missing:
            raise InputError(*missing)
        return self.completed(old)

    def s3_missing(self, values: Mapping[str, object]) -> list[str]:
        """Which keys of a bucket elsewhere are not known yet."""
        return [name for name in given_keys(self.spec) if name not in values]

    def _usable(self, document: Document) -> None:
        said = {**document.values, **{f"tokens.{kind}": value for kind, value in document.tokens.items()}}
        wrong = {name for name, value in said.items() if not isinstance(value, str) or not value}
        for name in KEYS:
            try:
                if name in document.values:
                    public_key(document.values[name])
            except (ValueError, TypeError, AttributeError):
                wrong.add(name)
        if wrong:
            raise InputError(*(self._problem(name, "") for name in sorted(wrong)))

    def _given(self) -> list[str]:
        """Names whose values are not made here."""
        return list(given_keys(self.spec))

    def _s3_from_environment(self, document: Document) -> dict[str, str]:
        variables = given_keys(self.spec).items()
        given = {name: self._environ[variable] for name, variable in variables if self._environ.get(variable)}
        return {**document.values, **given}

    def _no_s3_key(self, name: str) -> Problem:
        set_it = f"`binder-node secrets set {self.inventory.stem} {name}`"
        right = f"set {given_keys(self.spec)[name]}, or keep it: {set_it}"
        section = "backup" if name in BACKUP_VARIABLES else "storage"
        return Problem(str(self.inventory), 0, f"{section} ({name})", "a bucket elsewhere needs its keys", right)

    def _checked(self, document: Document) -> Secrets:
        values = {**document.values, **({"tokens": document.tokens} if document.tokens else {})}
        try:
            return Secrets.model_validate(values)
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_input=False, include_context=False)
        raise InputError(*sorted(self._problem(".".join(map(str, one["loc"])), one["type"]) for one in wrong))

    def _problem(self, name: str, kind: str) -> Problem:
        match kind:
            case "extra_forbidden":
                said = "is unknown to this version", "update binder-node, or remove the field with the age tool"
            case "missing" if name in self._given():
                said = "is missing", f"`binder-node secrets set {self.inventory.stem} {name}`"
            case "missing":
                said = "is missing", f"`binder-node up {self.inventory.stem}` makes it"
            case _:
                said = "is no usable text", "restore the file, or remove the field: it is made anew"
        return Problem(str(self.path), 0, name, *said)


__all__ = ["FOLDER_VARIABLE", "S3_VARIABLES", "SecretStore", "utc_now"]
