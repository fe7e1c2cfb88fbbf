"""Making, starting, finding and removing one machine: the I/O of the local provider, a step a function."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from binder_node.errors import DeadlineError, StepError
from binder_node.node import Node
from binder_node.providers.local import cgroups
from binder_node.providers.local.plan import (
    MACHINE_LINKS,
    NSPAWN_ENVIRONMENT,
    Folders,
    bridge_name,
    gateway,
    local,
    machine_files,
    nspawn_argv,
    seed_files,
)
from binder_node.providers.userdata import document
from binder_node.spec.model import Spec

STOP_SECONDS = 20


def call(name: str, step: str, *argv: str, check: bool = True) -> str:
    """Run a command of this computer; its stdout.

    Raises:
        StepError: it failed (with ``check``), or is not installed.
    """
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError as error:
        raise StepError(name, step, f"{argv[0]} is not installed", "run `bootstrap/prepare packages`") from error
    except subprocess.TimeoutExpired as error:
        raise DeadlineError(name, step, 60) from error
    if check and done.returncode != 0:
        raise StepError(name, step, done.stderr or f"{argv[0]} ended with {done.returncode}")
    return done.stdout


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None when there is none. Tells a reused pid apart."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *rest = text[text.rindex(")") + 2 :].split()
    return None if state in "ZX" else int(rest[18])


def supervisor(folders: Folders) -> int | None:
    """The pid of the machine's nspawn, or None when it does not run."""
    try:
        record = json.loads(folders.record.read_text())
        pid, started = int(record["pid"]), int(record["started"])
    except (FileNotFoundError, ValueError, KeyError):
        return None
    return pid if start_time(pid) == started else None


def processes(spec: Spec) -> list[int]:
    """Every process in the machine's cgroups, its supervisor included; also of a start that was cut short."""
    found: set[int] = set()
    for group in cgroups.groups(spec.name):
        for folder, _, files in os.walk(group):
            if "cgroup.procs" in files:
                with contextlib.suppress(OSError):
                    found |= {int(pid) for pid in (Path(folder) / "cgroup.procs").read_text().split()}
    return sorted(found)


def is_mounted(path: Path) -> bool:
    return any(line.split()[4] == str(path) for line in Path("/proc/self/mountinfo").read_text().splitlines())


def ensure_bridge(spec: Spec) -> None:
    """The network's bridge with this computer's address on it.

    Raises:
        StepError: the address is another interface's.
    """
    name, address = bridge_name(spec), gateway(spec)
    shown = json.loads(call(spec.name, "look at the network", "ip", "-j", "-4", "address", "show") or "[]")
    for link in shown:
        taken = {entry.get("local") for entry in link.get("addr_info", [])}
        if address in taken and link["ifname"] != name:
            reason = f"{address} is already the address of {link['ifname']}"
            raise StepError(spec.name, f"make the bridge {name}", reason, "choose another provider.network")
    if not Path(f"/sys/class/net/{name}").exists():
        call(spec.name, f"make the bridge {name}", "ip", "link", "add", name, "type", "bridge", "forward_delay", "0")
    prefix = local(spec).network.prefixlen
    call(spec.name, f"set up the bridge {name}", "ip", "address", "replace", f"{address}/{prefix}", "dev", name)
    call(spec.name, f"set up the bridge {name}", "ip", "link", "set", name, "up")


def drop_bridge(spec: Spec) -> None:
    """Remove the bridge when no other machine or host has a port on it."""
    path = Path(f"/sys/class/net/{bridge_name(spec)}")
    if path.exists() and not any((path / "brif").iterdir()):
        call(spec.name, "remove the bridge", "ip", "link", "delete", path.name, check=False)


