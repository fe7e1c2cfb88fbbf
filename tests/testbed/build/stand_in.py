"""What is built, out of what, in which order: ``k3s``, its airgap images, and the image of the testbed's test pods."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from binder_node.artifacts.cache import Cache, Stored, digest
from binder_node.artifacts.pins import load_pins
from binder_node.artifacts.store import Sources, Store
from binder_node.events import Reporter, step
from tests.testbed.build import debian, image_archive, local_go, payload
from tests.testbed.images.oci import write_archive

HERE = Path(__file__).parent
OUT = HERE.parents[2] / "build" / "testbed"  # where tests/testbed/pins.toml points
KUBERNETES = "v1.35.4"
VERSION = f"{KUBERNETES}+k3s1"  # charts look at it; K3s's own numbering
COREDNS_IMAGE, TRAEFIK_IMAGE = "rancher/mirrored-coredns-coredns:1.15.0", "rancher/mirrored-library-traefik:3.6.12"
PROBE = "docker.io/library/probe:1"

_VERSION = "k8s.io/component-base/version"
COREDNS = local_go.Program(
    "coredns",
    HERE / "coredns",
    "github.com/coredns/coredns",
    overlays={("github.com/coredns/coredns", "core/plugin/zplugin.go"): "overlay/plugins.go"},
)
TRAEFIK = local_go.Program(
    "traefik",
    HERE / "traefik",
    "github.com/traefik/traefik/v3/cmd/traefik",
    ldflags=("-X", "github.com/traefik/traefik/v3/pkg/version.Version=3.6.12"),
    overlays={("github.com/go-acme/lego/v4", "providers/dns/zz_gen_dns_providers.go"): "overlay/dns.go"},
)
PAUSE = local_go.Program("pause", HERE / "pause")
POD_PROBE = local_go.Program("probe", HERE / "probe")


def kube(version: str) -> local_go.Program:
    """Kubernetes, which says that it is ``version``."""
    return local_go.Program(
        "kube",
        HERE / "kube",
        ldflags=(
            "-X", f"{_VERSION}.gitVersion={version}", "-X", f"{_VERSION}.gitMajor=1", "-X", f"{_VERSION}.gitMinor=35",
            "-X", f"{_VERSION}.gitCommit=standin", "-X", f"{_VERSION}.gitTreeState=clean",
            "-X", f"k8s.io/client-go/pkg/version.gitVersion={version}",
        ),
        overlays={("github.com/k3s-io/kine", "pkg/endpoint/init.go"): "overlay/drivers.go"},
    )  # fmt: skip


def supervisor(version: str) -> local_go.Program:
    """What answers as K3s, which says that it is ``version``."""
    return local_go.Program(
        "k3s-supervisor",
        HERE.parent / "k3s",
        ldflags=(
            "-X", f"main.version={version}", "-X", f"main.corednsImage={COREDNS_IMAGE}",
            "-X", f"main.traefikImage={TRAEFIK_IMAGE}",
        ),
    )  # fmt: skip


# Name in the payload: name of the pin. K3s has the CNI plugins in the same folder.
PINNED = {name: name for name in ("containerd", "containerd-shim-runc-v2", "ctr")} | {
    plugin: f"cni-{plugin}" for plugin in ("bridge", "host-local", "loopback", "portmap", "firewall")
}


@dataclass(frozen=True)
class Builder:
    """Makes the artifacts, each once: what is in the cache under the same key is not made again.

    ``version`` is what K3s and Kubernetes say of themselves; another than :data:`VERSION` is the same source.
    """

    report: Reporter
    cache: Cache = field(default_factory=Cache)
    version: str = VERSION

    def k3s(self) -> Path:
        """The self-extracting executable; where it is not :data:`VERSION`, its path in the cache."""
        paths = {"kube": self.kube()} | self._pinned(PINNED)
        own = self._local(supervisor(self.version))
        key = _key("k3s", {name: digest(path) for name, path in {**paths, "": own}.items()}, debian.index())
        if (stored := self.cache.lookup(key, self.report)) is None:
            with step(self.report, "artifacts", "k3s (put together)"), self.cache.scratch() as scratch:
                (bin_folder := scratch / "bin").mkdir()
                debian.unpack(bin_folder, scratch)
                payload.fill(bin_folder, paths)
                payload.assemble(own, bin_folder, scratch / "k3s", scratch)
                stored = self.cache.add(key, "k3s", scratch / "k3s", executable=True)
        return _link(stored, OUT / "k3s") if self.version == VERSION else stored.path

    def kube(self) -> Path:
        """Kubernetes' servers, kubectl and what K3s has beside them in one executable, which acts by its name."""
        return self._local(kube(self.version))

    def images(self) -> Path:
        """K3s's airgap images, as K3s publishes them: one tar.zst."""
        programs = {"coredns": COREDNS, "traefik": TRAEFIK, "pause": PAUSE}
        paths = {name: self._local(program) for name, program in programs.items()}
        names = {
            "pause": image_archive.PAUSE,
            "coredns": f"docker.io/{COREDNS_IMAGE}",
            "traefik": f"docker.io/{TRAEFIK_IMAGE}",
        }
        key = _key("k3s-images", {name: digest(path) for name, path in paths.items()}, json.dumps(names))
        if (stored := self.cache.lookup(key, self.report)) is None:
            with step(self.report, "artifacts", "k3s-images (put together)"), self.cache.scratch() as scratch:
                plain, packed = scratch / "images.tar", scratch / "k3s-images.tar.zst"
                image_archive.write_images(paths, names, plain, scratch)
                # The layers are compressed already: this only gives the archive K3s's form.
                subprocess.run(["zstd", "-q", "-1", str(plain), "-o", str(packed)], check=True, timeout=120)
                stored = self.cache.add(key, packed.name, packed, executable=False)
        return _link(stored, OUT / "k3s-images.tar.zst")

    def probe(self) -> Path:
        """The image :data:`PROBE`, for the tests of the stand-in itself."""
        program = self._local(POD_PROBE)
        key = _key("probe", {"probe": digest(program)}, PROBE)
        if (stored := self.cache.lookup(key, self.report)) is None:
            with self.cache.scratch() as scratch:
                out = scratch / "probe.tar"
                write_archive([image_archive.image(PROBE, program, "probe", "", scratch)], out)
                stored = self.cache.add(key, out.name, out, executable=False)
        return _link(stored, OUT / "probe.tar")

    def _local(self, program: local_go.Program) -> Path:
        return local_go.build(program, self.cache, self.report)

    def _pinned(self, names: Mapping[str, str]) -> dict[str, Path]:
        store = Store(self.cache, load_pins(HERE / "pins.toml"), Sources(("module",)))
        found = store.ensure(list(names.values()), self.report)
        return {name: found[pin].path for name, pin in names.items()}


def _key(what: str, digests: Mapping[str, str], more: str) -> str:
    code: Sequence[Path] = sorted(HERE.glob("*.py"))
    sources = hashlib.sha256(b"".join(path.read_bytes() for path in code)).hexdigest()
    return "testbed " + json.dumps([what, sorted(digests.items()), more, sources])


def _link(stored: Stored, place: Path) -> Path:
    """Make ``place`` a link to the cached file, in one step."""
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh = place.with_name(f".{place.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(stored.path)
    fresh.replace(place)
    return place
