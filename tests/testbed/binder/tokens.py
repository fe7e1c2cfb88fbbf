"""Build tokens: a launch page's leave to build what it shows, signed with a secret that a federation shares."""

from __future__ import annotations

import time
from binascii import a2b_hex
from urllib.parse import urlparse

import jwt
from tornado.httputil import HTTPHeaders
from tornado.web import HTTPError


def key(secret: str | bytes) -> bytes:
    """The secret as it signs: a text is hexadecimal."""
    return a2b_hex(secret) if isinstance(secret, str) else secret


def origin(headers: HTTPHeaders) -> str:
    """Host and port of the page, from ``Origin`` or else ``Host``."""
    found = headers.get("Origin")
    return urlparse(found).netloc if found is not None else headers.get("Host", "")


def mint(secret: bytes, spec: str, headers: HTTPHeaders, seconds: int) -> str:
    """A token for ``provider/spec``."""
    claims = {"exp": int(time.time()) + seconds, "aud": spec, "origin": origin(headers)}
    return jwt.encode(claims, key=secret, algorithm="HS256")


def check(secret: bytes, token: str | None, spec: str, headers: HTTPHeaders) -> bool:
    """Whether there is a token. One that is not of this secret, spec and origin is refused with 403."""
    if not token:
        return False
    try:
        claims = jwt.decode(token, key=secret, audience=spec, algorithms=["HS256"])
    except jwt.PyJWTError as error:
        raise HTTPError(403, "Invalid build token") from error
    if claims["origin"] != origin(headers):
        raise HTTPError(403, "Invalid build token")
    return True
