"""What a verified artifact is to the other rooms."""

from __future__ import annotations

import hashlib
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

    def drop_if_damaged(self) -> bool:
        """Hash the file again; True if it is no longer what it was: then it was removed, and the next command makes it
        anew.

        For whoever finds that what he got is wrong: the cache itself only hashes a file again when its size or time
        has changed.
        """
        try:
            with self.path.open("rb") as file:
                good = hashlib.file_digest(file, "sha256").hexdigest() == self.sha256
        except FileNotFoundError:
            return True
        if not good and self.path.parent.name == self.sha256:  # a file of the cache's, not somebody's own
            self.path.unlink(missing_ok=True)
        return not good
