"""The world's host: a network namespace on the node's bridge, and the two servers in it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from binder_node.errors import DeadlineError, StepError

GIT_PORT, REGISTRY_PORT = 80, 5080
HOST_PART = 10  # of the bridge's network: the world's address
START_SECONDS = 15
STOP_SECONDS = 5
RUN = Path("/run/binder-node-testbed/world")
REPOSITORY = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class World:
    """One world: its name (the node's), the bridge it hangs on, its address with prefix length."""

    name: str
    bridge: str
    address: str
    prefix: int
    gateway: str

    @property
    def folder(self) -> Path:
        """Where its processes' ids, logs and repositories are while it lives."""
        return RUN / self.name

    @property
    def namespace(self) -> str:
        return f"world-{self.name}"

    @property
    def link(self) -> str:
        """The bridge's end of the cable: at most 15 characters, unlike for unlike names."""
        import hashlib

        return "wld" + hashlib.sha256(self.name.encode()).hexdigest()[:8]

    @property
    def git(self) -> Path:
        return self.folder / "git"

    def up(self, registry: Path, storage: Path, repositories: Path) -> None:
        """Bring the host up and wait until both servers answer. Does nothing where it is up already."""
        if self._alive("git") and self._alive("registry"):
            return
        self.down()
        if not Path("/sys/class/net", self.bridge).exists():
            raise StepError(self.name, "world", f"no bridge {self.bridge}", "bring the node up first")
        self.folder.mkdir(parents=True)
        try:
            self._network()
            shutil.copytree(repositories, self.git)
            (self.folder / "registry.json").write_text(json.dumps(registry_config(storage)))
            self._start("registry", [str(registry), "serve", str(self.folder / "registry.json")])
            server = [sys.executable, "-m", "tests.testbed.world.gitserver", "0.0.0.0", str(GIT_PORT), str(self.git)]
            self._start("git", server)
            with in_namespace(self.namespace):
                for what, port in (("git server", GIT_PORT), ("registry", REGISTRY_PORT)):
                    self._answers(what, port)
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        """End the servers, remove the cable, the namespace and the folder."""
        for what in ("git", "registry"):
            self._stop(what)
        if Path("/sys/class/net", self.link).exists():
            ip("link", "delete", self.link)
        if Path("/run/netns", self.namespace).exists():
            ip("netns", "delete", self.namespace)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _network(self) -> None:
        space, link = self.namespace, self.link
        ip("netns", "add", space)
        ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", space)
        ip("link", "set", link, "master", self.bridge, "up")
        ip("-netns", space, "address", "add", f"{self.address}/{self.prefix}", "dev", "eth0")
        for device in ("lo", "eth0"):
            ip("-netns", space, "link", "set", device, "up")
        ip("-netns", space, "route", "add", "default", "via", self.gateway)

    def _start(self, what: str, command: list[str]) -> None:
        """Start a server that outlives this process; its id and birth are written down."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("BINDER_NODE")}
        log = self.folder / f"{what}.log"
        files = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        pid = os.posix_spawnp(
            "nsenter",
            # Not `ip netns exec`: its copy of the mounts would hold the disks of other machines.
            ["nsenter", f"--net=/run/netns/{self.namespace}", *command],
            {**environment, "PYTHONPATH": str(REPOSITORY)},
            file_actions=files,
            setsid=True,
        )
        (self.folder / f"{what}.pid").write_text(f"{pid} {_born(pid)}")

    def _alive(self, what: str) -> int:
        """The server's process id; 0 where it does not run. A pid that was given to another process is not it."""
        with contextlib.suppress(OSError, ValueError):
            pid, born = (self.folder / f"{what}.pid").read_text().split()
            if _born(int(pid)) == born:
                return int(pid)
        return 0

    def _stop(self, what: str) -> None:
        pid = self._alive(what)
        if not pid:
            return
        until = time.monotonic() + STOP_SECONDS
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
            while self._alive(what) and time.monotonic() < until:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
                time.sleep(0.05)
            if self._alive(what):
                os.kill(pid, signal.SIGKILL)

    def _answers(self, what: str, port: int) -> None:
        until, last = time.monotonic() + START_SECONDS, ""
        while time.monotonic() < until:
            try:
                with socket.create_connection((self.address, port), timeout=1):
                    return
            except OSError as error:
                last = str(error)
            time.sleep(0.05)
        raise DeadlineError(self.name, f"the world's {what} at {self.address}:{port}", START_SECONDS, last)


def registry_config(storage: Path) -> Mapping[str, object]:
    """Distribution's configuration: a read-only mirror over ``storage``."""
    return {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": False}},
        "storage": {
            "filesystem": {"rootdirectory": str(storage)},
            "maintenance": {"readonly": {"enabled": True}},
        },
        "http": {"addr": f":{REGISTRY_PORT}"},
    }


def ip(*words: str) -> None:
    """One ``ip`` command; StepError with what it said."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise StepError("here", f"ip {' '.join(words)}", done.stderr, "the testbed needs root")


@contextlib.contextmanager
def in_namespace(name: str) -> Iterator[None]:
    """Have this thread's new sockets in the network namespace ``name``."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def enter(path: str) -> None:
        with open(path) as there:
            if libc.setns(there.fileno(), 0x40000000):  # CLONE_NEWNET
                raise OSError(ctypes.get_errno(), f"setns {path}")

    with open("/proc/thread-self/ns/net") as before:
        enter(f"/run/netns/{name}")
        try:
            yield
        finally:
            enter(f"/proc/self/fd/{before.fileno()}")


def _born(pid: int) -> str:
    """A process's start time in clock ticks since boot (field 22 of ``stat``): with its id, it is that process."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    fields = stat.rpartition(")")[2].split()
    if fields[0] == "Z":
        raise ProcessLookupError(pid)
    return fields[19]
