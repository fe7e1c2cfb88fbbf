"""Where images should lie: three ways to run BuildKit beside a kubelet's containerd, measured on one real layer.

    python -m tests.bench.stores [rounds]

``shared``: BuildKit's containerd worker, zstd level 1, unpacked beside the push. ``own``: BuildKit's own store (OCI
worker), zstd level 1, then the pull that a pod's start needs. ``defaults``: BuildKit as it comes, with its own store
and its own compression (gzip), then the pull. Each arm has its own containerd, buildkitd, and registry on MinIO, as on
a node; all have had one build and one start from the same base image before.

The layer is an environment as repo2docker makes them: wheels from PyPI, installed, copied by a RUN step. The order of
the arms turns round after each round; what is told is the median.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from binder_node.cluster.engine.guard import size
from tests.integration.binaries import binary
from tests.integration.engine_fixtures import PASSWORD, Builder, builder

# What a repository's requirements add to a base that has Jupyter already: 0.8 GB installed, 9,400 files.
WHEELS = (
    "numpy==2.2.6", "scipy==1.15.3", "pandas==2.2.3", "scikit-learn==1.6.1", "matplotlib==3.10.3", "pyarrow==20.0.0",
    "numba==0.61.2", "polars==1.30.0", "duckdb==1.3.0",
)  # fmt: skip
ARMS = ("shared", "own", "defaults")
LIMIT = 0.40  # of the defaults' time, for the way that the product takes


@dataclass(frozen=True)
class Run:
    """One run of an arm, in seconds and bytes. ``start``: pull (but for ``shared``), unpack what is not, and mount;
    ``pushed``: the layer's size in the registry."""

    build: float
    start: float
    pushed: int
    disk: int

    @property
    def ready(self) -> float:
        """From the request to a container that could start."""
        return self.build + self.start


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


def measure(name: str, folder: Path, environment: Path) -> Run:
    """One run of one arm, in ``folder``, from nothing to a container's root."""
    # Level 0: none is said, so that it is gzip's own.
    defaults = ["--BuildctlEngine.compression=gzip", "--BuildctlEngine.compression_level=0"]
    extra = ["--BuildctlEngine.disk_limit=0", *(defaults if name == "defaults" else [])]
    worker = "containerd" if name == "shared" else "oci"
    with builder(folder, worker, {"opt/environment": environment}, bucket=True) as made:
        _build(made, "first", "RUN date > /first", extra)
        stores = [folder / "containerd", folder / "buildkit"]
        subprocess.run(["sync", "-f", str(folder)], check=True)
        before = _used(*stores)
        build, start = _build(made, "second", "RUN cp -a /opt/environment /environment", extra)
        layers = made.manifest(folder / "repositories/second").json()["layers"]
        return Run(build, start, layers[-1]["size"], _used(*stores) - before)


def _build(made: Builder, name: str, step: str, extra: list[str]) -> tuple[float, float]:
    """Build an image of one step on the base, and start it; seconds of each."""
    repository = made.repository(name, f"FROM {{base}}\n{step}\n")
    began = time.monotonic()
    log = made.build(repository, *extra)
    took = time.monotonic() - began
    if log.code:
        raise SystemExit(log.output)
    return took, _start(made, made.image(repository))


def main() -> None:
    """Print a line an arm, which is fastest, and how it compares with BuildKit's own way."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    runs: dict[str, list[Run]] = {name: [] for name in ARMS}
    with tempfile.TemporaryDirectory(prefix="environment-", dir="/var/tmp") as top:
        environment = Path(top) / "environment"
        subprocess.run(["uv", "pip", "install", "-q", "--target", str(environment), *WHEELS], check=True, timeout=600)
        for index in range(rounds):
            for name in ARMS if index % 2 == 0 else reversed(ARMS):
                with tempfile.TemporaryDirectory(prefix=f"stores-{name}-", dir="/var/tmp") as folder:
                    runs[name].append(measure(name, Path(folder), environment))
    ready = {name: statistics.median(run.ready for run in found) for name, found in runs.items()}
    for name, found in runs.items():
        build, start = statistics.median(run.build for run in found), statistics.median(run.start for run in found)
        print(
            f"store {name:<9} build {build:5.1f} s, pull and unpack {start:4.1f} s, to a start {ready[name]:5.1f} s; "
            f"pushed {found[0].pushed / 1e6:.0f} MB, on disk {found[0].disk / 1e6:.0f} MB"
        )
    print(f"fastest: {min(ready, key=ready.__getitem__)}")
    print(f"shared to BuildKit's defaults, build to start: {ready['shared'] / ready['defaults']:.2f} (at most {LIMIT})")


if __name__ == "__main__":
    main()
