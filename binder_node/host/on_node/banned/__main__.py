"""Read the list of who is banned at a URL, judge it, and put it in force: ``python3 -m on_node.banned CONFIG``.

Networks go into a set of the firewall's table, repositories into a file that BinderHub reads. A list that cannot be
read, or is wrong in one line, leaves the last one in force, after a reboot too. Standard library only, nothing newer
than Python 3.10.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

try:
    from . import lists  # type: ignore[attr-defined]  # on the node, where it lies beside
except ImportError:
    from binder_node.spec import lists

# Bytes of a list, and seconds without a byte of it. systemd ends what dribbles on (TimeoutStartSec).
LIST_BYTES, SECONDS = 4 * 10**6, 20
NFT_SECONDS = 60
# Of the wrong lines, so many are told.
TELL = 3


class Wrong(Exception):
    """Why there is no new list."""


def fetched(url: str) -> str:
    """The list's text. Raises Wrong."""
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as answer:
            data: bytes = answer.read(LIST_BYTES + 1)
    except (OSError, http.client.HTTPException, ValueError) as error:  # urllib's own are OSErrors
        raise Wrong(f"{url} cannot be read: {error}") from None
    if len(data) > LIST_BYTES:
        raise Wrong(f"{url} is larger than {LIST_BYTES // 10**6} MB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Wrong(f"{url} is no text") from None


def judged(url: str, text: str, own: str) -> lists.Banned:
    """The list that ``text`` is. Raises Wrong."""
    found, wrong = lists.read(text, own)
    if wrong:
        said = "; ".join(f"line {one.line}: {one.wrong}" if one.line else one.wrong for one in wrong[:TELL])
        more = f" and {len(wrong) - TELL} more" if len(wrong) > TELL else ""
        raise Wrong(f"{url} is refused: {said}{more}")
    return found


def commands(name: str, found: lists.Banned) -> str:
    """For nft, in one transaction: the set ``name`` holds these networks, and no others."""
    networks = ", ".join(map(str, found.networks))
    return f"flush set {name}\n" + (f"add element {name} {{ {networks} }}\n" if networks else "")


def enforce(config: dict[str, Any], found: lists.Banned) -> None:
    """Put the networks into the firewall. Raises Wrong."""
    done = subprocess.run(
        ["/usr/sbin/nft", "-f", "-"],
        input=commands(config["set"], found),
        capture_output=True,
        text=True,
        timeout=NFT_SECONDS,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[0]
        raise Wrong(f"the firewall does not take it: {last}")


def write(path: Path, text: str) -> None:
    """Whole, by a rename: BinderHub reads it at any moment."""
    part = path.with_name(f".{path.name}")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.chmod(0o644)
    part.rename(path)


def kept(path: Path, url: str) -> lists.Banned:
    """The last good list, if it was this URL's."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["url"] != url:
            return lists.Banned()
        return lists.read("\n".join([*found["networks"], *found["repositories"]]))[0]
    except (OSError, ValueError, KeyError, TypeError):
        return lists.Banned()


def keep(config: dict[str, Any], found: lists.Banned) -> None:
    """Remember a list, and tell BinderHub its repositories."""
    networks = [str(one) for one in found.networks]
    about = {"url": config["url"], "networks": networks, "repositories": found.repositories}
    write(Path(config["last"]), json.dumps(about) + "\n")
    write(Path(config["repositories"]), "".join(f"{one}\n" for one in found.repositories))


def counted(found: lists.Banned) -> str:
    return f"{len(found.networks)} networks and {len(found.repositories)} repositories are banned"


def run(config: dict[str, Any]) -> str:
    """What became of it. Raises Wrong where the last list had to stay."""
    try:
        found = judged(config["url"], fetched(config["url"]), config["own"])
        enforce(config, found)
        keep(config, found)
    except Wrong as error:
        last = kept(Path(config["last"]), config["url"])
        # The firewall's set is empty after a reboot; nothing changes where it is not.
        try:
            enforce(config, last)
            keep(config, last)
        except Wrong as second:
            raise Wrong(f"{error}; {second}") from None
        raise Wrong(f"{error}; the last list stays: {counted(last)}") from None
    return counted(found)


def main() -> None:
    """The command line; the unit binder-node-banned.service is its only caller."""
    config = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    try:
        print(run(config), flush=True)
    except Wrong as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
