"""Volumes of nspawn hosts: sparse files on loop devices, which the machine finds in ``/dev/disk`` as a disk.

A container has no udev. A generator of systemd stands in for it: it runs before PID 1 looks for devices, at every boot
and daemon-reload, makes the device's node and links, and writes the entry that udev would have in its database, so that
a line in /etc/fstab that names the disk is mounted at boot as it is on a real server.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from binder_node.providers.local.machine import call

GENERATOR = "etc/systemd/system-generators/testbed-volumes"
HEAD = """\
#!/bin/sh
# Stands in for udev: nodes, links and database entries of the machine's volumes.
mkdir -p /run/udev/data /run/udev/tags/systemd /dev/disk/by-id /dev/disk/by-uuid
disk() {
  number=$1 node=$2
  shift 2
  [ -b "/dev/$node" ] || mknod -m 660 "/dev/$node" b "${number%:*}" "${number#*:}"
  uuid=$(blkid -p -o value -s UUID "/dev/$node")
  type=$(blkid -p -o value -s TYPE "/dev/$node")
  {
    echo I:1
    for link in "$@"; do echo "S:disk/by-id/$link"; done
    [ -z "$uuid" ] || printf 'S:disk/by-uuid/%s\\nE:ID_FS_UUID=%s\\nE:ID_FS_TYPE=%s\\nE:ID_FS_USAGE=filesystem\\n' \\
      "$uuid" "$uuid" "$type"
    printf 'G:systemd\\nQ:systemd\\nV:1\\n'
  } > "/run/udev/data/b$number"
  : > "/run/udev/tags/systemd/b$number"
  for link in "$@"; do ln -sfn "../../$node" "/dev/disk/by-id/$link"; done
  [ -z "$uuid" ] || ln -sfn "../../$node" "/dev/disk/by-uuid/$uuid"
}
"""
UNPLUG = """\
node=$1 number=$2
while umount -l "/dev/$node" 2>/dev/null; do :; done
for link in /dev/disk/by-id/* /dev/disk/by-uuid/*; do
  [ "$(readlink "$link")" = "../../$node" ] && rm -f "$link"
done
rm -f "/dev/$node" "/run/udev/data/b$number" "/run/udev/tags/systemd/b$number"
exit 0
"""


def make(image: Path, size: int, format_: str | None) -> None:
    """A fresh volume of ``size`` bytes; ``format_``: ``xfs``, ``ext4``, or None for an empty one."""
    scratch = image.with_suffix(".part")
    with scratch.open("wb") as file:
        file.truncate(size)
    if format_:
        call("here", "format the volume", f"mkfs.{format_}", "-q", str(scratch))
    scratch.rename(image)


def grow(image: Path, size: int) -> None:
    os.truncate(image, size)
    if loop := loop_of(image):
        call("here", "grow the volume", "losetup", "--set-capacity", loop)


def loop_of(image: Path) -> str:
    """The loop device of an image, like ``/dev/loop3``; empty when there is none."""
    if not image.exists():
        return ""
    shown = call("here", "look at loop devices", "losetup", "-n", "-O", "NAME", "--associated", str(image))
    return shown.split()[0] if shown.split() else ""


def ensure_loop(image: Path) -> str:
    return loop_of(image) or call("here", "set up a loop device", "losetup", "--find", "--show", str(image)).strip()


def release(image: Path) -> None:
    """Let go of the image's loop device; the kernel does when nothing has it open any more."""
    if loop := loop_of(image):
        call("here", "release a loop device", "losetup", "--detach", loop)


def number_of(loop: str) -> str:
    """A device's number as ``major:minor``."""
    device = os.stat(loop).st_rdev
    return f"{os.major(device)}:{os.minor(device)}"


def write_generator(root: Path, disks: Mapping[str, Sequence[str]]) -> None:
    """Put the generator into a machine's root. ``disks``: loop device -> its names in ``/dev/disk/by-id``."""
    lines = [
        " ".join(["disk", number_of(loop), loop.removeprefix("/dev/"), *links]) for loop, links in sorted(disks.items())
    ]
    path = root / GENERATOR
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([HEAD, *lines, "exit 0", ""]))
    path.chmod(0o755)


def leader(supervisor: int) -> int:
    """The machine's PID 1, as this computer numbers it. Raises ProcessLookupError where there is none."""
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    if not children:
        raise ProcessLookupError(supervisor)
    return int(children[0])


def inside(supervisor: int, script: str, *words: str) -> None:
    """Run a shell script in the machine, whose supervisor this is."""
    namespaces = ["nsenter", f"--target={leader(supervisor)}", "--mount", "--root", "--wd=/"]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    subprocess.run(
        [*namespaces, "sh", "-c", script, "sh", *words], env=environment, check=True, capture_output=True, timeout=60
    )


def run_generator(supervisor: int) -> None:
    inside(supervisor, f"/{GENERATOR}")


def unplug(supervisor: int, loop: str) -> None:
    """Take a disk out of a machine that runs; what it had mounted of it is unmounted."""
    if loop:
        inside(supervisor, UNPLUG, loop.removeprefix("/dev/"), number_of(loop))
