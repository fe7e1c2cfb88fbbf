"""Where images should lie: three ways to run BuildKit beside a kubelet's containerd, measured on one large layer.

    sudo BINDER_NODE_TEST_BIN=... python -m tests.bench.stores [megabytes of the layer]

``shared``: BuildKit's containerd worker, zstd level 1, unpacked at once (the product's default). ``own``: BuildKit's
own store (OCI worker), zstd level 1, then the pull that a pod's start needs. ``defaults``: BuildKit as it comes, with
its own store and its own compression (gzip), then the pull. Each arm has its own containerd, registry and buildkitd.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.integration.binaries import binary
from tests.integration.engine_fixtures import PASSWORD, Builder, builder

# Half of it compresses well, half not at all: between a wheel and a source tree.
LAYER = (
    "RUN head -c {half}M /dev/urandom > /noise && "
    "while [ $(stat -c %s /even 2>/dev/null || echo 0) -lt {half}000000 ]; do cat /bin/* >> /even; done\n"
)


@dataclass(frozen=True)
class Arm:
    """Seconds and bytes. ``again``: a second build of the same commit; ``start``: until a container's root is there."""

    name: str
    build: float
    again: float
    start: float
    pushed: int
    disk: int

    @property
    def to_start(self) -> float:
        """From the request to a container that could start."""
        return self.build + self.start


def _used(*folders: Path) -> int:
    """Bytes on the disk, hard links once."""
    found = [str(folder) for folder in folders if folder.exists()]
    return int(subprocess.check_output(["du", "-scxB1", *found], text=True).splitlines()[-1].split()[0])


def _start(made: Builder, image: str) -> None:
    """What a pod's start needs: the image's layers unpacked, and a snapshot on top."""
    ctr = [str(binary("ctr")), "--address", str(made.folder / "containerd.sock"), "--namespace", "k8s.io", "images"]
    listed = subprocess.check_output([*ctr, "ls", "-q"], text=True).split()
    if image not in listed:
        subprocess.run(
            [*ctr, "pull", "--plain-http", "--user", f"push:{PASSWORD}", image], check=True, capture_output=True
        )
    where = made.folder / "mounted"
    where.mkdir(exist_ok=True)
    subprocess.run([*ctr, "mount", image, str(where)], check=True, capture_output=True)
    subprocess.run([*ctr, "unmount", "--rm", str(where)], check=True, capture_output=True)


def measure(name: str, folder: Path, megabytes: int) -> Arm:
    """One arm, in ``folder``, from nothing to a container's root."""
    # Level 0: none is said, so that it is gzip's own.
    defaults = ["--BuildctlEngine.compression=gzip", "--BuildctlEngine.compression_level=0"]
    extra = defaults if name == "defaults" else []
    with builder(folder, worker="containerd" if name == "shared" else "oci") as made:
        stores = [folder / "containerd", folder / "buildkit"]
        before, registry_before = _used(*stores), _used(folder / "registry")
        repository = made.repository("layer", "FROM {base}\n" + LAYER.format(half=megabytes // 2))
        times = []
        for _ in range(2):
            began = time.monotonic()
            log = made.build(repository, "--BuildctlEngine.disk_limit=0", *extra)
            times.append(time.monotonic() - began)
            if log.code:
                raise SystemExit(log.output)
        began = time.monotonic()
        _start(made, made.image(repository))
        start = time.monotonic() - began
        return Arm(
            name,
            build=times[0],
            again=times[1],
            start=start,
            pushed=_used(folder / "registry") - registry_before,
            disk=_used(*stores) - before,
        )


def main() -> None:
    """Print a line an arm, and how the default compares with BuildKit's own."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 900
    arms = []
    for name in ("shared", "own", "defaults"):
        with tempfile.TemporaryDirectory(prefix=f"stores-{name}-", dir="/var/tmp") as folder:
            arms.append(measure(name, Path(folder), megabytes))
        arm = arms[-1]
        print(
            f"store {arm.name:<9} build {arm.build:5.1f} s, pull and unpack {arm.start:4.1f} s, "
            f"to a start {arm.to_start:5.1f} s; pushed {arm.pushed / 1e6:.0f} MB, on disk {arm.disk / 1e6:.0f} MB",
            flush=True,
        )
    shared, _, plain = arms
    print(f"shared to BuildKit's defaults, build to start: {shared.to_start / plain.to_start:.2f} (at most 0.40)")


if __name__ == "__main__":
    main()
