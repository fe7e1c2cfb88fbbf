"""Back up what a node keeps outside of its bucket: copied, packed, encrypted, put into a bucket (told by a JSON file).

Put on the node as a file, and run there by its own python3: standard library only, nothing newer than Python 3.10.
Prints one line of JSON; ends with 1 and one line on stderr where something is missing, broken or refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
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
from urllib.parse import quote, urlsplit

# Of the archive's form; binder_node/host/restore.py reads it.
FORMAT = 1
# A writer keeps a database for milliseconds. Seconds.
BUSY = 60.0
TRIES, PAUSE, ANSWER = 4, 15.0, 120.0
# Refusals that pass by themselves: request timeout, and too many of them.
AGAIN = (408, 429)


class Failure(Exception):
    """What went wrong, in one line."""


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


def hashed(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signed(config: dict[str, Any], host: str, path: str, digest: str, now: datetime) -> dict[str, str]:
    """The headers of a PUT without a query, as S3 wants it signed (AWS Signature Version 4)."""
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    headers = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": stamp}
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = "\n".join(["PUT", path, "", lines, names, digest])
    scope = f"{day}/{config['region']}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = b"AWS4" + config["secret_key"].encode()
    for part in scope.split("/"):
        key = hashed(key, part)
    credential = f"Credential={config['access_key']}/{scope}"
    signature = f"Signature={hmac.new(key, text.encode(), hashlib.sha256).hexdigest()}"
    headers["Authorization"] = f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={names}, {signature}"
    return headers


def put_once(config: dict[str, Any], name: str, source: str, digest: str) -> str:
    """Why it was not taken, where another try may be; empty where it was. Raises Failure where it was refused."""
    parts = urlsplit(config["endpoint"])
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=ANSWER)
    path = quote(f"{parts.path.rstrip('/')}/{config['bucket']}/{name}", safe="/-_.~")
    headers = signed(config, parts.netloc, path, digest, datetime.now(timezone.utc))  # noqa: UP017
    try:
        with open(source, "rb") as body:
            connection.request("PUT", path, body, {**headers, "Content-Length": str(os.path.getsize(source))})
            answer = connection.getresponse()
            said = answer.read(4096).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        return f"no answer: {error}"
    finally:
        connection.close()
    code = said.partition("<Code>")[2].partition("</Code>")[0]
    why = f"HTTP {answer.status} {code or answer.reason}"
    if 400 <= answer.status < 500 and answer.status not in AGAIN:
        raise Failure(f"{config['endpoint']} refused {name}: {why}")
    return "" if answer.status == 200 else why


def put(config: dict[str, Any], name: str, source: str) -> None:
    with open(source, "rb") as file:
        digest = hashlib.sha256()
        for chunk in iter(lambda: file.read(1 << 20), b""):
            digest.update(chunk)
    for left in reversed(range(TRIES)):
        why = put_once(config, name, source, digest.hexdigest())
        if not why:
            return
        if not left:
            raise Failure(f"{config['endpoint']} did not take {name}: {why}")
        print(f"{why}; once more in {PAUSE:.0f} s", file=sys.stderr, flush=True)
        time.sleep(PAUSE)


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
