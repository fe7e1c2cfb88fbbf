"""Servers that are systemd-nspawn hosts: the product's local machines, with a server's own address and user-data."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from binder_node.errors import StepError
from binder_node.events import silent
from binder_node.providers.local import machine
from binder_node.providers.local.plan import Folders, local, network_bridge
from binder_node.providers.local.roots import ensure_root
from binder_node.providers.local.stage import cache_folder
from binder_node.spec.load import load
from binder_node.spec.model import Spec
from tests.testbed.hetzner import volumes
from tests.testbed.hetzner.machines import Wanted

GB = 10**9
SUITES = {"debian-12": "bookworm", "ubuntu-24.04": "noble"}
LIVE_SECONDS = 0.3  # an init that cannot run has ended by then
SHUTDOWN_SECONDS = 20
HALT = signal.SIGRTMIN + 3  # what systemd takes for "halt" (systemd(1))

# The local provider binds its state folder there: not where a node's state is to be, which is a plain folder here.
ELSEWHERE = "/var/lib/testbed"

INVENTORY = """\
name: {name}
provider: {{kind: local, suite: {suite}, network: {network}, address: {address}}}
machine: {{cpus: 2, memory: 12G, disk: {disk}G, state: {state}}}
names: {{binder: {name}.test}}
tls: {{mode: none}}
storage: {{kind: node}}
"""


def hetzner_links(volume: int) -> Sequence[str]:
    """A volume's names below ``/dev/disk/by-id``."""
    return [f"scsi-0HC_Volume_{volume}"]


class Whole(Folders):
    """A machine whose root is a plain folder of its disk, as a server's is: overlays of containers work on it."""

    @property
    def root(self) -> Path:
        return self.disk / "root"


