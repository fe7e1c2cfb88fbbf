"""Files of the operator's computer that several runs share: written as a whole, by one of them at a time."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from binder_node.errors import DeadlineError, InputError, Problem

# Another process is inside for milliseconds only.
LOCK_SECONDS = 30.0


def replace(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Put ``content`` at ``path`` as a whole: who reads it meanwhile gets the old file or the new one.

    The bytes are on the disk before the name is theirs; a write that fails leaves nothing of itself. Raises OSError.
    """
    handle, scratch = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
            os.fchmod(out.fileno(), mode)
            out.flush()
            os.fsync(out.fileno())
        os.replace(scratch, path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only process that changes files in ``folder``: the lock is on the folder itself, so that no file is left.

    Raises OSError, and DeadlineError where another process does not leave.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    deadline = time.monotonic() + LOCK_SECONDS
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    what = f"another process to leave {folder}"
                    raise DeadlineError("here", what, LOCK_SECONDS, "it is locked") from None
                time.sleep(0.02)
        yield
    finally:
        os.close(handle)


def text(path: Path, right: str) -> str:
    """A file's text with its own ends of lines. Raises InputError, with ``right`` where there is no such file."""
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise InputError(Problem(str(path), 0, "", f"cannot be read: {error.strerror}", right)) from None
    except UnicodeDecodeError as error:
        raise InputError(Problem(str(path), 0, "", f"byte {error.start} is not UTF-8", "save it as UTF-8")) from None
