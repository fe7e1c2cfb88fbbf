"""Artifacts to the node: over OpenSSH (faster than pyinfra's SFTP), hashed there before they get their name."""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO

from binder_node import remote
from binder_node.artifacts.model import Artifact
from binder_node.errors import DeadlineError, StepError
from binder_node.events import Reporter, step
from binder_node.host.observe import script
from binder_node.host.wanted import Upload
from binder_node.node import Access

STAGE = "host"
# Connections at once: the shared one, and another with a cipher (a core) of its own.
STREAMS = 2
# What a slow line at home still does.
LEAST_BYTES_A_SECOND, LEAST_SECONDS = 250_000, 60
OTHER_DIGEST = 9  # exit status of on_node/take.py
CHUNK = 1 << 20
MADE_ANEW = "run the same command again: it makes the artifact anew"


def as_root(access: Access, text: str) -> str:
    """``text`` as a shell command that root runs."""
    return f"sh -c {shlex.quote(text)}" if access.user == "root" else f"sudo -n sh -c {shlex.quote(text)}"


def upload_all(access: Access, uploads: Iterable[Upload], report: Reporter) -> None:
    """Each one whole or not at all, over two connections; what arrived stays when a later one fails.

    Raises:
        StepError: ssh failed, the disk is full, or what arrived is not what was sent.
        DeadlineError: it went slower than 250 kB/s.
    """
    shares = shared_out({upload.path: upload for upload in uploads}.values(), STREAMS)
    if not shares:
        return
    with ThreadPoolExecutor(max_workers=len(shares)) as pool:
        waiting = [pool.submit(_stream, access, share, report, own=number > 0) for number, share in enumerate(shares)]
        for each in waiting:
            each.result()


def shared_out(uploads: Iterable[Upload], streams: int) -> list[list[Upload]]:
    """``uploads`` in at most ``streams`` lists of about the same number of bytes, the largest file first."""
    shares: list[list[Upload]] = [[] for _ in range(streams)]
    for upload in sorted(uploads, key=lambda upload: (-upload.artifact.size, upload.path)):
        min(shares, key=lambda share: sum(each.artifact.size for each in share)).append(upload)
    return [share for share in shares if share]


def _stream(access: Access, uploads: Sequence[Upload], report: Reporter, *, own: bool) -> None:
    argv = remote.ssh_argv(access, as_root(access, f"exec python3 -c {shlex.quote(script('take'))}"))
    if own:
        argv[1:1] = ["-o", "ControlMaster=no", "-o", "ControlPath=none"]
    with tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr)
        try:
            for upload in uploads:
                artifact = upload.artifact
                what = f"upload {artifact.name} ({artifact.size / 1e6:.0f} MB)"
                limit = max(LEAST_SECONDS, artifact.size / LEAST_BYTES_A_SECOND)
                real = artifact.path.stat().st_size if artifact.path.exists() else 0
                if real != artifact.size:
                    artifact.drop_if_damaged()
                    reason = f"it has {real} bytes, not {artifact.size}"
                    raise StepError(access.name, what, f"damaged in the cache and dropped: {reason}", MADE_ANEW)
                with step(report, STAGE, what):
                    if not _send(process, upload, limit, access, what):
                        raise _why(access, process, stderr, what, artifact)
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(BrokenPipeError):
                    assert pipe is not None
                    pipe.close()


def _send(process: subprocess.Popen[bytes], upload: Upload, limit: float, access: Access, what: str) -> bool:
    """One file; False when the other end did not take it. Raises DeadlineError."""
    assert process.stdin is not None
    assert process.stdout is not None
    artifact = upload.artifact
    about = {"path": upload.path, "size": artifact.size, "sha256": artifact.sha256, "mode": upload.mode}
    late = threading.Event()

    def give_up() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(limit, give_up)
    timer.start()
    answer = b""
    try:
        with contextlib.suppress(BrokenPipeError), artifact.path.open("rb") as data:
            process.stdin.write(json.dumps(about).encode() + b"\n")
            shutil.copyfileobj(data, process.stdin, CHUNK)
            process.stdin.flush()
            answer = process.stdout.readline()
    finally:
        timer.cancel()
    if late.is_set():
        raise DeadlineError(access.name, f"the {what}", limit, "it was still under way", "run the same command again")
    return answer.decode().strip() == upload.path


def _why(
    access: Access, process: subprocess.Popen[bytes], stderr: IO[bytes], what: str, artifact: Artifact
) -> StepError:
    try:
        code = process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    stderr.seek(0)
    said = stderr.read().decode("utf-8", "replace").strip()
    if code == remote.SSH_FAILED:
        return remote.connection_failed(access, said)
    if code == OTHER_DIGEST:
        if artifact.drop_if_damaged():
            reason = f"{artifact.name} was damaged in the cache and is dropped: it has another digest"
            return StepError(access.name, what, reason, MADE_ANEW)
        reason = f"{artifact.name} was damaged on its way: it arrived with another digest"
        return StepError(access.name, what, reason, "run the same command again")
    last = (said.splitlines() or [f"exit status {code}"])[-1]
    return StepError(access.name, what, last, "what arrived stays: run the same command again")
