"""The stand-in for K3s's airgap images: pause, CoreDNS, Traefik, each a static program in an otherwise empty image."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from tests.testbed.images.oci import EPOCH, Image, write_archive, write_layer

PAUSE = "docker.io/rancher/mirrored-pause:3.6"
NOBODY = "65532:65532"  # what the real images of CoreDNS and pause run as


def image(name: str, program: Path, target: str, user: str, folder: Path) -> Image:
    """``program`` as ``/target`` in an image called ``name``; its layer is kept in ``folder``."""
    layer = write_layer(_members(program, target), folder / f"{target}.tar.zst")
    return Image((name,), (layer,), env={"PATH": "/"}, entrypoint=(f"/{target}",), user=user)


def _members(program: Path, target: str) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    for folder in ("tmp", "etc"):
        info = tarfile.TarInfo(folder)
        info.type, info.mode, info.mtime = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755, EPOCH
        yield info, None
    info = tarfile.TarInfo(target)
    info.size, info.mode, info.mtime = program.stat().st_size, 0o755, EPOCH
    yield info, program.open("rb")


def write_images(programs: Mapping[str, Path], names: Mapping[str, str], out: Path, scratch: Path) -> None:
    """Write the archive to ``out``. ``programs`` and ``names`` are by ``pause``, ``coredns``, ``traefik``."""
    users = {"pause": "65535:65535", "coredns": "", "traefik": NOBODY}
    images = [image(names[key], programs[key], key, users[key], scratch) for key in users]
    write_archive(images, out)
