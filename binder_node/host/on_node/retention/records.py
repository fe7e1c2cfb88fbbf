"""When each image was used last: one object a machine in the bucket, since a log dies with its machine."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from typing import Any

from ..s3 import Bucket
from .journal import Read, read

# Seconds. A machine that has told nothing for a day is gone; so long a gap between two machines is none.
GONE = 86400.0


@contextlib.contextmanager
def alone(config: dict[str, Any]) -> Iterator[None]:
    """One run at a time changes this machine's record."""
    with open(os.path.join(config["state"], ".lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def own_name(config: dict[str, Any]) -> str:
    """This machine's object: its node's name, and a mark that tells nothing else of it."""
    with open(config["machine_id"], encoding="ascii") as file:
        mark = hashlib.sha256(f"binder-node uses {file.read().strip()}".encode()).hexdigest()[:8]
    return f"{config['prefix']}{config['node']}-{mark}.json"


def load(bucket: Bucket, name: str) -> dict[str, Any] | None:
    body = bucket.get(name)
    return json.loads(body) if body is not None else None


def put(bucket: Bucket, name: str, record: dict[str, Any]) -> None:
    bucket.put(name, json.dumps(record, sort_keys=True).encode())


def noted(record: dict[str, Any] | None, found: Read, now: float) -> dict[str, Any]:
    """A record with what the log says besides. Where more than a day of the log is lost, what was used before is not
    known any more. Pure."""
    uses = dict(record["uses"]) if record else {}
    for at, request in found.requests:
        uses[request.name] = max(uses.get(request.name, 0), int(at))
    known = record is not None and (found.whole or (found.first or now) - float(record["noted"]) < GONE)
    since = float(record["since"]) if record and known else (found.first or now)
    return {"since": since, "noted": now, "cursor": found.cursor, "uses": uses}


def note(config: dict[str, Any], bucket: Bucket) -> dict[str, Any]:
    """Bring this machine's record up to now; returns it."""
    with alone(config):
        name = own_name(config)
        record = load(bucket, name)
        made = noted(record, read(config["journal"], record["cursor"] if record else ""), time.time())
        put(bucket, name, made)
        return made


def every(config: dict[str, Any], bucket: Bucket) -> dict[str, dict[str, Any]]:
    """All machines' records by name."""
    names = [name for name, _, _ in bucket.listed(config["prefix"])]
    found = {name: load(bucket, name) for name in names}
    return {name: record for name, record in found.items() if record is not None}


def others(config: dict[str, Any], records: dict[str, dict[str, Any]], now: float) -> list[str]:
    """Machines besides this one that have the bucket now."""
    mine = own_name(config)
    there = [name for name, record in records.items() if name != mine and now - float(record["noted"]) < GONE]
    return sorted(name[len(config["prefix"]) :].removesuffix(".json") for name in there)


def tidy(config: dict[str, Any], bucket: Bucket, uses: dict[str, float], since: float, began: float) -> None:
    """This machine's record takes over ``uses``, all that is known of what is there; those of machines gone by now go.

    What was noted since ``began`` stays.
    """
    with alone(config):
        name = own_name(config)
        record = load(bucket, name) or {"noted": began, "cursor": "", "uses": {}}
        later = {key: at for key, at in record["uses"].items() if at >= began}
        both = {key: int(max(uses.get(key, 0), later.get(key, 0))) for key in {*uses, *later}}
        put(bucket, name, {**record, "since": since, "uses": both})
        now = time.time()
        stale = [one for one, about in every(config, bucket).items() if one != name and now - about["noted"] >= GONE]
        bucket.remove(stale)
