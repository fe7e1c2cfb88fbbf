"""The node as the build pod sees it: how much of the disk is free, and what the pod may use."""

from __future__ import annotations

import os
from pathlib import Path


def free_percent(folder: Path) -> float:
    """Free space of the filesystem that ``folder`` lies on, in percent, as the kubelet reckons it."""
    seen = os.statvfs(folder)
    return 100 * seen.f_bavail / seen.f_blocks if seen.f_blocks else 100.0


def pod_limit(facts: Path, resource: str) -> int:
    """A limit of this pod in bytes from its downward API volume ``facts``, 0 where there is none."""
    try:
        return int((facts / resource).read_text(encoding="ascii"))
    except (FileNotFoundError, NotADirectoryError):
        return 0


def smallest(*limits: int) -> int:
    """The smallest of the limits that are set, 0 when none is."""
    return min((limit for limit in limits if limit > 0), default=0)


def readable(size: int) -> str:
    """Bytes for people: ``2.0 GB``."""
    return f"{size / 10**9:.1f} GB" if size >= 10**9 else f"{size / 10**6:.0f} MB"
