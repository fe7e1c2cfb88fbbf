"""Read what the node remembers of the past days (host/on_node/watch); JSON on stdin and stdout.

In: ``{"state": FOLDER, "logs": FOLDER, "since": TIME, "until": TIME, "kinds": [...], "words": [...], "to": ADDRESS,
"sets": [...], "tail": LINES}``. A record is told when it is of one of ``kinds``, within the time, says one of ``words``
(a pod's name, a repository; none: whatever it says) and, with ``to``, went there.
Out: ``{"records", "totals", "sets", "logs", "more"}``.

Sent as text and run by the node's own python3: standard library only, nothing newer than Python 3.10.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# The newest records of a question that would have more.
MOST = 20000
TAIL_BYTES = 65536


def records(ask: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """In the order of their writing."""
    words = [word.lower() for word in ask.get("words") or ()]
    for file in sorted(Path(ask["state"]).glob("????-??-??.jsonl*")):
        # A record can be of the day before its file's: a target that was met late in the evening.
        if file.name[:10] < ask["since"][:10] or file.suffix == ".part":
            continue
        with gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else file.open(encoding="utf-8") as lines:
            for line in lines:
                if words and not any(word in line.lower() for word in words):
                    continue
                try:
                    found = json.loads(line)
                except ValueError:
                    continue  # the machine went down in the middle of it
                if wanted(found, ask):
                    yield found


def wanted(found: dict[str, Any], ask: dict[str, Any]) -> bool:
    """Whether a record is asked for."""
    if found["kind"] not in ask["kinds"] or not ask["since"] <= found["at"] <= ask["until"]:
        return False
    return not ask.get("to") or str(found.get("to", "")).rpartition(":")[0] == ask["to"]


def elements(name: str) -> list[Any]:
    """What a set of the firewall's holds now."""
    argv = ["/usr/sbin/nft", "-j", "list", "set", "inet", "binder_node", name]
    done = subprocess.run(argv, capture_output=True, timeout=20, check=False)
    if done.returncode:
        return []
    found: dict[str, Any] = next((item["set"] for item in json.loads(done.stdout)["nftables"] if "set" in item), {})
    return list(found.get("elem", ()))


def logs(ask: dict[str, Any], pods: set[str]) -> dict[str, list[str]]:
    """The last lines of kept logs of builds, by pod; without the time and stream that the kubelet puts before each."""
    told: dict[str, list[str]] = {}
    for pod in sorted(pods):
        for file in sorted(Path(ask["logs"]).glob(f"{pod}_*.log")):
            with file.open("rb") as found:
                found.seek(max(0, file.stat().st_size - TAIL_BYTES))
                lines = found.read().decode("utf-8", "replace").splitlines()
            plain = [line.split(" ", 3)[-1] for line in lines]
            told[pod] = [*told.get(pod, []), *plain][-int(ask["tail"]) :]
    return told


def main() -> None:
    """Answer the question on stdin."""
    ask = json.load(sys.stdin)
    found = list(records(ask))
    try:
        totals = json.loads((Path(ask["state"]) / "totals.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        totals = {}
    pods = {one["who"].get("pod") for one in found if (one.get("who") or {}).get("kind") == "build"}
    told = {
        "records": found[-MOST:],
        "more": max(0, len(found) - MOST),
        "totals": totals,
        "sets": {name: elements(name) for name in ask.get("sets") or ()},
        "logs": logs(ask, {pod for pod in pods if pod}) if ask.get("tail") else {},
    }
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
