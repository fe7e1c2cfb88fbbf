"""Put a backup back on a bare machine as told (JSON on stdin), before anything starts that would make its own.

Sent as text and run by the node's own python3 as root: standard library only, nothing newer than Python 3.10. Killed
anywhere, the next run goes on. Exit 7 where something is there that is not of an earlier run.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tarfile
from typing import Any

OCCUPIED = 7


def mark(path: str, told: dict[str, str]) -> None:
    """One line of JSON, whole or not at all."""
    part = f"{path}.part"
    with open(part, "w", encoding="utf-8") as file:
        file.write(json.dumps(told) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def marked(path: str) -> dict[str, str]:
    try:
        with open(path, encoding="utf-8") as file:
            found: dict[str, str] = json.load(file)
            return found
    except FileNotFoundError:
        return {}


def target_of(name: str, places: dict[str, str]) -> str:
    """Where a member goes; empty for one that goes nowhere. Raises SystemExit for a name that leads elsewhere."""
    if os.path.normpath(name) != name or name.startswith(("/", "..")):
        raise SystemExit(f"the archive has a strange name: {name!r}")
    for prefix, folder in places.items():
        if name.startswith(prefix):
            return os.path.join(folder, name[len(prefix) :])
    return ""


def place(archive: tarfile.TarFile, member: tarfile.TarInfo, target: str) -> None:
    """A file with the owner, mode and time that it had."""
    source = archive.extractfile(member)
    assert source is not None
    os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
    part = f"{target}.part"
    with source, open(part, "wb") as file:
        shutil.copyfileobj(source, file, 1 << 20)
        os.fchown(file.fileno(), member.uid, member.gid)
        os.fchmod(file.fileno(), member.mode & 0o7777)
        file.flush()
        os.fsync(file.fileno())
    os.utime(part, (member.mtime, member.mtime))
    os.replace(part, target)


def main() -> None:
    os.umask(0o077)
    ask: dict[str, Any] = json.load(sys.stdin)
    said = {"name": ask["name"], "taken": ask["taken"]}
    now = marked(ask["marker"])
    if now.get("state") in ("placed", "done"):
        return
    there = [path for path in ask["databases"] if os.path.exists(path)]
    if there and not now:
        sys.stderr.write(f"{' and '.join(there)}: there already; nothing was put back\n")
        raise SystemExit(OCCUPIED)
    mark(ask["marker"], {**said, "state": "placing"})
    with tarfile.open(ask["archive"], "r:gz") as archive:
        for member in archive:
            target = target_of(member.name, ask["places"])
            if target and member.isfile():
                place(archive, member, target)
    mark(ask["marker"], {**said, "state": "placed"})


if __name__ == "__main__":
    main()
