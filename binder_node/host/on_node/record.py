"""Write down how a unit that a timer starts has ended: its ``ExecStopPost``, so that nothing ends it unseen.

    record.py FOLDER NAME UNIT

Put on the node as a file, and run there by its own python3: standard library only, nothing newer than Python 3.10.
systemd tells the result in the environment (systemd.exec(5), SERVICE_RESULT).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import datetime, timezone
from typing import Any

SECONDS = 20
# Of a run's last line.
WORDS = 300


def answer(*argv: str) -> str:
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False, timeout=SECONDS)
    return done.stdout.decode("utf-8", "replace").strip()


def before(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def record(old: dict[str, Any], name: str, result: str, seconds: float, said: str, now: datetime) -> dict[str, Any]:
    """The file's content; ``succeeded`` is when it last did, ``failures`` how often it has not since. Pure."""
    ended, well = now.isoformat(timespec="seconds"), result == "success"
    return {
        "job": name,
        "result": result,
        "ended": ended,
        "seconds": round(seconds, 1),
        "said": said[:WORDS],
        "succeeded": ended if well else old.get("succeeded", ""),
        "failures": 0 if well else int(old.get("failures", 0)) + 1,
    }


def main() -> None:
    folder, name, unit = sys.argv[1:]
    path = os.path.join(folder, f"{name}.json")
    # The program's own words, without systemd's.
    said = answer("journalctl", "-q", "--no-pager", "-o", "cat", "-n", "1", f"_SYSTEMD_INVOCATION_ID={os.environ['INVOCATION_ID']}")  # fmt: skip  # noqa: E501
    began = answer("systemctl", "show", "-P", "InactiveExitTimestampMonotonic", unit)
    seconds = time.clock_gettime(time.CLOCK_MONOTONIC) - int(began) / 1e6 if began.isdigit() else 0.0
    now = datetime.now(timezone.utc)  # noqa: UP017
    content = record(before(path), name, os.environ["SERVICE_RESULT"], seconds, said, now)
    with open(f"{path}.part", "w", encoding="utf-8") as file:
        file.write(json.dumps(content) + "\n")
    os.replace(f"{path}.part", path)


if __name__ == "__main__":
    main()
