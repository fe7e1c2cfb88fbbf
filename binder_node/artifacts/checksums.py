"""Vendors' checksum lists (``sha256sum`` output, or a digest alone), and ours: ``pins.lock``."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from binder_node.errors import InputError, Problem

_LINE = re.compile(r"^\\?([0-9a-fA-F]{64})(?:[ \t]+\*?(?:\./)?(\S.*?))?\s*$")
_HEAD = """\
# Written by binder-node: what the vendors' checksum lists said when a file without a digest in the pins was first
# fetched. From then on this digest counts; delete a line to ask the vendor again.

[digests]
"""


def find_digest(text: str, file: str) -> str | None:
    """The digest of ``file`` in a checksum list, lower case; None if the list does not have it.

    A list that is nothing but one digest is about whatever it was published beside.

    >>> find_digest("0" * 64 + "  helm.tar.gz", "helm.tar.gz") == "0" * 64
    True
    """
    found = [match for line in text.splitlines() if (match := _LINE.match(line.strip()))]
    for match in found:
        if match[2] is not None and match[2].rpartition("/")[2] == file:
            return match[1].lower()
    if len(found) == 1 and found[0][2] is None:
        return found[0][1].lower()
    return None


def read_lock(path: Path) -> dict[str, str]:
    """URL -> digest, as ``pins.lock`` has them; empty when there is no such file."""
    try:
        digests = tomllib.loads(path.read_text(encoding="utf-8")).get("digests", {})
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(Problem(str(path), 0, "", f"cannot be read: {error}", "mend or delete it")) from error
    wrong = [url for url, digest in digests.items() if not (isinstance(digest, str) and _LINE.match(digest))]
    if wrong:
        raise InputError(*(Problem(str(path), 0, url, "is not a SHA-256 digest", "delete the line") for url in wrong))
    return dict(digests)


def render_lock(digests: dict[str, str]) -> str:
    """The text of ``pins.lock``, in the order of the URLs. JSON's strings are TOML's basic strings."""
    return _HEAD + "".join(f"{json.dumps(url)} = {json.dumps(digests[url])}\n" for url in sorted(digests))
