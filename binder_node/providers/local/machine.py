"""Making, starting, finding and removing one machine: the I/O of the local provider, a step a function."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from binder_node.errors import DeadlineError, StepError
from binder_node.providers.local import cgroups
from binder_node.providers.local.plan import (
    MACHINE_LINKS,
    NSPAWN_ENVIRONMENT,
    Folders,
    bridge_name,
    clash,
    gateway,
    local,
    machine_files,
    nspawn_argv,
    seed_files,
)
from binder_node.spec.model import Spec

STOP_SECONDS = 20
INIT_SECONDS = 3  # ... of which the supervisor has these to clean up after its init
LOOP_SECONDS = 10


def call(name: str, step: str, *argv: str, check: bool = True) -> str:
    """Run a command of this computer; its stdout. It is killed with this process: no mount comes after a killed maker.

    Raises:
        StepError: it failed (with ``check``), or is not installed.
    """
    if shutil.which(argv[0]) is None:
        raise StepError(name, step, f"{argv[0]} is not installed", "run `bootstrap/prepare packages`")
    with_us = ["setpriv", "--pdeathsig", "KILL", *argv]
    try:
        done = subprocess.run(with_us, capture_output=True, text=True, timeout=60, check=False)
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
        pid, started = record["pid"], record["started"]
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError, ValueError, KeyError):
        return None
    # The boot begins the count of start times anew: the command line tells a stranger of the same pid and time.
    ours = f"--directory={folders.root}".encode() in command.split(b"\0")
    return int(pid) if ours and started is not None and start_time(pid) == started else None


def check_alive(spec: Spec, folders: Folders) -> None:
    """Raises StepError with the console's last lines when the machine's supervisor has ended."""
    if supervisor(folders) is None:
        lines = folders.console.read_text(errors="replace").splitlines() if folders.console.exists() else []
        said = "\n".join(lines[-5:]) or "its console is empty"
        raise StepError(spec.name, "boot the machine", said, f"all of it is in {folders.console}")


def processes(folders: Folders) -> list[int]:
    """Every process in the machine's cgroups, its supervisor included; also of a start that was cut short."""
    found: set[int] = set()
    for group in cgroups.groups(folders.group):
        for folder, _, files in os.walk(group):
            if "cgroup.procs" in files:
                with contextlib.suppress(OSError):
                    found |= {int(pid) for pid in (Path(folder) / "cgroup.procs").read_text().split()}
    return sorted(found)


def mounts(below: Path) -> list[str]:
    """Mount points at or below a folder, the deepest first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    # Blanks and backslashes are octal there (proc(5)).
    points = (line.split()[4].encode().decode("unicode_escape").encode("latin-1").decode() for line in lines)
    return sorted((point for point in points if Path(point).is_relative_to(below)), reverse=True)


def is_mounted(path: Path) -> bool:
    return str(path) in mounts(path)


def ensure_bridge(spec: Spec) -> None:
    """The network's bridge with this computer's address on it.

    Raises:
        StepError: another interface has addresses of the network.
    """
    name, address = bridge_name(spec), gateway(spec)
    shown = json.loads(call(spec.name, "look at the network", "ip", "-j", "-4", "address", "show") or "[]")
    if taken := clash(spec, shown):
        raise StepError(spec.name, f"make the bridge {name}", taken, "choose another provider.network")
    if not Path(f"/sys/class/net/{name}").exists():
        call(spec.name, f"make the bridge {name}", "ip", "link", "add", name, "type", "bridge", "forward_delay", "0")
    prefix = local(spec).network.prefixlen
    call(spec.name, f"set up the bridge {name}", "ip", "address", "replace", f"{address}/{prefix}", "dev", name)
    call(spec.name, f"set up the bridge {name}", "ip", "link", "set", name, "up")


def idle_bridge(spec: Spec) -> str:
    """The bridge's name when it is there and no machine or host has a port on it; or nothing."""
    path = Path(f"/sys/class/net/{bridge_name(spec)}")
    return path.name if path.exists() and not any((path / "brif").iterdir()) else ""


def drop_bridge(spec: Spec) -> None:
    """Remove the bridge when no other machine or host has a port on it."""
    if name := idle_bridge(spec):
        call(spec.name, "remove the bridge", "ip", "link", "delete", name, check=False)


def make_disk(spec: Spec, folders: Folders) -> None:
    """The machine's disk: a sparse file of the Spec's size, so that percentages of it are the machine's own."""
    folders.disk.mkdir(parents=True, exist_ok=True)
    if is_mounted(folders.disk):
        return
    if not folders.image.exists():
        # A name of its own: the mkfs of a maker that was killed may still be writing to the last one.
        handle, scratch = tempfile.mkstemp(prefix=".disk-", dir=folders.base)
        with os.fdopen(handle, "wb") as image:
            image.truncate(spec.state_disk)
        call(spec.name, "format the disk", "mkfs.xfs", "-q", "-f", scratch)
        os.rename(scratch, folders.image)
    # `mount -o loop` sets autoclear: the loop device goes with its mount.
    call(spec.name, "mount the disk", "mount", "-o", "loop", str(folders.image), str(folders.disk))


