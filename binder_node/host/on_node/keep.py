"""Write what sets of the firewall's table hold as commands for nft: the table that replaces it begins with that.

``keep.py FILE SET...``; run before the table is replaced. Standard library only, nothing newer than Python 3.10. Where
there is no table (the machine has just started), there is no file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

TABLE = "inet binder_node"
# nft's own list of a full set is some megabytes.
SECONDS = 20


def elements(document: dict[str, Any]) -> list[str]:
    """The elements of the one set in nft's JSON, as they stand behind ``add element``."""
    found: dict[str, Any] = next((item["set"] for item in document["nftables"] if "set" in item), {})
    return [element(item) for item in found.get("elem", [])]


def element(item: Any) -> str:
    """One element: its key, its counter, and how long it still has (whole seconds: 0 would mean for ever)."""
    about = item["elem"] if isinstance(item, dict) and "elem" in item else {"val": item}
    words = [key(about["val"])]
    if "counter" in about:
        words.append(f"counter packets {about['counter']['packets']} bytes {about['counter']['bytes']}")
    if "expires" in about:
        words.append(f"expires {max(about['expires'], 1)}s")
    return " ".join(words)


def key(value: Any) -> str:
    """An address, a network, a range, or several things joined."""
    if isinstance(value, dict) and "concat" in value:
        return " . ".join(str(part) for part in value["concat"])
    if isinstance(value, dict) and "prefix" in value:
        return f"{value['prefix']['addr']}/{value['prefix']['len']}"
    if isinstance(value, dict):
        return "-".join(value["range"])
    return str(value)


def commands(name: str, document: dict[str, Any]) -> str:
    """What puts the set ``name`` back; empty where it was."""
    found = elements(document)
    return f"add element {TABLE} {name} {{ {', '.join(found)} }}\n" if found else ""


def main() -> None:
    file, *names = sys.argv[1:]
    if os.path.exists(file):
        os.unlink(file)  # of a replacement before
    os.makedirs(os.path.dirname(file), mode=0o700, exist_ok=True)
    text = ""
    for name in names:
        argv = ["/usr/sbin/nft", "-j", "list", "set", *TABLE.split(), name]
        done = subprocess.run(argv, capture_output=True, timeout=SECONDS, check=False)
        if done.returncode == 0:  # else: no table, or one of a version that had no such set
            text += commands(name, json.loads(done.stdout))
    part = file.rpartition("/")[0] + "/.kept"
    with open(part, "w", encoding="utf-8") as out:
        out.write(text)
    os.rename(part, file)


if __name__ == "__main__":
    main()
