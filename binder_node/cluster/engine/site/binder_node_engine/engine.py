"""The engine that repo2docker calls."""

from __future__ import annotations

import errno
import json
import os
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from repo2docker.engine import BuildError, ContainerEngine
from repo2docker.utils import R2dState
from traitlets import Bool, Float, Int, Unicode, default

from . import command, context, room, trace
from .credentials import docker_config
from .daemon import Daemon
from .unpack import PUSHING, Unpacking

# Exit codes of a shell's step: 128 and the signal. Killed is the memory limit's way, and that of the node's guard over
# what a step writes; the other is the limit of a single file.
_KILLED, _FILE_SIZE = 128 + signal.SIGKILL, 128 + signal.SIGXFSZ
_RESTARTS = 3  # a build that takes the builder down with it is not tried forever
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class _Failed(Exception):
    """One run of buildctl failed: ``verdict`` is what the trace says, ``last`` the last line that buildctl wrote,
    ``too_large`` whether a step spoke of a file being too large, ``stopped`` why the engine itself ended it."""

    def __init__(self, verdict: trace.Verdict, last: str, *, too_large: bool = False, stopped: str = "") -> None:
        super().__init__(stopped or verdict.error or last)
        self.verdict, self.last, self.too_large, self.stopped = verdict, last, too_large, stopped


