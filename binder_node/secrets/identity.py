"""The operator's identity: an age identity file or an OpenSSH private key, one for all nodes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from binder_node.errors import StepError
from binder_node.secrets.recipients import Recipient

VARIABLE = "BINDER_NODE_IDENTITY"
PREFIX = "AGE-SECRET-KEY-"
# How files begin that hold a key which somebody has to unlock first.
SEALED = ("age-encryption.org/", "-----BEGIN AGE ENCRYPTED FILE-----")


@dataclass(frozen=True, slots=True)
class Identity:
    """``key`` is pyrage's; ``public`` what others encrypt to."""

    key: Any
    public: Recipient


def identity_path(environ: Mapping[str, str]) -> Path:
    """``BINDER_NODE_IDENTITY``, or ``identity.txt`` in the user's configuration folder."""
    if given := environ.get(VARIABLE):
        return Path(given).expanduser()
    import platformdirs

    return platformdirs.user_config_path("binder-node") / "identity.txt"


def read_identities(path: Path) -> list[Identity]:
    """The identities in a file: of ``age-keygen``'s form (comments, and one key a line), or one OpenSSH private key.

    Raises:
        StepError: there is no such file, others may read it, it has a passphrase, or it holds no key that age can use.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        remedy = f"restore the file from your backup, or point {VARIABLE} at the one that encrypted this"
        raise _failed(path, "there is no such file", remedy) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text file"
        raise _failed(path, reason, f"make it readable, or point {VARIABLE} at another file") from None
    if mode & 0o077:
        raise _failed(path, f"other users may read it (mode {mode & 0o777:04o})", f"chmod 600 {path}")
    if text.startswith(SEALED):
        remedy = f"decrypt it into a file that only you read (`age -d -o FILE {path}`) and point {VARIABLE} at that"
        raise _failed(path, "it is encrypted itself, and nobody can be asked for its passphrase here", remedy)
    return [_ssh(path, text)] if "PRIVATE KEY-----" in text else _age(path, text)


def _age(path: Path, text: str) -> list[Identity]:
    from pyrage import IdentityError, x25519  # type: ignore[import-untyped]

    keys = [line.strip() for line in text.splitlines() if line.strip().startswith(PREFIX)]
    try:
        found = [x25519.Identity.from_str(key) for key in keys]
    except IdentityError:
        found = []
    if not found:
        remedy = f"restore it, or point {VARIABLE} at a file made by age-keygen"
        raise _failed(path, f"it holds no {PREFIX} line that is valid, and no OpenSSH private key", remedy)
    return [Identity(key, Recipient(str(key.to_public()))) for key in found]


def _ssh(path: Path, text: str) -> Identity:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_pem_private_key,
        load_ssh_private_key,
    )
    from pyrage import IdentityError, ssh

    load = load_ssh_private_key if "BEGIN OPENSSH PRIVATE KEY" in text else load_pem_private_key
    another = f"point {VARIABLE} at an identity made by age-keygen, or at an ssh-ed25519 or ssh-rsa key"
    try:
        public = load(text.encode(), None).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        return Identity(ssh.Identity.from_buffer(text.encode()), Recipient(public))
    except TypeError:  # cryptography's way to ask for a passphrase
        remedy = (
            f"use a copy without one (`cp {path} COPY && ssh-keygen -p -N '' -f COPY`, on a disk that is encrypted), "
            f"or an age identity that is a recipient too (`age-keygen -o FILE`), and point {VARIABLE} at it; "
            "ssh-agent cannot decrypt"
        )
        raise _failed(path, "the ssh key has a passphrase, and nobody can be asked for it here", remedy) from None
    except IdentityError:
        raise _failed(path, "age can use no ssh key of this kind", another) from None
    except (ValueError, UnsupportedAlgorithm):
        raise _failed(path, "it is no private key that can be read", another) from None


def ensure_identities(path: Path) -> list[Identity]:
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


def _failed(path: Path, reason: str, remedy: str) -> StepError:
    return StepError("here", f"read the age identity {path}", reason, remedy)


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
