"""Make files, links and folders on a machine as told (JSON on stdin): each whole or not at all, by rename.

Sent as text and run by the node's own python3 as root: standard library only, nothing newer than Python 3.10. Secrets
come by stdin alone, and lie in no file but their own.
"""

from __future__ import annotations

import base64
import grp
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from typing import Any


def number_of(name: str, group: bool) -> int:
    """A user's or group's id, by name or by the number itself."""
    if name.isdigit():
        return int(name)
    return grp.getgrnam(name).gr_gid if group else pwd.getpwnam(name).pw_uid


def make_user(name: str) -> None:
    asked = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    subprocess.run([*asked, "--shell", "/usr/sbin/nologin", "--", name], check=True, timeout=60)


def make_folder(want: dict[str, Any]) -> None:
    path = want["path"]
    if os.path.islink(path) or (os.path.lexists(path) and not os.path.isdir(path)):
        raise SystemExit(f"{path} is in the way: it is no folder")
    os.makedirs(path, mode=0o755, exist_ok=True)
    os.chown(path, number_of(want["owner"], False), number_of(want["group"], True))
    os.chmod(path, want["mode"])


def clear_for(path: str) -> None:
    """A folder is never replaced by a file: what may lie in it is not ours."""
    if os.path.isdir(path) and not os.path.islink(path):
        raise SystemExit(f"{path} is in the way: it is a folder")
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)


def make_file(want: dict[str, Any]) -> None:
    path = want["path"]
    clear_for(path)
    descriptor, temporary = tempfile.mkstemp(prefix=".binder-node-", dir=os.path.dirname(path))
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchown(descriptor, number_of(want["owner"], False), number_of(want["group"], True))
            os.fchmod(descriptor, want["mode"])
            file.write(base64.b64decode(want["content"]))
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def make_link(want: dict[str, Any]) -> None:
    path = want["path"]
    clear_for(path)
    temporary = os.path.join(os.path.dirname(path), f".binder-node-{os.getpid()}")
    os.symlink(want["target"], temporary)
    os.replace(temporary, path)


def make_copy(want: dict[str, Any]) -> None:
    """A copy that keeps the source's time, by which the next look tells it from another."""
    path = want["path"]
    clear_for(path)
    temporary = os.path.join(os.path.dirname(path), f".binder-node-{os.getpid()}")
    shutil.copy2(want["source"], temporary)
    os.replace(temporary, path)


def make_block(want: dict[str, Any]) -> None:
    """Our lines between their markers, the rest of the file untouched."""
    path, begin, end = os.path.realpath(os.path.expanduser(want["path"])), want["begin"], want["end"]
    mode, owner = 0o644, (0, 0)
    lines: list[str] = []
    if want["path"].startswith("~"):
        mode, owner = 0o600, make_home_of(path, want["path"][1:].partition("/")[0])
    if os.path.exists(path):
        seen = os.stat(path)
        mode, owner = seen.st_mode & 0o7777, (seen.st_uid, seen.st_gid)
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    if begin in lines and end in lines:
        lines[lines.index(begin) : lines.index(end) + 1] = []
    if want["lines"]:
        lines += [begin, *want["lines"], end]
    content = ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")
    user, group = map(str, owner)
    make_file(
        {"path": path, "content": base64.b64encode(content).decode(), "mode": mode, "owner": user, "group": group}
    )


def make_home_of(path: str, user: str) -> tuple[int, int]:
    """The folder of a user's file, where it is missing, as ssh wants it; returns the user's ids."""
    entry = pwd.getpwnam(user)
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        os.mkdir(folder, 0o700)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
    return entry.pw_uid, entry.pw_gid


def remove(path: str) -> None:
    """What we once put: a file or a link. A folder stays when something lies in it."""
    if os.path.isdir(path) and not os.path.islink(path):
        if not os.listdir(path):
            os.rmdir(path)
    elif os.path.lexists(path):
        os.unlink(path)


MAKERS = {"folders": make_folder, "copies": make_copy, "files": make_file, "links": make_link, "blocks": make_block}


def main() -> None:
    work = json.load(sys.stdin)
    for name in work.get("users", []):
        make_user(name)
    for kind, maker in MAKERS.items():
        for want in work.get(kind, []):
            maker(want)
    for path in work.get("removed", []):
        remove(path)


if __name__ == "__main__":
    main()
