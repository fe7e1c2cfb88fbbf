"""Back up what a node keeps outside of its bucket: copied, packed, encrypted, put into a bucket (told by a JSON file).

    python3 -m on_node.backup CONFIG

Put on the node as a file, and run there by its own python3: standard library only, nothing newer than Python 3.10.
Prints one line of JSON; ends with 1 and one line on stderr where something is missing, broken or refused.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote

from .s3 import Bucket, Failure, Patience

# Of the archive's form; binder_node/host/restore.py reads it.
FORMAT = 1
# A writer keeps a database for milliseconds. Seconds.
BUSY = 60.0
PATIENCE = Patience(tries=4, pause=15.0, answer=120.0)


def copy_database(source: str, target: str) -> None:
    """A consistent copy of a database in use, as one compact file; checked.

    ``VACUUM INTO`` reads within one transaction: what is written meanwhile is in the next backup, and in the
    write-ahead log nothing waits for us.
    """
    with contextlib.closing(sqlite3.connect(f"file:{quote(source)}?mode=rw", uri=True, timeout=BUSY)) as database:
        database.execute("VACUUM INTO ?", (target,))
    with contextlib.closing(sqlite3.connect(f"file:{quote(target)}?mode=ro", uri=True)) as copied:
        said = [str(row[0]) for row in copied.execute("PRAGMA quick_check")]
    if said != ["ok"]:
        raise Failure(f"{source} is damaged: {'; '.join(said[:3])}")
    about = os.stat(source)
    os.chown(target, about.st_uid, about.st_gid)
    os.chmod(target, about.st_mode & 0o7777)


def files_of(name: str, path: str) -> Iterator[tuple[str, str]]:
    """Name in the archive and path of each regular file at or below ``path``; nothing where there is nothing."""
    if os.path.isfile(path) and not os.path.islink(path):
        yield name, path
    for folder, folders, names in os.walk(path):
        folders.sort()
        for one in sorted(names):
            whole = os.path.join(folder, one)
            if os.path.isfile(whole) and not os.path.islink(whole):
                yield os.path.join(name, os.path.relpath(whole, path)), whole


def collected(config: dict[str, Any], scratch: str) -> list[tuple[str, str]]:
    """Everything that goes in: small files first, so that a database never knows less than they do."""
    found = [pair for name, path in config["trees"].items() for pair in files_of(name, path)]
    for name, path in config["databases"].items():
        if os.path.exists(path):
            target = os.path.join(scratch, name.replace("/", "-"))
            copy_database(path, target)
            found.append((name, target))
    missing = set(config["needed"]) - {name for name, _ in found}
    if missing:
        raise Failure(f"there is no {' and no '.join(sorted(missing))} to back up")
    return found


def about(config: dict[str, Any], found: list[tuple[str, str]], now: datetime) -> bytes:
    versions = {}
    for name, command in config["versions"].items():
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False, timeout=60)
        versions[name] = (done.stdout.decode("utf-8", "replace").splitlines() or [""])[0]
    told = {
        "format": FORMAT,
        "node": config["node"],
        "taken": now.isoformat(timespec="seconds"),
        "versions": versions,
        "files": {name: os.path.getsize(path) for name, path in found},
    }
    return json.dumps(told, indent=1).encode()


def seal(config: dict[str, Any], found: list[tuple[str, str]], told: bytes, target: str) -> None:
    """The archive, encrypted on its way: in clear it lies nowhere."""
    command = [config["age"], "-R", config["recipients"], "-o", target]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stderr is not None
    broken = False
    try:
        with tarfile.open(fileobj=process.stdin, mode="w|gz") as archive:
            head = tarfile.TarInfo("about.json")
            head.size, head.mode, head.mtime = len(told), 0o600, int(time.time())
            archive.addfile(head, io.BytesIO(told))
            for name, path in found:
                archive.add(path, name, recursive=False)
        process.stdin.close()
    except BrokenPipeError:
        broken = True  # age says why
    said = process.stderr.read().decode("utf-8", "replace").strip()
    if process.wait(60) != 0 or broken:
        raise Failure((said.splitlines() or ["age ended early"])[0])


# --- the bucket ----------------------------------------------------------------------------------------------------


def put(config: dict[str, Any], name: str, source: str) -> None:
    """What is refused is not asked for again."""
    where = config["endpoint"]
    with open(source, "rb") as file:
        for left, answer in Bucket(config, PATIENCE).put_tries(name, file):
            if not answer.why:
                return
            if answer.refused:
                raise Failure(f"{where} refused {name}: {answer.why}")
            if not left:
                raise Failure(f"{where} did not take {name}: {answer.why}")
            print(f"{answer.why}; once more in {PATIENCE.pause:.0f} s", file=sys.stderr, flush=True)


def main() -> int:
    os.umask(0o077)
    with open(sys.argv[1], encoding="utf-8") as file:
        config = json.load(file)
    scratch = config["scratch"]
    # Of a run that was killed; systemd runs one at a time.
    shutil.rmtree(scratch, ignore_errors=True)
    os.makedirs(scratch, mode=0o700, exist_ok=True)
    began, now = time.monotonic(), datetime.now(timezone.utc)  # noqa: UP017
    try:
        found = collected(config, scratch)
        sealed = os.path.join(scratch, "sealed.age")
        seal(config, found, about(config, found, now), sealed)
        # Nobody who can write here knows the names of others, to write over them.
        name = f"{config['prefix']}{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(8)}.age"
        size = os.path.getsize(sealed)
        put(config, name, sealed)
    except (Failure, OSError, sqlite3.Error, subprocess.SubprocessError) as error:
        print(f"no backup: {error}", file=sys.stderr)
        return 1
    finally:
        for entry in os.scandir(scratch):
            os.unlink(entry.path)
    print(json.dumps({"name": name, "bytes": size, "files": len(found), "seconds": round(time.monotonic() - began, 2)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
