"""Wait until what was started is really up (JSON on stdin); says at once what is not, when the time is over.

Sent as text and run by the node's own python3: standard library only, nothing newer than Python 3.10. Exit 0 when all
is up; else 3, with one line a unit on stderr: ``unit<TAB>what was waited for<TAB>what was last seen``.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import time
from typing import Any

PAUSE = 0.1


def trouble(kind: str, target: str) -> str:
    """Why it is not up yet; empty when it is."""
    try:
        if kind == "tcp":
            socket.create_connection(("127.0.0.1", int(target)), timeout=2).close()
        elif kind == "unix":
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(2)
                client.connect(target)
        elif kind == "path":
            os.stat(target)
        else:
            done = subprocess.run(
                shlex.split(target), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=10, check=False
            )
            if done.returncode:
                last = done.stdout.decode("utf-8", "replace").strip().splitlines()
                return last[-1] if last else f"exit status {done.returncode}"
    except subprocess.TimeoutExpired:
        return "no answer in 10 s"
    except OSError as error:
        return error.strerror or str(error)
    return ""


def main() -> None:
    left: list[dict[str, Any]] = json.load(sys.stdin)
    began = time.monotonic()
    late = []
    while left:
        still = []
        for wait in left:
            reason = trouble(wait["kind"], wait["target"])
            if not reason:
                continue
            if time.monotonic() - began > wait["deadline"]:
                late.append(f"{wait['unit']}\t{wait['kind']} {wait['target']}\t{reason}")
            else:
                still.append(wait)
        left = still
        if left:
            time.sleep(PAUSE)
    if late:
        sys.stderr.write("\n".join(late) + "\n")
        raise SystemExit(3)


if __name__ == "__main__":
    main()
