"""The operator's age identity: one file for all nodes, made at first use."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from binder_node.errors import StepError

if TYPE_CHECKING:
    from pyrage import x25519  # type: ignore[import-untyped]

VARIABLE = "BINDER_NODE_IDENTITY"
PREFIX = "AGE-SECRET-KEY-"


def identity_path(environ: Mapping[str, str]) -> Path:
    """``BINDER_NODE_IDENTITY``, or ``identity.txt`` in the user's configuration folder."""
    if given := environ.get(VARIABLE):
        return Path(given).expanduser()
    import platformdirs

    return platformdirs.user_config_path("binder-node") / "identity.txt"


def read_identities(path: Path) -> list[x25519.Identity]:
    """The identities in a file of ``age-keygen``'s form: comments, and one key a line.

    Raises StepError when there is no such file, others may read it, or it holds no age key.
    """
    from pyrage import IdentityError, x25519

    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        remedy = f"restore the file from your backup, or point {VARIABLE} at the one that encrypted this"
        raise StepError("here", f"read the age identity {path}", "there is no such file", remedy) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text file"
        remedy = f"make it readable, or point {VARIABLE} at another file"
        raise StepError("here", f"read the age identity {path}", reason, remedy) from None
    if mode & 0o077:
        reason = f"other users may read it (mode {mode & 0o777:04o})"
        raise StepError("here", f"read the age identity {path}", reason, f"chmod 600 {path}")
    keys = [line.strip() for line in text.splitlines() if line.strip().startswith(PREFIX)]
    try:
        found = [x25519.Identity.from_str(key) for key in keys]
    except IdentityError:
        found = []
    if not found:
        remedy = f"restore it, or point {VARIABLE} at a file made by age-keygen"
        raise StepError("here", f"read the age identity {path}", f"it holds no {PREFIX} line that is valid", remedy)
    return found


def ensure_identities(path: Path) -> list[x25519.Identity]:
    """As :func:`read_identities`; makes the file, 0600, where there is none. Two at once agree on one."""
    from pyrage import x25519

    if not path.exists():
        made = x25519.Identity.generate()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        text = f"# created: {now}\n# public key: {made.to_public()}\n{made}\n"
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _create(path, text.encode())
        except OSError as error:
            remedy = f"make the folder writable, or set {VARIABLE}"
            raise StepError("here", f"write the age identity {path}", error.strerror or str(error), remedy) from None
    return read_identities(path)


def _create(path: Path, content: bytes) -> None:
    """Write a whole new file, or leave the one that another process has just made."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(name, path)
        except FileExistsError:
            return
    finally:
        os.unlink(name)
