"""A private Docker configuration folder for one build, so that no credential stands in an argument or a log."""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def merged(existing: Mapping[str, Any], credentials: Mapping[str, str]) -> dict[str, Any]:
    """A Docker ``config.json`` with ``credentials`` (keys registry, username, password) added to ``existing``."""
    pair = f"{credentials['username']}:{credentials['password']}".encode()
    auths = {**existing.get("auths", {}), credentials["registry"]: {"auth": base64.b64encode(pair).decode()}}
    return {**existing, "auths": auths}


def _existing() -> dict[str, Any]:
    folder = os.environ.get("DOCKER_CONFIG")
    file = (Path(folder) if folder else Path.home() / ".docker") / "config.json"
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return found if isinstance(found, dict) else {}


@contextmanager
def docker_config(credentials: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Yield the environment for buildctl: as it is where there are no ``credentials`` to add, else with a
    ``DOCKER_CONFIG`` that only this user can read and that is gone afterwards."""
    if not credentials:
        yield dict(os.environ)
        return
    with tempfile.TemporaryDirectory(prefix="docker-config-") as folder:  # made 0700
        file = Path(folder) / "config.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps(merged(_existing(), credentials)), encoding="utf-8")
        yield {**os.environ, "DOCKER_CONFIG": folder}
