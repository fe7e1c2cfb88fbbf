"""What a verified artifact is to the other rooms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file in the cache whose digest was verified. ``sha256`` is of the file at ``path``, 64 hex digits."""

    name: str
    version: str
    path: Path
    sha256: str
    size: int
