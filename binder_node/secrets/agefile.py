"""One encrypted file: read, written whole or not at all, by one process at a time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from binder_node import files
from binder_node.errors import StepError
from binder_node.secrets.document import Document, dump, parse
from binder_node.secrets.identity import VARIABLE, Identity, ensure_identities, read_identities
from binder_node.secrets.recipients import Recipient, stanzas, unique

FOLDER_VARIABLE = "BINDER_NODE_SECRETS_DIR"
# Another process is inside for milliseconds only.
LOCK_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class AgeFile:
    """``path`` encrypted for several; ``identity`` is the file of the operator's own key, who is always one of them."""

    path: Path
    identity: Path

    @property
    def old(self) -> Path:
        """The file before the last change that replaced a value: the way back."""
        return self.path.with_name(f"{self.path.name}.old")

    @property
    def exists(self) -> bool:
        return self.path.exists()

    def own(self) -> list[Recipient]:
        """The operator's own public keys. Raises StepError where the identity cannot be read."""
        return [identity.public for identity in read_identities(self.identity)]

    def read(self, path: Path | None = None) -> Document:
        """Decrypt. Raises StepError: the identity is missing or another one, or the file is damaged."""
        return self._opened(self._sealed(path or self.path), read_identities(self.identity))

    def encrypted_for(self) -> int:
        """How many recipients the file's header has; it tells no more of age keys than that."""
        return len(list(stanzas(self._sealed(self.path))))

    def write(self, document: Document, recipients: Sequence[Recipient], *, keep_old: bool = False) -> Document:
        """Encrypt ``document`` for ``recipients`` and the operator, and put it in place at once; what was written.

        ``keep_old`` leaves the file before it at :attr:`old`. Killed anywhere, there is the old file or the new one.

        Raises:
            StepError: it cannot be written.
        """
        import pyrage  # type: ignore[import-untyped]

        own = [identity.public for identity in ensure_identities(self.identity)]
        whole = replace(document, recipients=tuple(unique([*own, *recipients])))
        sealed = pyrage.encrypt(dump(whole), [one.loaded() for one in whole.recipients], armored=True)
        try:
            if keep_old and self.exists:
                self._keep()
            files.replace(self.path, sealed)
        except OSError as error:
            raise self._failed("write", error.strerror or str(error), "make room, or the folder writable") from None
        return whole

    def reencrypt_old(self, recipients: Sequence[Recipient]) -> None:
        """The file before, if there is one, for the same people as the file: who left reads neither."""
        import pyrage

        if not self.old.exists():
            return
        document = replace(self.read(self.old), recipients=tuple(recipients))
        sealed = pyrage.encrypt(dump(document), [one.loaded() for one in recipients], armored=True)
        try:
            files.replace(self.old, sealed)
        except OSError as error:
            raise self._failed("write", error.strerror or str(error), "make room, or the folder writable") from None

    def put_list(self, path: Path, text: str) -> None:
        """A list of recipients, whole or not at all. Raises StepError where it cannot be written."""
        try:
            files.replace(path, text.encode(), 0o644)
        except OSError as error:
            raise StepError("here", f"write {path}", error.strerror or str(error), "make the folder writable") from None

    def make_folder(self) -> None:
        """Raises StepError where the folder cannot be made."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise self._failed("write", error.strerror or str(error), f"set {FOLDER_VARIABLE}") from None

    def _sealed(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise self._failed("read", error.strerror or str(error), "make it readable") from None

    def _opened(self, sealed: bytes, identities: Sequence[Identity]) -> Document:
        import pyrage

        try:
            content = pyrage.decrypt(sealed, [identity.key for identity in identities])
        except pyrage.DecryptError as error:
            remedy = (
                f"set {VARIABLE} to an identity that it was encrypted to, have somebody who can read it add your key "
                "(`binder-node secrets recipients NODE --add KEY`), or restore the file from your backup"
            )
            raise self._failed("decrypt", f"{error} (identity {self.identity})", remedy) from None
        document = parse(content)
        if document is None:
            raise self._failed("read", "it holds no JSON object", "restore the file from your backup")
        return document

    def _keep(self) -> None:
        """Another name for the file as it is; the new one is put in its place as a whole."""
        link = self.path.with_name(f".{self.old.name}")
        link.unlink(missing_ok=True)  # of a run that was killed here
        os.link(self.path, link)
        os.replace(link, self.old)
        link.unlink(missing_ok=True)  # rename leaves two names of one file as they are

    def _failed(self, what: str, reason: str, remedy: str) -> StepError:
        return StepError("here", f"{what} the secrets {self.path}", reason, remedy)


def opened(sealed: bytes, identity: Path, what: str) -> bytes:
    """What ``sealed`` holds, with the operator's own key; ``what`` is its name for messages.

    Raises:
        StepError: the identity is missing or another one, or the file is damaged.
    """
    import pyrage

    identities = read_identities(identity)
    try:
        content: bytes = pyrage.decrypt(sealed, [one.key for one in identities])
    except pyrage.DecryptError as error:
        remedy = f"set {VARIABLE} to an identity that could read the node's secrets when it was made"
        raise StepError("here", f"decrypt {what}", f"{error} (identity {identity})", remedy) from None
    return content
