"""Look at a machine: one question (JSON on stdin), one answer (JSON on stdout). Changes nothing.

Sent as text and run by the node's own python3: standard library only, nothing newer than Python 3.10.
"""

from __future__ import annotations

import base64
import contextlib
import grp
import hashlib
import json
import os
import platform
import pwd
import stat
import subprocess
import sys
from datetime import datetime, timezone
from typing import Any

LARGEST_TEXT = 256 * 1024
UNIT_PROPERTIES = (
    "LoadState", "UnitFileState", "ActiveState", "SubState", "InactiveExitTimestamp", "NeedDaemonReload",
    "ConditionResult", "ConditionTimestamp",
)  # fmt: skip


def owner_of(seen: os.stat_result) -> list[str]:
    try:
        user = pwd.getpwuid(seen.st_uid).pw_name
    except KeyError:
        user = str(seen.st_uid)
    try:
        group = grp.getgrgid(seen.st_gid).gr_name
    except KeyError:
        group = str(seen.st_gid)
    return [user, group, str(seen.st_uid), str(seen.st_gid)]


def look_at_path(path: str, wanted: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """Kind, mode, owner and ctime; of a file its digest, and its text where that differs and may be shown."""
    try:
        seen = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    about: dict[str, Any] = {"mode": stat.S_IMODE(seen.st_mode), "owner": owner_of(seen), "changed": seen.st_ctime}
    if stat.S_ISLNK(seen.st_mode):
        return {**about, "kind": "link", "target": os.readlink(path)}
    if stat.S_ISDIR(seen.st_mode):
        return {**about, "kind": "folder"}
    if not stat.S_ISREG(seen.st_mode):
        return {**about, "kind": "other"}
    about.update(kind="file", size=seen.st_size, modified=seen.st_mtime_ns)
    if wanted is not None:
        with open(path, "rb") as file:
            content = file.read()
        about["sha256"] = hashlib.sha256(content).hexdigest()
        if about["sha256"] != wanted["sha256"] and wanted["show"] and len(content) <= LARGEST_TEXT:
            about["text"] = base64.b64encode(content).decode()
    return about


def look_at_block(path: str, begin: str, end: str) -> list[str] | None:
    """The lines between the markers; None where they are not."""
    try:
        with open(os.path.expanduser(path), encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
        return lines[lines.index(begin) + 1 : lines.index(end)]
    except (FileNotFoundError, ValueError):
        return None


def look_at_units(names: list[str]) -> dict[str, dict[str, Any]]:
    """What systemd says; ``started`` and ``asked`` (its conditions) as seconds since the epoch, 0: never."""
    if not names:
        return {}
    asked = ["systemctl", "show", "--timestamp=us+utc", "-p", ",".join(UNIT_PROPERTIES), "--", *names]
    answer = subprocess.run(asked, stdout=subprocess.PIPE, check=True, text=True, timeout=60).stdout
    units = {}
    for name, block in zip(names, answer.split("\n\n"), strict=False):
        about: dict[str, Any] = dict(line.split("=", 1) for line in block.strip().splitlines() if "=" in line)
        about["started"] = seconds(about.pop("InactiveExitTimestamp", ""))
        about["asked"] = seconds(about.pop("ConditionTimestamp", ""))
        units[name] = about
    return units


def seconds(stamp: str) -> float:
    """``Sat 2026-11-21 10:01:02.123456 UTC`` -> seconds since the epoch; nothing -> 0."""
    if not stamp or stamp == "n/a":
        return 0.0
    moment = datetime.strptime(stamp, "%a %Y-%m-%d %H:%M:%S.%f UTC")
    return moment.replace(tzinfo=timezone.utc).timestamp()  # noqa: UP017


def look_at_sysctl(key: str) -> str | None:
    try:
        with open("/proc/sys/" + key.replace(".", "/"), encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None


def look_at_packages(names: list[str]) -> list[str]:
    """Those of ``names`` that are not installed."""
    if not names:
        return []
    asked = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\\n", "--", *names]
    answer = subprocess.run(
        asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False, text=True, timeout=60
    ).stdout
    there = {line.split()[0] for line in answer.splitlines() if line.endswith(" installed")}
    return [name for name in names if name not in there]


def look_at_users(names: list[str]) -> list[str]:
    """Those of ``names`` that do not exist."""
    known = {entry.pw_name for entry in pwd.getpwall()}
    return [name for name in names if name not in known]


def look_at_store(folder: str) -> dict[str, float]:
    """What lies in the store: name -> when it came."""
    try:
        return {entry.name: entry.stat(follow_symlinks=False).st_mtime for entry in os.scandir(folder)}
    except FileNotFoundError:
        return {}


def look_at_machine(state: str) -> dict[str, Any]:
    """Size and kind: bytes, cores, names."""
    folder = state
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    disk = os.statvfs(folder)
    with open("/proc/meminfo", encoding="ascii") as file:
        memory = int(file.readline().split()[1]) * 1024
    container = os.path.exists("/run/systemd/container")
    with open("/proc/swaps", encoding="ascii") as file:
        swaps = [] if container else [line.split()[0] for line in file.read().splitlines()[1:]]
    release = {}
    with open("/etc/os-release", encoding="utf-8") as file:
        for line in file:
            key, _, value = line.strip().partition("=")
            release[key] = value.strip('"')
    return {
        "memory": memory,
        "cpus": len(os.sched_getaffinity(0)),
        "disk": disk.f_blocks * disk.f_frsize,
        "disk_free": disk.f_bavail * disk.f_frsize,
        "machine": platform.machine(),
        "kernel": platform.release(),
        "system": release.get("PRETTY_NAME", ""),
        "swaps": swaps,
        "container": container,
    }


def look_at_disks(state: str) -> dict[str, Any]:
    """What there is of disks, and what lies on them; of a disk that is mounted already, that one alone is probed."""
    columns = "NAME,PATH,MAJ:MIN,TYPE,SIZE,RO,MODEL,MOUNTPOINTS"
    listed = subprocess.run(
        ["lsblk", "--json", "--bytes", "--output", columns], stdout=subprocess.PIPE, check=True, text=True, timeout=30
    )
    tree = json.loads(listed.stdout)
    number, source = mounted_at(state)
    every = [entry for top in tree.get("blockdevices", []) for entry in family(top)]
    there = [entry["path"] for entry in every if os.path.exists(entry["path"])]
    own = [entry["path"] for entry in every if entry["maj:min"] == number and entry["path"] in there]
    return {
        "lsblk": tree,
        "probed": {path: probe(path) for path in (own or there)},
        "links": {
            os.path.join(folder, name): os.path.realpath(os.path.join(folder, name))
            for folder in ("/dev/disk/by-id", "/dev/disk/by-path")
            if os.path.isdir(folder)
            for name in os.listdir(folder)
        },
        "mounted": number,
        "source": source,
        "occupied": sorted(os.listdir(state))[:3] if not number and os.path.isdir(state) else [],
    }


def family(entry: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry, *(inner for child in entry.get("children", []) for inner in family(child))]


def mounted_at(path: str) -> tuple[str, str]:
    """Number and name of what is mounted there last; empty when nothing is. See proc(5) for the fields."""
    found = ("", "")
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields = line.split()
            # Blanks are octal there, as bytes.
            point = fields[4].encode("utf-8", "surrogateescape").decode("unicode_escape").encode("latin-1")
            if os.fsdecode(point) == path:
                found = (fields[2], fields[fields.index("-") + 2])
    return found


EDGE = 1 << 20


def probe(path: str) -> dict[str, Any]:
    """Signatures as wipefs finds them, whether both ends are blank, and the kernel's holders."""
    asked = ["wipefs", "--no-act", "--json", "--output", "TYPE,UUID,LABEL", path]
    answer = subprocess.run(asked, capture_output=True, check=False, text=True, timeout=60)
    blank = False
    if answer.returncode == 0:
        with contextlib.suppress(OSError), open(path, "rb") as device:  # what cannot be read is not known to be empty
            first = device.read(EDGE)
            size = device.seek(0, os.SEEK_END)
            device.seek(max(0, size - EDGE))
            blank = not first.strip(b"\0") and not device.read(EDGE).strip(b"\0")
    signatures = json.loads(answer.stdout)["signatures"] if answer.stdout.strip() else []
    holders = f"/sys/class/block/{os.path.basename(os.path.realpath(path))}/holders"
    return {
        "signatures": signatures,
        "blank": blank,
        "holders": sorted(os.listdir(holders)) if os.path.isdir(holders) else [],
    }


def read_json(path: str) -> dict[str, Any]:
    """An object of our own; empty where there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            found: dict[str, Any] = json.load(file)
            return found
    except (FileNotFoundError, ValueError):
        return {}


def read_all(folder: str) -> dict[str, dict[str, Any]]:
    """Objects of our own by their files' names, without ``.json``."""
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return {name[:-5]: read_json(os.path.join(folder, name)) for name in names if name.endswith(".json")}


def main() -> None:
    ask = json.load(sys.stdin)
    manifest = read_json(ask["manifest"])
    old_paths = [path for path in manifest.get("paths", []) if os.path.lexists(path)]
    old_units = [name for name in manifest.get("units", []) if name not in ask["units"]]
    answer = {
        "files": {path: look_at_path(path, wanted) for path, wanted in ask["files"].items()},
        "paths": {path: look_at_path(path) for path in ask["paths"]},
        "blocks": {path: look_at_block(path, *ask["markers"]) for path in ask["blocks"]},
        "units": look_at_units(ask["units"] + old_units),
        "sysctls": {key: look_at_sysctl(key) for key in ask["sysctls"]},
        "missing_packages": look_at_packages(ask["packages"]),
        "missing_users": look_at_users(ask["users"]),
        "manifest": {"paths": old_paths, "units": old_units},
        "store": look_at_store(ask["store"]),
        "machine": look_at_machine(ask["state"]),
        "restored": read_json(ask["restored"]),
        "disks": look_at_disks(ask["state"]) if ask["disks"] else None,
        "jobs": read_all(ask["jobs"]),
    }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
