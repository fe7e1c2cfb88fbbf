"""Where images should lie: three ways to run BuildKit beside a kubelet's containerd, measured on one real layer.

    python -m tests.bench.stores [rounds]

``shared``: BuildKit's containerd worker, zstd level 1, unpacked beside the push. ``own``: BuildKit's own store (OCI
worker), zstd level 1, then the pull that a pod's start needs. ``defaults``: BuildKit as it comes, with its own store
and its own compression (gzip), then the pull. Each arm has its own containerd, buildkitd, and registry, as on a node;
the registry's MinIO lies at the other end of a link, as a provider's bucket does: on the loopback a pull would cost
next to nothing. All have had one build and one start from the same base image before.

The layer is an environment as repo2docker makes them: wheels from PyPI, installed, copied by a RUN step. What a step
takes is the repository's affair and the same in each arm, so the clock starts when the last step has ended; the time
from the request is told too. The order of the arms turns round after each round; what is told is the median.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from binder_node.cluster.engine.guard import size
from tests.integration.binaries import binary
from tests.integration.engine_fixtures import PASSWORD, Bucket, Builder, builder

# What a repository's requirements add to a base that has Jupyter already: 0.8 GB installed, 9,400 files.
WHEELS = (
    "numpy==2.2.6", "scipy==1.15.3", "pandas==2.2.3", "scikit-learn==1.6.1", "matplotlib==3.10.3", "pyarrow==20.0.0",
    "numba==0.61.2", "polars==1.30.0", "duckdb==1.3.0",
)  # fmt: skip
ARMS = ("shared", "own", "defaults")
LIMIT = 0.40  # of the defaults' time, for the way that the product takes
EXPORTING = "exporting to image"  # what BuildKit says when all steps have ended
RATE = "1gbit"  # of the link, each way: a chosen one, of the order of a small machine's port
NEAR, FAR = "198.18.45.1", "198.18.45.2"


@dataclass(frozen=True)
class Run:
    """One run of an arm, in seconds and bytes. ``steps``: from the request to the last step's end; ``out``: pack and
    push; ``start``: pull (but for ``shared``), unpack what is not, and mount; ``pushed``: the layer's size in the
    registry."""

    steps: float
    out: float
    start: float
    pushed: int
    disk: int

    @property
    def ready(self) -> float:
        """From the last step's end to a container that could start."""
        return self.out + self.start

    @property
    def whole(self) -> float:
        """From the request to there."""
        return self.steps + self.ready


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextlib.contextmanager
def _link() -> Iterator[Bucket]:
    """A network namespace at the far end of a link of :data:`RATE`; it goes with what ran there."""
    name = f"bench-{os.getpid()}"
    _ip("netns", "add", name)
    try:
        _ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("address", "add", f"{NEAR}/30", "dev", name)
        _ip("-netns", name, "address", "add", f"{FAR}/30", "dev", "eth0")
        _ip("link", "set", name, "up")
        for device in ("lo", "eth0"):
            _ip("-netns", name, "link", "set", device, "up")
        shaped = ["root", "tbf", "rate", RATE, "burst", "1mb", "latency", "50ms"]
        subprocess.run(["tc", "qdisc", "add", "dev", name, *shaped], check=True)
        inside = ("nsenter", f"--net=/run/netns/{name}")
        subprocess.run([*inside, "tc", "qdisc", "add", "dev", "eth0", *shaped], check=True)
        yield Bucket(FAR, inside)
    finally:
        _ip("netns", "delete", name)


def _used(*folders: Path) -> int:
    """Bytes on the disk, hard links once; containerd's collector may be at work meanwhile."""
    return sum(size(folder) for folder in folders)


