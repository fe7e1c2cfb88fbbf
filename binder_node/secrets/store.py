"""``secrets/NODE.age``: one node's secrets as JSON, encrypted to the operator's age identity.

The file is what ``age -d -i identity.txt secrets/NODE.age`` reads; it may be committed, the identity may not.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from binder_node.errors import DeadlineError, InputError, Problem, StepError
from binder_node.secrets.generate import KEYS, complete, public_key
from binder_node.secrets.identity import VARIABLE, ensure_identities, identity_path, read_identities
from binder_node.secrets.masked import REVEAL
from binder_node.secrets.model import Secrets
from binder_node.spec.model import S3Storage, Spec

FOLDER_VARIABLE = "BINDER_NODE_SECRETS_DIR"
S3_VARIABLES = {"s3_access_key": "BINDER_NODE_S3_ACCESS_KEY", "s3_secret_key": "BINDER_NODE_S3_SECRET_KEY"}
# Another process is inside for milliseconds only.
LOCK_SECONDS = 30.0


class SecretStore:
    """The secrets of the node that ``inventory`` describes. ``spec`` is loaded from there where it is not given."""

    def __init__(self, inventory: Path, spec: Spec | None = None, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        self._inventory, self._spec = inventory.absolute(), spec
        folder = self._environ.get(FOLDER_VARIABLE)
        beside = Path(folder).expanduser() if folder else self._inventory.parent.parent / "secrets"
        self.path = beside / f"{self._inventory.stem}.age"
        self.identity = identity_path(self._environ)

    def load(self) -> Secrets:
        """The secrets as they are.

        Raises:
            InputError: there are none yet, or they have a field that this version does not know.
            StepError: they cannot be read: the identity is missing or another one, or the file is damaged.
        """
        if not self.path.exists():
            right = f"`binder-node up {self._inventory.stem}` makes them"
            raise InputError(Problem(str(self.path), 0, "", "there are no secrets yet", right))
        return self._checked(self._read())

    def ensure(self) -> tuple[Secrets, bool]:
        """The secrets, with what is missing made and kept; whether anything was written.

        The S3 keys of a bucket elsewhere come from ``BINDER_NODE_S3_ACCESS_KEY`` and ``BINDER_NODE_S3_SECRET_KEY``;
        where these are set they replace what was kept.

        Raises as :meth:`load`, but for missing secrets; InputError when S3 keys are needed and not to be had.
        """
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise self._failed("write", error.strerror or str(error), f"set {FOLDER_VARIABLE}") from None
        with self._locked():
            old = self._read() if self.path.exists() else {}
            new = self._completed(old)
            made = self._checked(new)
            if new == old:
                return made, False
            self._write(made)
            return made, True

    def preview(self) -> Secrets:
        """What :meth:`ensure` would give, with nothing written: values that are not kept yet differ at each call."""
        return self._checked(self._completed(self._read() if self.path.exists() else {}))

    def _completed(self, old: Mapping[str, str]) -> dict[str, str]:
        single = {name: value for name, value in old.items() if name != "tokens"}
        wrong = [self._problem(name, "") for name, value in single.items() if not isinstance(value, str) or not value]
        for name in KEYS:
            try:
                if name in old:
                    public_key(old[name])
            except (ValueError, TypeError):
                wrong.append(self._problem(name, ""))
        if wrong:
            raise InputError(*sorted(set(wrong)))
        return complete(self._with_s3(old))

    def _with_s3(self, values: Mapping[str, str]) -> dict[str, str]:
        if not isinstance(self._storage().storage, S3Storage):
            return dict(values)
        given = {
            name: self._environ[variable] for name, variable in S3_VARIABLES.items() if self._environ.get(variable)
        }
        merged = {**values, **given}
        missing = [
            Problem(
                str(self._inventory), 0, f"storage ({name})", "a bucket elsewhere needs its keys", f"set {variable}"
            )
            for name, variable in S3_VARIABLES.items()
            if name not in merged
        ]
        if missing:
            raise InputError(*missing)
        return merged

    def _storage(self) -> Spec:
        if self._spec is None:
            from binder_node.spec.load import load

            self._spec = load(self._inventory)
        return self._spec

    def _read(self) -> dict[str, str]:
        import pyrage  # type: ignore[import-untyped]

        identities = read_identities(self.identity)
        try:
            content = pyrage.decrypt(self.path.read_bytes(), identities)
        except pyrage.DecryptError as error:
            remedy = f"set {VARIABLE} to the identity that it was encrypted to, or restore the file from your backup"
            raise self._failed("decrypt", f"{error} (identity {self.identity})", remedy) from None
        except OSError as error:
            raise self._failed("read", error.strerror or str(error), "make it readable") from None
        try:
            values = json.loads(content)
        except ValueError:
            values = None
        if not isinstance(values, dict):
            raise self._failed("read", "it holds no JSON object", "restore the file from your backup") from None
        return values

    def _checked(self, values: Mapping[str, str]) -> Secrets:
        try:
            return Secrets.model_validate(values)
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_input=False, include_context=False)
        raise InputError(*sorted(self._problem(str(one["loc"][0]), one["type"]) for one in wrong))

    def _problem(self, name: str, kind: str) -> Problem:
        match kind:
            case "extra_forbidden":
                said = "is unknown to this version", "update binder-node, or remove the field with the age tool"
            case "missing":
                said = "is missing", f"`binder-node up {self._inventory.stem}` makes it"
            case _:
                said = "is no usable text", "restore the file, or remove the field: it is made anew"
        return Problem(str(self.path), 0, name, *said)

    def _write(self, secrets: Secrets) -> None:
        import pyrage

        recipients = [identity.to_public() for identity in ensure_identities(self.identity)]
        content = json.dumps(_plain(secrets), indent=2).encode()
        sealed = pyrage.encrypt(content, recipients, armored=True)
        try:
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(sealed)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(name, self.path)
            except BaseException:
                os.unlink(name)
                raise
        except OSError as error:
            raise self._failed("write", error.strerror or str(error), "make room, or the folder writable") from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Only one process at a time makes secrets: the lock is on the folder, so that no file is left."""
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        deadline = time.monotonic() + LOCK_SECONDS
        try:
            while True:
                try:
                    fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        what = f"another process to leave {self.path.parent}"
                        raise DeadlineError("here", what, LOCK_SECONDS, "it is locked") from None
                    time.sleep(0.02)
            yield
        finally:
            os.close(folder)

    def _failed(self, what: str, reason: str, remedy: str) -> StepError:
        return StepError("here", f"{what} the secrets {self.path}", reason, remedy)


def _plain(secrets: Secrets) -> dict[str, Any]:
    """What is encrypted; without the mapping of tokens where there is none, as versions before it wrote."""
    values = secrets.model_dump(context=REVEAL)
    return values if secrets.tokens else {name: value for name, value in values.items() if name != "tokens"}
