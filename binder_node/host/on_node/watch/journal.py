"""What is remembered: a file a day, one JSON object a line; yesterday's are packed, old ones go. And builds' logs."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from .facts import stamp

DAY = 86400
# All logs of builds together; the oldest go first.
LOGS_BYTES = 2 * 10**9
PODS = Path("/var/log/pods")


class Journal:
    """In ``folder``: ``2026-11-21.jsonl``, ``2026-11-20.jsonl.gz``, ..., and ``totals.json``."""

    def __init__(self, folder: Path, days: int) -> None:
        self.folder, self.days = folder, days
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def write(self, record: dict[str, Any], now: float) -> None:
        """Append ``record``; its ``at`` is ``now`` unless it says its own."""
        with (self.folder / f"{stamp(now)[:10]}.jsonl").open("a", encoding="utf-8") as out:
            out.write(json.dumps({"at": stamp(now), **record}, separators=(",", ":")) + "\n")

    def totals(self) -> dict[str, Any]:
        """``since``, ``totals`` and the counters ``last`` seen; as at the first start where there are none."""
        try:
            found: dict[str, Any] = json.loads((self.folder / "totals.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {"since": stamp(time.time()), "totals": {}, "last": {}}
        return found

    def keep_totals(self, found: dict[str, Any]) -> None:
        """Written whole, by rename."""
        part = self.folder / "totals.json.part"
        part.write_text(json.dumps(found), encoding="utf-8")
        part.rename(self.folder / "totals.json")

    def tidy(self, now: float) -> None:
        """Pack the days before today, remove what is older than it is kept."""
        today, oldest = stamp(now)[:10], stamp(now - self.days * DAY)[:10]
        for file in sorted(self.folder.glob("????-??-??.jsonl*")):
            if file.name[:10] < oldest:
                file.unlink()
            elif file.suffix == ".jsonl" and file.name[:10] < today:
                packed, part = file.with_name(file.name + ".gz"), file.with_name(file.name + ".part")
                with file.open("rb") as plain, gzip.open(part, "wb") as out:
                    shutil.copyfileobj(plain, out)
                part.rename(packed)
                file.unlink()


def keep_log(logs: Path, namespace: str, pod: str, uid: str) -> None:
    """A second name for the logs of a build: the kubelet removes its own with the pod.

    Both names must be on one filesystem; where they are not, nothing is kept.
    """
    for file in (PODS / f"{namespace}_{pod}_{uid}").glob("*/*.log"):
        with contextlib.suppress(OSError):  # it is there, or the pod has just gone
            os.link(file, logs / f"{pod}_{uid}_{file.stat().st_ino}.log")


def tail(namespace: str, pod: Any, size: int = 200_000) -> str:
    """The last of what a running pod's containers said."""
    text = ""
    for file in sorted((PODS / f"{namespace}_{pod.name}_{pod.uid}").glob("*/*.log")):
        with contextlib.suppress(OSError), file.open("rb") as found:
            found.seek(max(0, file.stat().st_size - size))
            text += found.read().decode("utf-8", "replace")
    return text


def tidy_logs(logs: Path, days: int, now: float) -> None:
    """Remove logs older than ``days``, and the oldest beyond :data:`LOGS_BYTES`."""
    total = 0
    for file in sorted(logs.glob("*.log"), key=lambda one: one.stat().st_mtime, reverse=True):
        about = file.stat()
        total += about.st_size
        if about.st_mtime < now - days * DAY or total > LOGS_BYTES:
            file.unlink()
