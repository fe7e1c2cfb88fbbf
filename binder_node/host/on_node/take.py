"""Take files from stdin, each after a line of JSON that describes it; hashed as they come, named when they are whole.

Sent as text and run by the node's own python3 as root: standard library only, nothing newer than Python 3.10. Prints
a line a file; exit 9 where a file is not what was announced.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from typing import Any, BinaryIO

CHUNK = 1 << 20


def take(want: dict[str, Any], source: BinaryIO) -> None:
    folder, name = os.path.split(want["path"])
    os.makedirs(folder, mode=0o755, exist_ok=True)
    part, left, digest = os.path.join(folder, ".part-" + name), want["size"], hashlib.sha256()
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        while left:
            data = source.read(min(CHUNK, left))
            if not data:
                raise SystemExit("the connection ended in the middle of a file")
            digest.update(data)
            file.write(data)
            left -= len(data)
        os.fchmod(descriptor, want["mode"])
    if digest.hexdigest() != want["sha256"]:
        os.unlink(part)
        raise SystemExit(9)
    os.replace(part, want["path"])


def main() -> None:
    os.umask(0o022)
    while line := sys.stdin.buffer.readline():
        want = json.loads(line)
        take(want, sys.stdin.buffer)
        print(want["path"], flush=True)


if __name__ == "__main__":
    main()
