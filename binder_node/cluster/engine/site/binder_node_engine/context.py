"""The build context: what repo2docker hands over as a tar file, and a ``.git`` that is the same after each clone."""

from __future__ import annotations

import hashlib
import shutil
import struct
import tarfile
from pathlib import Path
from typing import IO

_HASH = 20  # bytes of SHA-1; an index of a SHA-256 repository is left as it is
# https://git-scm.com/docs/index-format: an entry is ctime, mtime (8 bytes each), dev, ino, mode, uid, gid, size
# (4 each), the object's name, flags (2), with the "extended" bit two more, then the path.
_HEADER, _STAT, _FLAGS = 12, 40, 2
_MODE = slice(24, 28)
_EXTENDED = 0x4000


def extract(archive: IO[bytes], folder: Path) -> None:
    """Unpack repo2docker's own tar file of a checkout, modes and owners kept as Docker would."""
    with tarfile.open(fileobj=archive) as tar:
        if hasattr(tarfile, "fully_trusted_filter"):  # Python 3.10 and 3.11 have it from a late patch release on
            tar.extractall(folder, filter="fully_trusted")
        else:
            tar.extractall(folder)


def steady_git(checkout: Path) -> None:
    """Take out of ``.git`` what differs between two clones of the same commit: the time of the clone.

    ``COPY .`` and repo2docker's own ``COPY src/`` take ``.git`` with them (setuptools_scm needs it, and so do people
    who type ``git pull``), so that a second build of the same commit would never find its last steps in the cache.
    Git fills the emptied fields again as it goes. Packs are left: most servers send the same ones again.
    """
    git = checkout / ".git"
    if git.is_symlink() or not git.is_dir():
        return
    for folder in [git, *(index.parent for index in (git / "modules").rglob("index"))]:
        for name in ("FETCH_HEAD", "ORIG_HEAD"):
            (folder / name).unlink(missing_ok=True)
        shutil.rmtree(folder / "logs", ignore_errors=True)
        index = folder / "index"
        if index.is_file() and not index.is_symlink():
            index.write_bytes(steady_index(index.read_bytes()))


def steady_index(index: bytes) -> bytes:
    """The same index with every file's times, inode, owner and size zeroed, as ``git read-tree`` writes it.

    Anything but a SHA-1 index of version 2 to 4 comes back unchanged.
    """
    body, end = bytearray(index[:-_HASH]), index[-_HASH:]
    if len(index) < _HEADER + _HASH or body[:4] != b"DIRC" or end != hashlib.sha1(body).digest():
        return index
    version, entries = struct.unpack(">II", body[4:_HEADER])
    if version not in (2, 3, 4):
        return index
    at = _HEADER
    for _ in range(entries):
        mode = bytes(body[at : at + _STAT][_MODE])
        body[at : at + _STAT] = bytes(24) + mode + bytes(12)
        flags_at = at + _STAT + _HASH
        (flags,) = struct.unpack(">H", body[flags_at : flags_at + _FLAGS])
        path_at = flags_at + _FLAGS + (2 if flags & _EXTENDED else 0)
        end_of_path = body.index(0, path_at)
        # Version 4 writes paths without padding (and with a prefix count in front, whose last byte may be zero).
        at = _after_version_4(body, path_at) if version == 4 else at + (end_of_path - at + 8) // 8 * 8
    return bytes(body) + hashlib.sha1(body).digest()


def _after_version_4(body: bytearray, at: int) -> int:
    while body[at] & 0x80:  # a variable-width number: how much of the last path to drop
        at += 1
    return body.index(0, at + 1) + 1
