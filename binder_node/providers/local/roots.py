"""The cached root of a suite: made once by mmdebstrap, shared by every machine as the lower side of its overlay."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from binder_node.errors import DeadlineError, StepError
from binder_node.events import Event, Reporter
from binder_node.providers.local.plan import mmdebstrap_argv, root_key

# Measured at 52 s; a slow mirror is given its time.
MAKE_SECONDS = 900
LOCK_SECONDS = 1200
REMEDIES = {
    "bookworm": "is Debian's mirror reachable, and the package debian-archive-keyring installed?",
    "noble": "is Ubuntu's mirror reachable, and the package ubuntu-keyring installed? Else take bookworm",
}


def root_of(cache: Path, suite: str) -> Path:
    """Where the suite's root is, or will be."""
    return cache / "local" / "roots" / root_key(suite)


def ensure_root(cache: Path, suite: str, report: Reporter) -> Path:
    """The suite's root, made when it is missing; several processes may ask at once.

    Raises:
        StepError: mmdebstrap is missing or failed.
        DeadlineError: it, or another process that makes the same root, took too long.
    """
    from filelock import FileLock, Timeout

    root = root_of(cache, suite)
    if root.is_dir():
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(root.parent / f"{root.name}.lock", timeout=LOCK_SECONDS):
            if not root.is_dir():
                for left in root.parent.glob(f".{root.name}-*"):  # of a maker that was killed
                    shutil.rmtree(left)
                _make(root, suite, report)
    except Timeout as error:
        raise DeadlineError("here", f"another process that makes {root}", LOCK_SECONDS) from error
    return root


def _make(root: Path, suite: str, report: Reporter) -> None:
    if shutil.which("mmdebstrap") is None:
        raise StepError(
            "here", "make the machine's root", "mmdebstrap is not installed", "run `bootstrap/prepare packages`"
        )
    report(Event("progress", "machine", f"make the root of {suite} (once; about a minute)"))
    scratch = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        target = scratch / "root"
        try:
            done = subprocess.run(
                mmdebstrap_argv(suite, target), capture_output=True, text=True, timeout=MAKE_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise DeadlineError("here", f"mmdebstrap of {suite}", MAKE_SECONDS) from error
        if done.returncode != 0:
            raise StepError("here", f"mmdebstrap of {suite}", done.stderr[-2000:], REMEDIES[suite])
        for key in target.glob("etc/ssh/ssh_host_*"):
            key.unlink()
        target.rename(root)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
