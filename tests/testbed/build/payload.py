"""The self-extracting executable: the supervisor, a compressed tar of everything it runs, and a trailer."""

from __future__ import annotations

import hashlib
import shutil
import struct
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

from binder_node.errors import StepError
from tests.testbed.images.oci import EPOCH

MAGIC = b"K3SPAYLOAD1\n"  # payload.go reads it
LEVEL = "-6"  # zstd: 104 MB in 4 s; -19 would save a fifth and take minutes
KUBE = (
    "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl", "crictl", "kine",
    "kube-router",
)  # fmt: skip


def fill(bin_folder: Path, programs: Mapping[str, Path]) -> None:
    """Copy ``programs`` into ``bin_folder`` under their names; what ``kube`` acts as is a link to it."""
    for name, path in programs.items():
        shutil.copy(path, bin_folder / name)
        (bin_folder / name).chmod(0o755)
    for name in KUBE:
        (bin_folder / name).symlink_to("kube")


def assemble(supervisor: Path, bin_folder: Path, out: Path, scratch: Path) -> None:
    """Write the executable to ``out``. The same input gives the same bytes."""
    payload = scratch / "payload.tar.zst"
    with payload.open("wb") as target:
        zstd = subprocess.Popen(["zstd", "-q", "-c", "-T0", LEVEL], stdin=subprocess.PIPE, stdout=target)
        assert zstd.stdin is not None  # it was asked for
        with zstd.stdin as stdin, tarfile.open(fileobj=stdin, mode="w|") as tar:
            tar.add(bin_folder, "bin", filter=_plain)
        if zstd.wait():
            raise StepError(
                "here", "compress the payload", f"zstd ended with {zstd.returncode}", "apt-get install zstd"
            )
    with out.open("wb") as target, payload.open("rb") as source:
        target.write(supervisor.read_bytes())
        shutil.copyfileobj(source, target, 1 << 20)
        source.seek(0)
        digest = hashlib.file_digest(source, "sha256").hexdigest()
        target.write(digest.encode() + struct.pack(">Q", payload.stat().st_size) + MAGIC)


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.mtime, info.uid, info.gid, info.uname, info.gname = EPOCH, 0, 0, "", ""
    return info
