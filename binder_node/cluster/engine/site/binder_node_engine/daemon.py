"""Whether buildkitd is the one that a build began with."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Daemon:
    """How to ask: the client, and the environment that has ``BUILDKIT_HOST``."""

    buildctl: str
    environment: Mapping[str, str]

    def identity(self) -> tuple[int, int] | None:
        """What changes when buildkitd starts anew: its socket's inode and birth. None: no socket to look at."""
        address = urlsplit(self.environment.get("BUILDKIT_HOST", "unix:///run/buildkit/buildkitd.sock"))
        if address.scheme != "unix":
            return None
        try:
            seen = os.stat(address.path)
        except OSError:
            return None
        return seen.st_ino, seen.st_ctime_ns

    def answers(self) -> bool:
        """Whether it answers at all, within ten seconds."""
        try:
            asked = subprocess.run(
                [self.buildctl, "debug", "workers"],
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=10,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
        return asked.returncode == 0