def _start(made: Builder, image: str) -> float:
    """What a pod's start needs: the image's layers unpacked, and a snapshot on top; seconds."""
    began = time.monotonic()
    ctr = [str(binary("ctr")), "--address", str(made.folder / "containerd.sock"), "--namespace", "k8s.io", "images"]
    listed = subprocess.check_output([*ctr, "ls", "-q"], text=True).split()
    if image not in listed:
        subprocess.run(
            [*ctr, "pull", "--plain-http", "--user", f"push:{PASSWORD}", image], check=True, capture_output=True
        )
    where = made.folder / "mounted"
    where.mkdir(exist_ok=True)
    subprocess.run([*ctr, "mount", image, str(where)], check=True, capture_output=True)
    took = time.monotonic() - began
    subprocess.run([*ctr, "unmount", "--rm", str(where)], check=True, capture_output=True)
    return took


def measure(name: str, folder: Path, environment: Path, bucket: Bucket) -> Run:
    """One run of one arm, in ``folder``, from nothing to a container's root."""
    # Level 0: none is said, so that it is gzip's own.
    defaults = ["--BuildctlEngine.compression=gzip", "--BuildctlEngine.compression_level=0"]
    extra = ["--BuildctlEngine.disk_limit=0", *(defaults if name == "defaults" else [])]
    worker = "containerd" if name == "shared" else "oci"
    with builder(folder, worker, {"opt/environment": environment}, bucket=bucket) as made:
        _build(made, "first", "RUN date > /first", extra)
        stores = [folder / "containerd", folder / "buildkit"]
        subprocess.run(["sync", "-f", str(folder)], check=True)
        before = _used(*stores)
        steps, out, start = _build(made, "second", "RUN cp -a /opt/environment /environment", extra)
        layers = made.manifest(folder / "repositories/second").json()["layers"]
        return Run(steps, out, start, layers[-1]["size"], _used(*stores) - before)


def _build(made: Builder, name: str, step: str, extra: list[str]) -> tuple[float, float, float]:
    """Build an image of one step on the base, and start it; seconds of the steps, of the rest, and of the start."""
    repository = made.repository(name, f"FROM {{base}}\n{step}\n")
    began, steps, said = time.monotonic(), 0.0, list[str]()
    with made.start(repository, *extra) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if not steps and EXPORTING in line:
                steps = time.monotonic() - began
    out = time.monotonic() - began - steps
    if process.returncode or not steps:
        raise SystemExit("".join(said))
    return steps, out, _start(made, made.image(repository))


def main() -> None:
    """Print a line an arm, which is fastest, and how it compares with BuildKit's own way."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    runs: dict[str, list[Run]] = {name: [] for name in ARMS}
    with tempfile.TemporaryDirectory(prefix="environment-", dir="/var/tmp") as top, _link() as bucket:
        environment = Path(top) / "environment"
        subprocess.run(["uv", "pip", "install", "-q", "--target", str(environment), *WHEELS], check=True, timeout=600)
        for index in range(rounds):
            for name in ARMS if index % 2 == 0 else reversed(ARMS):
                with tempfile.TemporaryDirectory(prefix=f"stores-{name}-", dir="/var/tmp") as folder:
                    runs[name].append(measure(name, Path(folder), environment, bucket))
    middle = {name: _median(found) for name, found in runs.items()}
    for name, run in middle.items():
        print(
            f"store {name:<9} pack and push {run.out:4.1f} s, pull and unpack {run.start:4.1f} s, built to a start "
            f"{run.ready:4.1f} s; with the steps {run.whole:4.1f} s; pushed {run.pushed / 1e6:.0f} MB, "
            f"on disk {run.disk / 1e6:.0f} MB"
        )
    shared, defaults = middle["shared"], middle["defaults"]
    fastest = min(middle, key=lambda name: middle[name].ready)
    print(f"fastest: {fastest}; least disk: {min(middle, key=lambda name: middle[name].disk)}")
    print(f"shared to BuildKit's defaults, built to a start: {shared.ready / defaults.ready:.2f} (at most {LIMIT})")
    print(f"shared to BuildKit's defaults, request to a start: {shared.whole / defaults.whole:.2f}")


def _median(runs: list[Run]) -> Run:
    """The run in the middle, by its time to a start."""
    return sorted(runs, key=lambda run: run.ready)[len(runs) // 2]


if __name__ == "__main__":
    main()
