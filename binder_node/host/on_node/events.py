"""The log of launches on a node: archived in the bucket as the public archive is, and told in numbers.

    python3 -m on_node.events CONFIG archive      every day that the bucket lacks or has less of
    python3 -m on_node.events CONFIG tell DAYS    the last DAYS days in numbers, as one JSON document

Put on the node as a file, and run there by its own python3: standard library only, nothing newer than Python 3.10.

Two machines may have one bucket for a while (a node and the one that takes its place). So each keeps what it saw under
``parts/DAY/MACHINE.jsonl``, and ``events-DAY.jsonl`` is made of all parts of a day, by whoever sees that their sizes
do not add up. Nothing has to be remembered for that; what this keeps beside the log only saves reading.
"""

from __future__ import annotations

import collections
import contextlib
import fcntl
import hashlib
import json
import os
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from .s3 import Bucket, Failure, Patience

DAY = re.compile(r"events-(\d{4}-\d{2}-\d{2})\.jsonl")
FAILED = re.compile(r"failures-(\d{4}-\d{2}-\d{2})\.jsonl")
STATE, LOCK = "archive.json", ".lock"
UTC = timezone.utc  # noqa: UP017
PATIENCE = Patience(tries=4, pause=10.0, answer=60.0)
KIND = "application/jsonl"
# A reason is told in numbers: its beginning, and not more kinds than a person reads.
WORDS, KINDS = 160, 500


# --- the log -------------------------------------------------------------------------------------------------------


def days_in(folder: str, pattern: re.Pattern[str]) -> dict[str, str]:
    """Path of each day's file."""
    found = {match[1]: match[0] for name in os.listdir(folder) if (match := pattern.fullmatch(name))}
    return {day: os.path.join(folder, name) for day, name in sorted(found.items())}


def events_of(path: str) -> Iterator[dict[str, Any]]:
    """A file's events. A line that is no event is none: a disk that was full leaves half of one."""
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.endswith("\n"):  # else it is being written
                try:
                    event = json.loads(line)
                except ValueError:
                    continue
                if isinstance(event, dict) and isinstance(event.get("timestamp"), str):
                    yield event


def to_the_minute(stamp: str) -> str:
    """As the public archive writes it: an exact time could tell who launched.

    >>> to_the_minute("2026-11-21T19:52:08.123456Z")
    '2026-11-21T19:52:00+00:00'
    """
    at = datetime.fromisoformat(stamp.replace("Z", "+00:00"))
    return at.replace(second=0, microsecond=0).isoformat()


def public(events: Iterable[dict[str, Any]]) -> bytes:
    """The archive's lines: times to the minute, sorted, and within a minute by their text: their order tells nothing.

    >>> public([{"timestamp": "2026-11-21T19:52:08.1Z", "spec": "b"}, {"timestamp": "2026-11-21T19:51:59Z"}])
    b'{"timestamp": "2026-11-21T19:51:00+00:00"}\\n{"timestamp": "2026-11-21T19:52:00+00:00", "spec": "b"}\\n'
    """
    found = []
    for event in events:
        with contextlib.suppress(ValueError):
            found.append((to_the_minute(event["timestamp"]), event))
    lines = sorted((at, json.dumps({**event, "timestamp": at})) for at, event in found)
    return "".join(f"{line}\n" for _, line in lines).encode()


def merged(parts: Iterable[bytes]) -> bytes:
    """One day from all its parts."""
    lines = [line for part in parts for line in part.decode("utf-8", "replace").splitlines()]
    return "".join(
        f"{line}\n" for line in sorted(lines, key=lambda line: (json.loads(line)["timestamp"], line))
    ).encode()


# --- the archive ---------------------------------------------------------------------------------------------------


def machine(node: str) -> str:
    """This machine's name among those that had the bucket: its node's, and a mark that tells nothing else."""
    with open("/etc/machine-id", encoding="ascii") as file:
        mark = hashlib.sha256(f"binder-node events {file.read().strip()}".encode()).hexdigest()[:8]
    return f"{node}-{mark}"


def archive(config: dict[str, Any], state: dict[str, Any], bucket: Bucket) -> dict[str, Any]:
    """Put what the bucket lacks; returns what was done. ``state`` remembers sizes, and may be empty."""
    mine, prefix, folder = machine(config["node"]), config["prefix"], config["folder"]
    there = {name[len(prefix) :]: size for name, _, size in bucket.listed(prefix)}
    known: dict[str, list[int]] = state.setdefault("sizes", {})
    put = []
    for day, path in days_in(folder, DAY).items():
        name, size = f"parts/{day}/{mine}.jsonl", os.path.getsize(path)
        if known.get(day, [-1, -1]) == [size, there.get(name, -2)]:
            continue
        body = public(events_of(path))
        if body and there.get(name) != len(body):
            bucket.put(prefix + name, body, KIND)
            put.append(day)
        if body:
            there[name] = len(body)
        # What came while it was read is seen by its size at the next run.
        known[day] = [size, len(body)]
    made = compose(bucket, prefix, there)
    removed = tidy(config, known, there, mine)
    return {"put": put, "made": sorted(made), "removed": removed}