class BuildctlEngine(ContainerEngine):  # type: ignore[misc]  # repo2docker has no types
    """Builds with a standalone BuildKit. Everything has a default that works with ``buildctl`` in the PATH."""

    string_output = True

    buildctl = Unicode(help="Path of buildctl. Default: next to this package's folder, else from the PATH.").tag(
        config=True
    )
    folder = Unicode(help="Any folder on the filesystem that holds the images: its free space is watched.").tag(
        config=True
    )
    pod_facts = Unicode(help="A downward API volume with the pod's limits, a file each.").tag(config=True)
    unpack = Bool(True, help="Unpack into containerd's image store; for BuildKit's containerd worker only.").tag(
        config=True
    )
    compression = Unicode("zstd", help="Of layers: zstd, gzip, estargz, uncompressed.").tag(config=True)
    compression_level = Int(1, help="Of the compression; 0 is BuildKit's default.").tag(config=True)
    registry_insecure = Bool(False, help="Push over plain http.").tag(config=True)
    memory_limit = Int(0, help="Bytes a build step may use; the pod's own limit holds too. 0: that only.").tag(
        config=True
    )
    disk_limit = Int(0, help="Bytes that one file of a build may have. 0: no limit.").tag(config=True)
    wait_below_percent = Float(0, help="A build waits while less of the disk is free.").tag(config=True)
    stop_below_percent = Float(0, help="A running build is stopped when less of the disk is free.").tag(config=True)
    wait_seconds = Int(900, help="How long to wait for room on the disk.").tag(config=True)
    push_seconds = Int(180, help="How long to try again when only the push fails.").tag(config=True)
    unpack_seconds = Int(600, help="How long unpacking beside the push may take.").tag(config=True)
    daemon_seconds = Int(300, help="How long to wait for a buildkitd that is away.").tag(config=True)
    linger_seconds = Float(3, help="After a failure: BinderHub deletes a failed pod before its log is read.").tag(
        config=True
    )

    @default("buildctl")  # type: ignore[untyped-decorator]
    def _default_buildctl(self) -> str:
        beside = self._home() / "bin" / "buildctl"
        return str(beside) if beside.exists() else shutil.which("buildctl") or "buildctl"

    @default("folder")  # type: ignore[untyped-decorator]
    def _default_folder(self) -> str:
        return str(self._home())

    @default("pod_facts")  # type: ignore[untyped-decorator]
    def _default_pod_facts(self) -> str:
        return os.environ.get("BINDER_NODE_POD", "")

    def _home(self) -> Path:
        # <home>/site/binder_node_engine/engine.py
        return Path(os.environ.get("BINDER_NODE_ENGINE") or Path(__file__).parents[2])

    def inspect_image(self, image: str) -> None:
        """Always None: whether an image exists is the registry's to say, and BinderHub has asked it already."""
        del image

    def build(
        self,
        *,
        push: bool = False,
        load: bool = False,
        buildargs: Mapping[str, str] | None = None,
        cache_from: list[str] | None = None,
        container_limits: Mapping[str, Any] | None = None,
        tag: str = "",
        custom_context: bool = False,
        dockerfile: str = "",
        fileobj: IO[bytes] | None = None,
        path: str = "",
        labels: Mapping[str, str] | None = None,
        platform: str | None = None,
        **kwargs: Any,
    ) -> Iterator[str]:
        """Yield the build's log line by line; raise :class:`BuildError` after logging why.

        ``load`` needs nothing: with the containerd worker every image is in the node's store.
        """
        del load, custom_context, kwargs
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="buildctl-")))
            if fileobj is not None:
                where = folder / "context"
                context.extract(fileobj, where)
                context.steady_git(where / "src")
            else:
                where = Path(path or ".").resolve()
                if not os.path.isdir(getattr(self.parent, "repo", "") or ""):  # never touch a person's own checkout
                    context.steady_git(where)
            request = command.Request(
                tag=tag,
                context=where,
                dockerfile=dockerfile or "Dockerfile",
                output=command.Output(
                    push, self.unpack, self.compression, self.compression_level, self.registry_insecure
                ),
                limits=self._limits(container_limits or {}),
                platform=platform or "",
                build_args=buildargs or {},
                labels=labels or {},
                cache_from=tuple(cache_from or ()),
                built_in_frontend=not command.wants_other_frontend(_head(where, dockerfile or "Dockerfile")),
            )
            environment = stack.enter_context(docker_config(self.registry_credentials))
            yield from self._wait_for_room()
            yield from self._until_built(request, folder, environment)

    def _limits(self, asked: Mapping[str, Any]) -> command.Limits:
        pod = room.pod_limit(Path(self.pod_facts), "memory") if self.pod_facts else 0
        memory = room.smallest(self.memory_limit, pod, int(asked.get("memory") or 0))
        return command.Limits(memory=memory, file=self.disk_limit)

    def _wait_for_room(self) -> Iterator[str]:
        began = said = time.monotonic()
        free = room.free_percent(Path(self.folder))
        while free < self.wait_below_percent:
            now = time.monotonic()
            if now - began > self.wait_seconds:
                self._fail(
                    f"The node's disk is full: {free:.0f} % is free, a build needs {self.wait_below_percent:.0f} %. "
                    "Please try again later."
                )
            if now - said >= 15 or said == began:
                said = now
                needed = f"{self.wait_below_percent:.0f} % needed"
                yield f"Waiting for room on the node's disk: {free:.0f} % free, {needed}\n"
            time.sleep(2)
            free = room.free_percent(Path(self.folder))

    def _until_built(self, request: command.Request, folder: Path, environment: dict[str, str]) -> Iterator[str]:
        daemon = Daemon(self.buildctl, environment)
        push_until: float | None = None
        delay, restarts = 1.0, 0
        while True:
            if not daemon.answers():
                yield from self._wait_for_daemon(daemon)
            before = daemon.identity()
            try:
                yield from self._run(request, folder, environment)
                return
            except _Failed as failed:
                if failed.stopped:
                    self._fail(failed.stopped)
                if restarts < _RESTARTS and (before != daemon.identity() or not daemon.answers()):
                    restarts += 1
                    # Steps that were done are in its cache.
                    yield "The builder went away in the middle of the build: starting again\n"
                    continue
                if not (failed.verdict.exporting and request.output.push):
                    self._fail(self._explained(failed, request.limits))
                now = time.monotonic()
                push_until = push_until or now + self.push_seconds
                if now + delay > push_until:
                    self._fail(f"The image was built, but the registry did not take it: {failed.verdict.error}")
                # The registry pauses writing for seconds while it collects its garbage.
                yield f"The image is built; the registry did not take it, trying again in {delay:.0f} s\n"
                time.sleep(delay)
                delay = min(delay * 2, 15)

    def _wait_for_daemon(self, daemon: Daemon) -> Iterator[str]:
        until = time.monotonic() + self.daemon_seconds
        yield "The builder does not answer: waiting for it\n"
        while not daemon.answers():
            if time.monotonic() > until:
                self._fail(f"The builder did not answer for {self.daemon_seconds} s. Please try again later.")
            time.sleep(2)

    def _run(self, request: command.Request, folder: Path, environment: dict[str, str]) -> Iterator[str]:
        how = request.output
        if not (how.push and how.unpack):
            yield from self._follow(request, folder, environment, None)
            return
        alone = replace(request, output=replace(how, push=False))
        argv = command.arguments(self.buildctl, alone, folder / "unpack.trace", folder / "unpack.metadata")
        unpacking = Unpacking(argv, environment, folder / "unpack.log")
        try:
            yield from self._follow(replace(request, output=replace(how, unpack=False)), folder, environment, unpacking)
            wrong = unpacking.end(self.unpack_seconds)
            # It is pushed, and the store has it: the kubelet unpacks what is not.
            slower = f"The image could not be unpacked ahead ({wrong}): its first start takes longer"
            yield f"{slower if wrong else 'The image is unpacked in the store of this node'}\n"
        finally:
            unpacking.stop()

    def _follow(
        self, request: command.Request, folder: Path, environment: dict[str, str], unpacking: Unpacking | None
    ) -> Iterator[str]:
        traced, metadata = folder / "trace", folder / "metadata"
        for file in (traced, metadata):
            file.unlink(missing_ok=True)
        process = subprocess.Popen(
            command.arguments(self.buildctl, request, traced, metadata),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert process.stdout is not None
        last, stopped, ended, too_large = "", "", False, False
        try:
            for line in _lines(process.stdout):
                if line is not None:
                    last = line.strip() or last
                    # Python and others ignore the signal, and say what the system says. Only the reason's words
                    # depend on this.
                    too_large = too_large or os.strerror(errno.EFBIG) in line
                    if unpacking is not None and PUSHING in line:
                        unpacking.begin()
                    yield line
                elif room.free_percent(Path(self.folder)) < self.stop_below_percent:
                    stopped = "The build was stopped: the node's disk is nearly full. Please try again later."
                    break
            else:
                ended = True
        finally:
            if not ended:
                process.kill()  # BuildKit ends the steps of a client that is gone
            process.stdout.close()
            code = process.wait(timeout=60)
        if stopped or code != 0:
            raise _Failed(trace.read(traced), last, too_large=too_large, stopped=stopped)
        self._check(metadata)

    def _check(self, metadata: Path) -> None:
        kind = json.loads(metadata.read_text(encoding="utf-8")).get("containerimage.descriptor", {}).get("mediaType")
        if kind != _MANIFEST:
            self._fail(f"The builder wrote {kind} where BinderHub needs one OCI manifest.")

    def _explained(self, failed: _Failed, limits: command.Limits) -> str:
        verdict = failed.verdict
        if not verdict.failed:  # a Dockerfile that cannot be read, most often
            return f"The build failed: {failed.last}"
        allowed = []
        if verdict.exit_code == _KILLED and limits.memory:
            allowed.append(f"the {room.readable(limits.memory)} of memory")
        if limits.file and (verdict.exit_code in (_KILLED, _FILE_SIZE) or failed.too_large):
            allowed.append(f"the {room.readable(limits.file)} of disk")
        if allowed:
            return (
                f"A build step was stopped: it needs more than {' or '.join(allowed)} that a build has here. Install "
                f"less, in smaller steps; fetch large data when the session runs. The step: {verdict.failed}"
            )
        return f"The build failed at {verdict.failed}: {verdict.error}"

    def _fail(self, message: str) -> None:
        """Log with the phase that BinderHub shows as the reason, give it time to read that, and raise."""
        self.log.error(message + "\n", extra={"phase": R2dState.FAILED})
        time.sleep(self.linger_seconds)
        raise BuildError(message)


def _head(root: Path, dockerfile: str) -> str:
    """The first lines of a Dockerfile inside ``root``; nothing of a file that is a link to elsewhere."""
    file = root / dockerfile
    if not file.resolve().is_relative_to(root.resolve()) or not file.is_file():
        return ""
    with file.open(encoding="utf-8", errors="replace") as opened:
        return opened.read(4096)


def _lines(stream: IO[bytes]) -> Iterator[str | None]:
    """Lines as they come, and None every two seconds or so."""
    descriptor = stream.fileno()
    rest = b""
    looked = time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            if time.monotonic() - looked > 2:
                looked = time.monotonic()
                yield None
            if not selector.select(timeout=2):
                continue
            chunk = os.read(descriptor, 65536)
            if not chunk:
                break
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line.decode("utf-8", "replace") + "\n"
    if rest:
        yield rest.decode("utf-8", "replace") + "\n"