def make_disk(spec: Spec, folders: Folders) -> None:
    """The machine's disk: a sparse file of the Spec's size, so that percentages of it are the machine's own."""
    folders.disk.mkdir(parents=True, exist_ok=True)
    if is_mounted(folders.disk):
        return
    if not folders.image.exists():
        scratch = folders.image.with_suffix(".part")
        with scratch.open("wb") as image:
            image.truncate(spec.state_disk)
        call(spec.name, "format the disk", "mkfs.xfs", "-q", "-f", str(scratch))
        scratch.rename(folders.image)
    # `mount -o loop` sets autoclear: the loop device goes with its mount.
    call(spec.name, "mount the disk", "mount", "-o", "loop", str(folders.image), str(folders.disk))


def make_root(spec: Spec, folders: Folders, lower: Path, node: Node) -> None:
    """The overlay over the cached root, with the machine's own files in it."""
    for folder in (folders.upper, folders.work, folders.state, folders.root):
        folder.mkdir(parents=True, exist_ok=True)
    if not is_mounted(folders.root):
        options = f"lowerdir={lower},upperdir={folders.upper},workdir={folders.work}"
        call(spec.name, "mount the root", "mount", "-t", "overlay", "binder-node", "-o", options, str(folders.root))
    files = {**machine_files(spec), **seed_files(document(spec, node.secrets))}
    for relative, (text, mode) in files.items():
        _place(folders.root / relative, text, mode)
    for relative, target in MACHINE_LINKS.items():
        path = folders.root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_symlink():
            path.symlink_to(target)


def _place(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700 if path.parent.name == ".ssh" else 0o755)
    if path.is_symlink():
        path.unlink()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "w") as out:
        os.fchmod(handle, mode)
        out.write(text)


# Joins the machine's cgroups ($@ up to "--"), then becomes nspawn.
JOIN = 'while [ "$1" != -- ]; do echo $$ > "$1" || exit 1; shift; done; shift; exec "$@"'


def start(spec: Spec, folders: Folders) -> int:
    """Boot the machine; returns the supervisor's pid, recorded before this returns."""
    joins = [str(path) for path in cgroups.make(spec.name)]
    argv = ["sh", "-c", JOIN, "sh", *joins, "--", *nspawn_argv(spec, folders)]
    with folders.console.open("ab") as console, open(os.devnull, "rb") as nothing:
        # Not Popen: the machine is to outlive this process, and nobody waits for it.
        pid = os.posix_spawnp(
            "sh",
            argv,
            {**os.environ, **NSPAWN_ENVIRONMENT},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, nothing.fileno(), 0),
                (os.POSIX_SPAWN_DUP2, console.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, console.fileno(), 2),
            ],
            setsid=True,
        )
    record = {"pid": pid, "started": start_time(pid)}
    scratch = folders.record.with_suffix(".part")
    scratch.write_text(json.dumps(record))
    scratch.rename(folders.record)
    return pid


def stop(spec: Spec, folders: Folders) -> None:
    """End the machine's processes: its init, with which its whole process namespace goes, then whatever is left.

    Raises:
        DeadlineError: something still runs; names the processes.
    """
    pid = supervisor(folders)
    for child in _children(pid) if pid else []:
        _kill(child)
    deadline = time.monotonic() + STOP_SECONDS
    while left := processes(spec):
        if pid is None or time.monotonic() > deadline - STOP_SECONDS + 3:
            for process in left:
                _kill(process)
        if time.monotonic() > deadline:
            raise DeadlineError(spec.name, "the machine's processes to end", STOP_SECONDS, f"still there: {left}")
        time.sleep(0.05)
    folders.record.unlink(missing_ok=True)


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):  # ours only when this process started it
        os.waitpid(pid, os.WNOHANG)


def remove(spec: Spec, folders: Folders) -> None:
    """Take away mounts, cgroups, links and files of a machine that does not run.

    Raises:
        StepError: something could not be removed; names it.
    """
    base = str(folders.base)
    below = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for mount in sorted((path for path in below if path == base or path.startswith(base + "/")), reverse=True):
        call(spec.name, f"unmount {mount}", "umount", mount)
    if left := cgroups.remove(spec.name):
        raise StepError(spec.name, "remove the machine's cgroups", f"still there: {', '.join(map(str, left))}")
    drop_bridge(spec)
    if folders.base.exists():
        shutil.rmtree(folders.base)
