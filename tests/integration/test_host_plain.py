"""A machine's plain files and their script, run for real over this computer's own root: in an overlay that is thrown
away, with systemd and apt played. What lies there afterwards is what the node's own look finds right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from binder_node.host import diff, observe
from binder_node.host.plain import plain
from binder_node.host.wanted import Wanted
from tests.unit.host_samples import other_spec, sample_spec, sample_wanted

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounts an overlay"),
]

# Answers as the real ones do where the script asks, and keeps a record of the rest.
PLAYED = """\
#!/bin/sh
echo "$(basename "$0") $*" >>/played/log
[ "$1" != is-enabled ]
"""
# What K3s and BuildKit would have made by then.
SOCKETS = """\
import os, socket
for path in ("/run/k3s/containerd/containerd.sock", "/run/buildkit/buildkitd.sock"):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    socket.socket(socket.AF_UNIX).bind(path)
"""
INSIDE = """\
set -eu
mount -t tmpfs none {scratch}
mkdir {scratch}/upper {scratch}/work {scratch}/root
mount -t overlay overlay -o lowerdir=/,upperdir={scratch}/upper,workdir={scratch}/work {scratch}/root
cd {scratch}/root
mkdir -p played ejected etc/systemd/system
mount --bind {played} played
mount --bind {ejected} ejected
mount --rbind /dev dev
mount -t proc none proc
for name in systemctl apt-get blkid bash; do ln -s played played/$name; done
chroot . {python} -c "$SOCKETS"
chroot . env PATH=/played:/usr/sbin:/usr/bin:/sbin:/bin sh -c '{command}'
chroot . env PATH=/played:$PATH {python} -c "$LOOK"
"""


def write(wanted: Wanted, folder: Path) -> None:
    made = plain(wanted)
    for relative, (data, mode) in made.files.items():
        path = folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(mode)
    for name, upload in made.artifacts.items():
        path = folder / "artifacts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # A program that does nothing, as long as the sample says that it is.
        path.write_bytes(b"#!/bin/sh\nexit 0\n".ljust(upload.artifact.size, b"\n"))


def run(wanted: Wanted, tmp_path: Path, command: str) -> tuple[observe.Seen, str]:
    """The machine as ``look`` sees it after ``command``; what was asked of systemd and apt."""
    ejected, played, scratch = (tmp_path / name for name in ("ejected", "played", "scratch"))
    for folder in (ejected, played, scratch):
        folder.mkdir()
    write(wanted, ejected)
    (played / "played").write_text(PLAYED)
    (played / "played").chmod(0o755)
    # Not what PATH has by the name of python3: it may be a script for bash, which is played.
    inside = INSIDE.format(scratch=scratch, played=played, ejected=ejected, command=command, python=sys.executable)
    ask = {**json.loads(observe.question(wanted, "/")), "disks": False}
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", inside],
        env={**os.environ, "LOOK": observe.script("look"), "SOCKETS": SOCKETS},
        input=json.dumps(ask),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    answer = next(line for line in done.stdout.splitlines() if line.startswith("{"))
    return observe.answer(answer), (played / "log").read_text()


def left(wanted: Wanted, seen: observe.Seen) -> list[str]:
    """What a plan would still do to files, folders, links, lines and users."""
    works = diff.todo(wanted, seen).works
    return [
        str(thing)
        for work in works
        for kind in (work.users, work.folders, work.uploads, work.copies, work.files, work.links, work.blocks)
        for thing in kind
    ]


@pytest.mark.parametrize("variant", ["plain", "other"])
def test_what_the_script_makes_is_what_plan_finds_right(tmp_path: Path, variant: str) -> None:
    wanted = sample_wanted(sample_spec() if variant == "plain" else other_spec())
    commands = "useradd -m debian && /ejected/host.sh"
    seen, log = run(wanted, tmp_path, commands)
    assert left(wanted, seen) == []
    assert seen.files[observe.MANIFEST] is not None
    assert json.dumps(seen.files[observe.MANIFEST]).count(observe.digest(observe.manifest_of(wanted))) == 1
    restarted = next(line for line in log.splitlines() if line.startswith("systemctl restart"))
    assert "k3s.service" in restarted
    assert "binder-node-events.timer" in restarted
    assert "binder-node-events.service" not in restarted  # its timer's


def test_it_can_be_run_again_and_lines_of_others_stay(tmp_path: Path) -> None:
    wanted = sample_wanted()
    commands = (
        "echo 192.0.2.1 theirs >> /etc/hosts; chmod 640 /etc/hosts; /ejected/host.sh"
        " && echo 192.0.2.2 later >> /etc/hosts"
        " && chmod 777 /etc/binder-node/minio.env && rm /usr/local/bin/k3s && /ejected/host.sh"
        " && grep -c -e theirs -e later -e binder-node: /etc/hosts | grep -qx 4"
        " && stat -c %a /etc/hosts | grep -qx 640"
    )
    seen, _ = run(wanted, tmp_path, commands)
    assert left(wanted, seen) == []
