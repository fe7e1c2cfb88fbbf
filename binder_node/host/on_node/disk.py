"""Make the data disk's filesystem where told, and mount it (JSON on stdin). Killed anywhere, the next run goes on.

Sent as text and run by the node's own python3 as root: standard library only, nothing newer than Python 3.10. Before
it formats it looks again: a disk that is in use, or that holds anything else than what was seen, is left alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any


def run(*argv: str) -> str:
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{argv[0]}: {done.stdout.strip() or done.returncode}")
    return done.stdout


def check(work: dict[str, Any]) -> None:
    """Raises SystemExit where the device is not the one that was judged, or not as it was."""
    path = work["device"]
    seen = os.stat(path)
    number = f"{os.major(seen.st_rdev)}:{os.minor(seen.st_rdev)}"
    if number != work["number"]:
        raise SystemExit(f"{path} is another device now ({number}, not {work['number']}): run the same command again")
    try:
        # Exclusive: the kernel refuses where it is mounted, or a part of something that is.
        handle = os.open(path, os.O_RDWR | os.O_EXCL)
    except OSError as error:
        raise SystemExit(f"{path} is in use: {error.strerror}") from None
    try:
        size = os.lseek(handle, 0, os.SEEK_END)
    finally:
        os.close(handle)
    if size != work["size"]:
        raise SystemExit(f"{path} has {size} bytes now, not {work['size']}: run the same command again")
    answer = run("wipefs", "--no-act", "--json", "--output", "TYPE", path)
    found = json.loads(answer)["signatures"] if answer.strip() else []
    if sorted(one["type"] for one in found) != work["signatures"]:
        raise SystemExit(f"what is on {path} has changed since it was looked at: run the same command again")


def form(work: dict[str, Any]) -> None:
    """The label is set when all is there: what carries the first one is made again."""
    path, (unmade, made) = work["device"], work["labels"]
    # What is made of it first: their signatures would come up again in the new filesystem's free space.
    for other in [*work["below"], path]:
        run("wipefs", "--all", "--quiet", *(["--force"] if other == path else []), other)
    run("mkfs.xfs", "-q", "-f", "-m", f"uuid={work['uuid']}", "-L", unmade, path)
    run("xfs_admin", "-L", made, path)


def main() -> None:
    work = json.load(sys.stdin)
    if work["format"]:
        check(work)
        form(work)
    os.makedirs(work["where"], mode=0o755, exist_ok=True)
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", work["units"][0])
    run("systemctl", "start", work["units"][1])
    if not os.path.ismount(work["where"]):
        raise SystemExit(f"systemd mounted nothing at {work['where']}: see `journalctl -u {work['units'][1]}`")


if __name__ == "__main__":
    main()
