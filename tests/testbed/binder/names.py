"""Names of images, build pods and users, by upstream's rules: stable for a repository and ref, and DNS-safe."""

from __future__ import annotations

import hashlib
import secrets
import string
from urllib.parse import urlparse

import escapism

_SAFE = frozenset(string.ascii_letters + string.digits)
_HASH = 6  # characters of a slug's digest kept in names
_SUFFIX = string.ascii_lowercase + string.digits


def slug(text: str, limit: int, hash_length: int = _HASH) -> str:
    """``text`` escaped to lower-case letters, digits and dashes, with a piece of its digest; at most ``limit`` long.

    >>> slug("http://git.test/minimal", 40)
    'http-3a-2f-2fgit-2etest-2fminimal-a0dd8d'
    """
    escaped = escapism.escape(text, safe=_SAFE, escape_char="-")
    digest = hashlib.sha256(text.encode()).hexdigest()[:hash_length]
    return f"{escaped[: limit - hash_length - 1]}-{digest}".lower()


def image_name(prefix: str, build_slug: str, ref: str) -> str:
    """The full image name, tag included: ``<prefix><slug>:<ref>``."""
    return f"{prefix}{slug(build_slug, 255 - len(prefix))}:{ref}".replace("_", "-").lower()


def build_name(build_slug: str, ref: str) -> str:
    """The build pod's name: at most 63 characters, the same for the same repository and ref."""
    prefix, ref_length = "build-", 6
    short = slug(build_slug, 63 - len(prefix) - ref_length - 1)
    return f"{prefix}{short}-{slug(ref, ref_length, hash_length=2)[:ref_length]}"


def split_image(name: str) -> tuple[str, str]:
    """``registry.example.org:5000/binder/x:tag`` -> ``("binder/x", "tag")``: what the registry's API is asked for."""
    path, _, tag = name.rpartition(":")
    return path.split("/", 1)[1], tag


def user_name(repo_url: str) -> str:
    """A temporary user's name: the repository's path, shortened, and eight random characters."""
    path = urlparse(repo_url).path.strip("/").replace("/", "-").lower().removesuffix(".git")
    if len(path) > 32:
        path = f"{path[:15]}-{path[-15:]}"
    return f"{path}-{''.join(secrets.choice(_SUFFIX) for _ in range(8))}"