@dataclass
class NspawnMachines:
    """Machines in ``network``, whose files lie below ``folder``: both are this object's alone, and empty after it.

    ``links``: what a volume is called in ``/dev/disk/by-id``.

    Raises (every method):
        StepError, DeadlineError: a machine could not be made, started or removed.
    """

    network: IPv4Network
    folder: Path
    links: Callable[[int], Sequence[str]] = hetzner_links
    _plugged: dict[int, set[int]] = field(default_factory=dict)  # server -> volumes
    _locks: dict[int, threading.Lock] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """What an earlier run left behind, killed, goes first."""
        self.close()
        self.folder.mkdir(mode=0o700, parents=True)
        machine.ensure_bridge(self._any_spec(0))

    # The protocol.

    def start(self, wanted: Wanted) -> None:
        with self._of(wanted.id):
            spec, folders = self._spec(wanted), self._folders(wanted.id)
            if machine.supervisor(folders) is not None:
                return
            seed = None if self._seeded(folders).exists() else seed_of(wanted, self.folder)
            lower = ensure_root(cache_folder(), local(spec).suite, silent)
            folders.base.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._lock:
                machine.ensure_bridge(spec)
            machine.make_disk(spec, folders)
            copy_root(spec, folders, lower)
            machine.fill_root(spec, folders, seed)
            self._seeded(folders).touch()
            self._plugged[wanted.id] = {number for number, _ in wanted.volumes}
            for number, size in wanted.volumes:
                self._make_volume(number, size, None)
            self._plug(wanted.id, folders)
            machine.start(spec, folders)
            time.sleep(LIVE_SECONDS)
            machine.check_alive(spec, folders)

    def stop(self, server: int, *, wait_for_it: bool = False) -> None:
        with self._of(server):
            self._stop(server, wait_for_it)

    def remove(self, server: int) -> None:
        with self._of(server):
            self._remove(server)

    def create(self, volume: int, size: int, format_: str | None) -> None:
        self._make_volume(volume, size, format_)

    def attach(self, server: int, volume: int, size: int, format_: str | None) -> None:
        with self._of(server):
            self._make_volume(volume, size, format_)
            self._plugged.setdefault(server, set()).add(volume)
            folders = self._folders(server)
            if folders.root.is_dir():
                self._plug(server, folders)

    def detach(self, server: int, volume: int) -> None:
        with self._of(server):
            self._plugged.get(server, set()).discard(volume)
            folders, image = self._folders(server), self._image(volume)
            loop = volumes.loop_of(image)
            if pid := machine.supervisor(folders):
                volumes.unplug(pid, loop)
            if folders.root.is_dir():
                self._plug(server, folders)
            volumes.release(image)

    def resize(self, volume: int, size: int) -> None:
        if self._image(volume).exists():
            volumes.grow(self._image(volume), size * GB)

    def drop(self, volume: int) -> None:
        volumes.release(self._image(volume))
        self._image(volume).unlink(missing_ok=True)

    def close(self, volumes_: Sequence[int] = ()) -> None:
        del volumes_
        for path in sorted(self.folder.glob("server-*")):
            self._remove(int(path.name.removeprefix("server-")))
        for image in self.folder.glob("volume-*.img"):
            volumes.release(image)
        if self.folder.exists():
            machine.drop_bridge(self._any_spec(0))
            shutil.rmtree(self.folder)

    # What it is made of.

    @property
    def bridge(self) -> str:
        return network_bridge(self.network)

    def console(self, server: int) -> str:
        """What the machine's init has said so far."""
        path = self._folders(server).console
        return path.read_text(errors="replace") if path.exists() else ""

    @contextlib.contextmanager
    def _of(self, server: int) -> Iterator[None]:
        """One thing at a time with one machine."""
        with self._lock:
            lock = self._locks.setdefault(server, threading.Lock())
        with lock:
            yield

    def _spec(self, wanted: Wanted) -> Spec:
        """The local Spec that a server amounts to. Raises StepError where its image cannot be booted here."""
        if wanted.image not in SUITES:
            raise StepError(
                wanted.name, "boot the server", f"only {', '.join(SUITES)} can be booted, not {wanted.image}"
            )
        if not wanted.address:
            raise StepError(wanted.name, "boot the server", "it has no IPv4 address")
        # Unlike on one computer: an interface's name has 15 characters, `vb-` and this.
        name = f"h{hashlib.sha256(str(self.folder).encode()).hexdigest()[:5]}{wanted.id % 100_000}"
        text = INVENTORY.format(
            name=name,
            suite=SUITES[wanted.image],
            network=self.network,
            address=wanted.address,
            disk=wanted.disk,
            state=ELSEWHERE,
        )
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.folder / f"{name}.yaml"
        path.write_text(text)
        return load(path)

    def _folders(self, server: int) -> Folders:
        return Whole(self.folder / f"server-{server}")

    def _seeded(self, folders: Folders) -> Path:
        """There when the machine has had its user-data: cloud-init takes it at the first boot only."""
        return folders.base / "seeded"

    def _image(self, volume: int) -> Path:
        return self.folder / f"volume-{volume}.img"

    def _any_spec(self, server: int) -> Spec:
        """For names and folders: address and sizes play no part."""
        return self._spec(Wanted(server, str(server), str(self.network[2]), 40, "debian-12", ""))

    def _stop(self, server: int, wait_for_it: bool) -> None:
        folders, spec = self._folders(server), self._any_spec(server)
        if wait_for_it and (pid := machine.supervisor(folders)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(volumes.leader(pid), HALT)
            until = time.monotonic() + SHUTDOWN_SECONDS
            while machine.supervisor(folders) is not None and time.monotonic() < until:
                time.sleep(0.05)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        machine.stop(spec, folders)

    def _remove(self, server: int) -> None:
        folders, spec = self._folders(server), self._any_spec(server)
        if folders.base.exists():
            machine.stop(spec, folders)
            for number in self._plugged.pop(server, set()):
                volumes.release(self._image(number))
            with self._lock:
                machine.remove(spec, folders)
                machine.ensure_bridge(spec)  # others may be about to be plugged in

    def _make_volume(self, volume: int, size: int, format_: str | None) -> None:
        image = self._image(volume)
        if not image.exists():
            volumes.make(image, size * GB, format_)

    def _plug(self, server: int, folders: Folders) -> None:
        """Have the machine see its volumes: now, when it runs, and at every boot."""
        found = {volumes.ensure_loop(self._image(row)): self.links(row) for row in self._plugged.get(server, set())}
        volumes.write_generator(folders.root, found)
        if pid := machine.supervisor(folders):
            volumes.run_generator(pid)


def copy_root(spec: Spec, folders: Folders, lower: Path) -> None:
    """The machine's root, from the cached one; whole or not at all."""
    folders.state.mkdir(exist_ok=True)
    if not folders.root.is_dir():
        scratch = folders.disk / "root.part"
        shutil.rmtree(scratch, ignore_errors=True)
        machine.call(spec.name, "copy the root", "cp", "--archive", str(lower), str(scratch))
        scratch.rename(folders.root)


def seed_of(wanted: Wanted, folder: Path) -> dict[str, Any]:
    """What cloud-init would go by: the user-data, the keys that the API was given, and a host key where none is said.

    Raises StepError where the user-data is not cloud-init's.
    """
    from ruamel.yaml import YAML

    seed: dict[str, Any] = {}
    if wanted.user_data:
        if not wanted.user_data.startswith("#cloud-config\n"):
            raise StepError(wanted.name, "read the user-data", "only #cloud-config is understood")
        seed = YAML(typ="safe").load(wanted.user_data) or {}
    users = [dict(row) for row in seed.get("users", [])]
    root = next((row for row in users if row["name"] == "root"), None)
    if root is None:
        root = {"name": "root", "ssh_authorized_keys": []}
        users.append(root)
    root["ssh_authorized_keys"] = [*root.get("ssh_authorized_keys", []), *wanted.ssh_keys]
    for row in users:
        row.setdefault("shell", "/bin/bash")
        row.setdefault("ssh_authorized_keys", [])
    return {"hostname": wanted.name, **seed, "users": users, "ssh_keys": seed.get("ssh_keys") or host_key(folder)}


def host_key(folder: Path) -> dict[str, str]:
    """A fresh host key, as sshd's package makes one at the first boot."""
    path = folder / f"host-key-{time.monotonic_ns()}"
    subprocess.run(["ssh-keygen", "-qt", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True)
    public = path.with_suffix(".pub")
    found = {"ed25519_private": path.read_text(), "ed25519_public": public.read_text()}
    path.unlink()
    public.unlink()
    return found
