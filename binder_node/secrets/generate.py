"""A node's secrets, made from the system's randomness. Nothing is written here."""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable, Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from binder_node.secrets.model import Secrets

# S3's own form: 20 upper-case letters and digits, 40 characters; MinIO refuses longer keys for service accounts.
ACCESS_KEY_LETTERS = string.ascii_uppercase + string.digits
ACCESS_KEY_LENGTH = 20
S3_SECRET_BYTES = 20  # 40 hex digits
# JupyterHub wants 32 bytes for cookie secret, CryptKeeper and proxy; bcrypt (htpasswd) reads 72 characters at most.
TOKEN_BYTES = 32  # 64 hex digits
KEYS = ("host_key", "login_key")


def _token() -> str:
    return secrets.token_hex(TOKEN_BYTES)


def _access_key() -> str:
    return "".join(secrets.choice(ACCESS_KEY_LETTERS) for _ in range(ACCESS_KEY_LENGTH))


MAKERS: dict[str, Callable[[], str]] = {
    "s3_access_key": _access_key,
    "s3_secret_key": lambda: secrets.token_hex(S3_SECRET_BYTES),
    "backup_access_key": _access_key,
    "backup_secret_key": lambda: secrets.token_hex(S3_SECRET_BYTES),
    "minio_root_user": _access_key,
    "minio_root_password": lambda: secrets.token_hex(S3_SECRET_BYTES),
    "registry_push_password": _token,
    "registry_pull_password": _token,
    "registry_http_secret": _token,
    "hub_cookie_secret": _token,
    "hub_crypt_key": _token,
    "proxy_token": _token,
    "binder_api_token": _token,
    "build_token_secret": _token,
    "k3s_token": _token,
}


def private_key() -> str:
    """A new ed25519 key as OpenSSH writes it, without a passphrase."""
    made = Ed25519PrivateKey.generate()
    return made.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


def public_key(private: str) -> str:
    """The one-line public half of an OpenSSH private key. Raises ValueError when it is none."""
    loaded = load_ssh_private_key(private.encode(), password=None)
    return loaded.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def complete(given: Mapping[str, str]) -> dict[str, str]:
    """``given`` with everything that it lacks: secrets that an older version did not know are made, the others stay."""
    values = dict(given)
    for key in KEYS:
        if key not in values:
            values[key] = private_key()
            values.pop(f"{key}_public", None)
        values.setdefault(f"{key}_public", public_key(values[key]))
    for name, make in MAKERS.items():
        if name not in values:
            values[name] = make()
    return values


def generate() -> Secrets:
    """All new secrets of one node."""
    return Secrets.model_validate(complete({}))