def mount_root(spec: Spec, folders: Folders, lower: Path) -> None:
    """The overlay over the cached root.

    Raises:
        StepError: the root that the machine was made from is no longer in the cache.
    """
    for folder in (folders.upper, folders.work, folders.state, folders.root):
        folder.mkdir(parents=True, exist_ok=True)
    if not folders.lower.is_symlink():
        folders.lower.symlink_to(lower)
    if not folders.lower.is_dir():
        gone = f"{folders.lower.readlink()}, which it was made from, is gone"
        raise StepError(spec.name, "mount the root", gone, f"`binder-node destroy {spec.name}`, then `up` again")
    if not is_mounted(folders.root):
        options = f"lowerdir={folders.lower},upperdir={folders.upper},workdir={folders.work}"
        call(spec.name, "mount the root", "mount", "-t", "overlay", "binder-node", "-o", options, str(folders.root))


def fill_root(spec: Spec, folders: Folders, seed: dict[str, Any] | None) -> None:
    """The machine's own files, and those of its user-data ``seed``; None: it has had that."""
    files = {**machine_files(spec), **(seed_files(seed) if seed else {})}
    for relative, (text, mode) in files.items():
        there = folders.root / relative
        if there.name == "authorized_keys" and there.exists() and text in there.read_text():
            continue  # as cloud-init: keys that came later stay
        _place(folders.root / relative, text, mode)
    for user in seed["users"] if seed else []:
        if user["name"] != "root":
            _ensure_user(spec, folders.root, user["name"], user["shell"])
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


def _ensure_user(spec: Spec, root: Path, name: str, shell: str) -> None:
    """A login besides root, and its keys its own: sshd reads them as that user."""

    def ids() -> tuple[int, int] | None:
        lines = (line.split(":") for line in (root / "etc/passwd").read_text().splitlines())
        return next(((int(uid), int(gid)) for login, _, uid, gid, *_ in lines if login == name), None)

    if ids() is None:
        step = f"make the user {name}"
        call(spec.name, step, "chroot", str(root), "/usr/sbin/useradd", "--create-home", "--shell", shell, name)
    home, owner = root / "home" / name, ids()
    assert owner is not None
    for path in (home, home / ".ssh", home / ".ssh/authorized_keys"):
        os.chown(path, *owner)


# Joins the machine's cgroups ($@ up to "--"), lets go of the other machines' mounts, then becomes nspawn.
# A mount namespace begins as a copy: where `/` is mounted private, as in a container, a disk that another machine has
# unmounted would stay in use here, and its loop device with it, for as long as this machine runs.
JOIN = """\
cd /
while [ "$1" != -- ]; do echo $$ > "$1" || exit 1; shift; done
own=$2; shift 2
awk -v own="$own/" '{
  for (i = 7; i < NF; i++) if ($i == "-") { type = $(i + 1); source = $(i + 2) }
  theirs = source == "binder-node" || (type == "xfs" && source ~ "^/dev/loop" && $5 ~ "/disk$")
  if (theirs && index($5 "/", own) != 1) print $5
}' /proc/self/mountinfo | sort -r | while read -r mount; do umount -l "$mount"; done
exec "$@"
"""


def start(spec: Spec, folders: Folders) -> int:
    """Boot the machine; returns the supervisor's pid, recorded before this returns."""
    joins = [str(path) for path in cgroups.make(folders.group)]
    alone = ["unshare", "--mount", "--propagation", "private"]
    argv = [*alone, "sh", "-c", JOIN, "sh", *joins, "--", str(folders.base), *nspawn_argv(spec, folders)]
    with folders.console.open("ab") as console, open(os.devnull, "rb") as nothing:
        # Not Popen: the machine is to outlive this process, and nobody waits for it. Nor does it get the operator's
        # environment, which may hold keys.
        pid = os.posix_spawnp(
            argv[0],
            argv,
            NSPAWN_ENVIRONMENT,
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
    began = time.monotonic()
    while left := sorted({*processes(folders), *filter(None, [supervisor(folders)])}):
        waited = time.monotonic() - began
        if pid is None or waited > INIT_SECONDS:
            for process in left:
                _kill(process)
        if waited > STOP_SECONDS:
            raise DeadlineError(spec.name, "the machine's processes to end", STOP_SECONDS, f"still there: {left}")
        time.sleep(0.02)
    if pid is not None:
        with contextlib.suppress(ChildProcessError):  # ours only when this process started it
            os.waitpid(pid, os.WNOHANG)
    folders.record.unlink(missing_ok=True)


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def remove(spec: Spec, folders: Folders) -> None:
    """Take away mounts, cgroups, links and files of a machine that does not run.

    Raises:
        StepError: something could not be removed; names it.
    """
    _unmount(spec, folders)
    if left := cgroups.remove(folders.group):
        raise StepError(spec.name, "remove the machine's cgroups", f"still there: {', '.join(map(str, left))}")
    drop_bridge(spec)
    if folders.base.exists():
        shutil.rmtree(folders.base)


def _unmount(spec: Spec, folders: Folders) -> None:
    """Unmount all, and wait until the disk's loop device is free: the kernel lets go of it a moment after.

    Raises:
        StepError: something cannot be unmounted.
        DeadlineError: something still has the disk open.
    """
    deadline = time.monotonic() + LOOP_SECONDS
    loops = ["losetup", "--noheadings", "--output=NAME", "--associated", str(folders.image)]
    while True:
        for mount in mounts(folders.base):
            call(spec.name, f"unmount {mount}", "umount", mount)
        if not folders.image.exists() or not (busy := call(spec.name, "look at loop devices", *loops)):
            return
        if time.monotonic() > deadline:
            raise DeadlineError(spec.name, "the disk's loop device to be free", LOOP_SECONDS, busy.strip())
        time.sleep(0.02)