def compose(bucket: Bucket, prefix: str, there: dict[str, int]) -> dict[str, int]:
    """Days made of their parts where their sizes do not add up, with their counts; then the index."""
    sums: collections.Counter[str] = collections.Counter()
    for name, size in there.items():
        if name.startswith("parts/"):
            sums[name.split("/")[1]] += size
    made = {}
    for day in sorted(day for day, size in sums.items() if there.get(f"events-{day}.jsonl") != size):
        names = sorted(name for name in there if name.startswith(f"parts/{day}/"))
        body = merged(bucket.get(prefix + name) or b"" for name in names)
        bucket.put(f"{prefix}events-{day}.jsonl", body, KIND)
        there[f"events-{day}.jsonl"] = len(body)
        made[day] = body.count(b"\n")
    index(bucket, prefix, there, made)
    return made


def index(bucket: Bucket, prefix: str, there: dict[str, int], made: dict[str, int]) -> None:
    """``index.jsonl``: a line a day with its count, which is a text, as in the public archive."""
    old = bucket.get(f"{prefix}index.jsonl")
    counts = {}
    for line in (old or b"").decode("utf-8", "replace").splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            known = json.loads(line)
            counts[str(known["date"])] = int(known["count"])
    lines = []
    for day in sorted(match[1] for name in there if (match := DAY.fullmatch(name))):
        name = f"events-{day}.jsonl"
        count = made.get(day, counts.get(day))
        # Another machine may have made the last days anew.
        if count is None or (day not in made and day >= days_ago(2)):
            count = (bucket.get(prefix + name) or b"").count(b"\n")
        lines.append(json.dumps({"name": name, "date": day, "count": str(count)}))
    new = "\n".join(lines).encode()
    if lines and new != old:
        bucket.put(f"{prefix}index.jsonl", new, KIND)


def days_ago(count: int) -> str:
    return (datetime.now(UTC) - timedelta(days=count)).strftime("%Y-%m-%d")


def tidy(config: dict[str, Any], known: dict[str, list[int]], there: dict[str, int], mine: str) -> list[str]:
    """Remove days that are old, and in the bucket as a whole."""
    last, removed = days_ago(config["keep"]), []
    for day, path in days_in(config["folder"], DAY).items():
        size, length = known.get(day, [-1, -1])
        if day < last and size == os.path.getsize(path) and length == there.get(f"parts/{day}/{mine}.jsonl", 0):
            os.unlink(path)
            removed.append(day)
            del known[day]
    for day, path in days_in(config["folder"], FAILED).items():
        if day < last:
            os.unlink(path)
    return removed


def remembered(folder: str) -> dict[str, Any]:
    try:
        with open(os.path.join(folder, STATE), encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def remember(folder: str, state: dict[str, Any]) -> None:
    path = os.path.join(folder, STATE)
    with open(f"{path}.part", "w", encoding="utf-8") as file:
        json.dump(state, file)
    os.replace(f"{path}.part", path)


def run(config: dict[str, Any]) -> int:
    folder = config["folder"]
    with open(os.path.join(folder, LOCK), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state, why = remembered(folder), ""
        done: dict[str, Any] = {}
        try:
            done = archive(config, state, Bucket(config, PATIENCE))
            state["archived"] = datetime.now(UTC).isoformat(timespec="seconds")
        except (Failure, OSError, ET.ParseError, ValueError, KeyError) as error:
            why = str(error)
        state["error"] = why
        remember(folder, state)
    if why:
        print(f"not archived, and kept: {why}", file=sys.stderr)
        return 1
    print(json.dumps(done))
    return 0


# --- numbers -------------------------------------------------------------------------------------------------------


def tell(config: dict[str, Any], count: int) -> dict[str, Any]:
    """Launches by hour and repository, failures by hour, repository and reason, and how far the archive is."""
    folder, first = config["folder"], days_ago(count - 1)
    launches: collections.Counter[tuple[str, ...]] = collections.Counter()
    failures: collections.Counter[tuple[str, ...]] = collections.Counter()
    for day, path in days_in(folder, DAY).items():
        if day >= first:
            for one in events_of(path):
                what = (str(one.get("provider", "")), str(one.get("spec", "")), str(one.get("status", "")))
                launches[(one["timestamp"][:13], *what)] += 1
    for day, path in days_in(folder, FAILED).items():
        if day >= first:
            for one in events_of(path):
                why = " ".join(str(one.get("message", "")).split())[:WORDS]
                failures[one["timestamp"][:13], str(one.get("path", "")), str(one.get("phase", "")), why] += 1
    state = remembered(folder)
    sizes = state.get("sizes", {})
    waiting = [day for day, path in days_in(folder, DAY).items() if sizes.get(day, [-1])[0] != os.path.getsize(path)]
    return {
        "first": first,
        "launches": [[*key, number] for key, number in sorted(launches.items())],
        "failures": [[*key, number] for key, number in failures.most_common(KINDS)],
        "failed": sum(failures.values()),
        "archived": state.get("archived", ""),
        "error": state.get("error", ""),
        "waiting": waiting,
    }


def main() -> int:
    os.umask(0o077)
    with open(sys.argv[1], encoding="utf-8") as file:
        config = json.load(file)
    if sys.argv[2] == "archive":
        return run(config)
    print(json.dumps(tell(config, int(sys.argv[3]))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
