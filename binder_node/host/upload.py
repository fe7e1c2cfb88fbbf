"""Artifacts to the node: over OpenSSH (faster than pyinfra's SFTP), hashed there before they get their name."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath

from binder_node import remote
from binder_node.errors import DeadlineError, StepError
from binder_node.events import Reporter, step
from binder_node.host.wanted import Upload
from binder_node.node import Access

STAGE = "host"
# Streams at once: each has a connection and a cipher of its own.
STREAMS = 2
# What a slow line at home still does: 1 MB/s.
LEAST_BYTES_A_SECOND, LEAST_SECONDS = 10**6, 60


def as_root(access: Access, script: str) -> str:
    """``script`` as a shell command that root runs."""
    return f"sh -c {shlex.quote(script)}" if access.user == "root" else f"sudo -n sh -c {shlex.quote(script)}"


def upload_all(access: Access, uploads: Sequence[Upload], report: Reporter) -> None:
    """Every one that is missing, largest first, a few at once; each is there whole or not at all.

    Raises:
        StepError: ssh failed, the disk is full, or what arrived is not what was sent.
        DeadlineError: it went slower than a megabyte a second.
    """
    different = {upload.path: upload for upload in uploads}.values()
    ordered = sorted(different, key=lambda upload: -upload.artifact.size)
    with ThreadPoolExecutor(max_workers=STREAMS) as pool:
        waiting = [pool.submit(_upload, access, upload, report) for upload in ordered]
        try:
            for each in waiting:
                each.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def script_for(upload: Upload) -> str:
    """What takes the bytes on the node: its stdin into a part, hashed, then renamed. Exit 9: another digest."""
    path = PurePosixPath(upload.path)
    part = shlex.quote(str(path.parent / f".part-{path.name}"))
    return (
        f"umask 022 && mkdir -p {path.parent} && umask 077 && cat > {part} && "
        f'if [ "$(sha256sum < {part})" != "{upload.artifact.sha256}  -" ]; then rm -f {part}; exit 9; fi && '
        f"chmod {upload.mode:o} {part} && mv -f {part} {shlex.quote(upload.path)}"
    )


def _upload(access: Access, upload: Upload, report: Reporter) -> None:
    artifact = upload.artifact
    limit = max(LEAST_SECONDS, artifact.size / LEAST_BYTES_A_SECOND)
    what = f"upload {artifact.name} ({artifact.size / 1e6:.0f} MB)"
    argv = remote.ssh_argv(access, as_root(access, script_for(upload)))
    argv[1:1] = ["-o", "ControlMaster=no", "-o", "ControlPath=none"]
    with step(report, STAGE, what), artifact.path.open("rb") as data:
        try:
            done = subprocess.run(argv, stdin=data, capture_output=True, timeout=limit, check=False)
        except subprocess.TimeoutExpired as error:
            raise DeadlineError(
                access.name, f"the {what}", limit, "it was still under way", "run the same command again"
            ) from error
        if done.returncode == remote.SSH_FAILED:
            raise remote.connection_failed(access, done.stderr.decode("utf-8", "replace"))
        if done.returncode == 9:
            raise StepError(
                access.name, what, "what arrived has another digest", "run `binder-node artifacts verify`, then again"
            )
        if done.returncode != 0:
            raise StepError(access.name, what, done.stderr.decode("utf-8", "replace"), "is the machine's disk full?")
