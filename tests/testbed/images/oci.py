"""A small, deterministic writer of OCI image layouts: zstd layers from folders, images over shared layers.

The same folder gives the same digest, so that a layer which several images share lies once in an archive, in
containerd's content store and in a registry.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+zstd"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"

EPOCH = 1_790_000_000  # every time stamp of what is made here: some day in September 2026
CREATED = "2026-09-21T00:00:00Z"
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Layer:
    """One compressed layer in a file. ``digest`` and ``size`` (bytes) are the file's, ``diff_id`` the plain tar's."""

    path: Path
    digest: str
    diff_id: str
    size: int

    @classmethod
    def load(cls, path: Path) -> Layer:
        """The layer that :func:`write_layer` left at ``path``. Raises ``FileNotFoundError``."""
        kept = json.loads(path.with_suffix(".json").read_text())
        return cls(path, kept["digest"], kept["diff_id"], kept["size"])


@dataclass(frozen=True, slots=True)
class Image:
    """An image: its fully qualified names, layers from the bottom up, and the runtime part of its config."""

    names: tuple[str, ...]
    layers: tuple[Layer, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    user: str = ""
    workdir: str = "/"

    def config(self) -> bytes:
        """The image's config as OCI JSON."""
        return _json(
            {
                "created": CREATED,
                "architecture": "amd64",
                "os": "linux",
                "config": {
                    "User": self.user,
                    "Env": [f"{key}={value}" for key, value in self.env.items()],
                    "Entrypoint": list(self.entrypoint),
                    "Cmd": list(self.command),
                    "WorkingDir": self.workdir,
                },
                "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in self.layers]},
                "history": [{"created": CREATED, "created_by": "tests.testbed.images"} for _ in self.layers],
            }
        )

    def manifest(self) -> bytes:
        """The image's manifest as OCI JSON; its digest is the image's."""
        config = self.config()
        return _json(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": {"mediaType": CONFIG_TYPE, "digest": sha256(config), "size": len(config)},
                "layers": [
                    {"mediaType": LAYER_TYPE, "digest": layer.digest, "size": layer.size} for layer in self.layers
                ],
            }
        )


def sha256(data: bytes) -> str:
    """``sha256:<hex>`` of some bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def write_layer(members: Iterable[tuple[tarfile.TarInfo, IO[bytes] | None]], path: Path, level: int = 6) -> Layer:
    """Write tar members as a zstd layer to ``path``, its digests beside it in a ``.json``. Replaces both atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    plain = hashlib.sha256()
    with part.open("wb") as out:
        zstd = subprocess.Popen(["zstd", "-q", "-c", "-T0", f"-{level}"], stdin=subprocess.PIPE, stdout=out)
        assert zstd.stdin is not None  # it was asked for
        with tarfile.open(fileobj=_Tee(zstd.stdin, plain), mode="w|", format=tarfile.PAX_FORMAT) as tar:
            for info, content in members:
                tar.addfile(info, content)
                if content is not None:
                    content.close()
        zstd.stdin.close()
        if zstd.wait():
            raise RuntimeError(f"zstd ended with {zstd.returncode} while writing {path}")
    digest, size = _file_digest(part), part.stat().st_size
    layer = Layer(path, digest, "sha256:" + plain.hexdigest(), size)
    path.with_suffix(".json").write_text(json.dumps({k: v for k, v in asdict(layer).items() if k != "path"}))
    part.rename(path)
    return layer


def tree_members(
    tree: Path, owners: Mapping[str, int] | None = None
) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    """The members of a folder, sorted, with one time stamp, owned by root.

    ``owners`` gives other uids (gid 0 stays, but for 1000, whose group is 100 as in Jupyter's images) by path prefix
    relative to ``tree``.
    """
    for path in sorted(tree.rglob("*")):
        name = path.relative_to(tree).as_posix()
        info = tarfile.TarInfo(name)
        stat = path.lstat()
        info.mode, info.mtime = stat.st_mode & 0o7777, EPOCH
        info.uid = next((uid for at, uid in (owners or {}).items() if name == at or name.startswith(at + "/")), 0)
        info.gid = 100 if info.uid == 1000 else 0
        content: IO[bytes] | None = None
        if path.is_symlink():
            info.type, info.linkname, info.mode = tarfile.SYMTYPE, str(path.readlink()), 0o777
        elif path.is_dir():
            info.type = tarfile.DIRTYPE
        else:
            info.size = stat.st_size
            content = path.open("rb")
        yield info, content


def archive_members(archive: Path, drop: tuple[str, ...]) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    """The members of a root file system's tar, without device nodes and what lies below one of ``drop``."""
    with tarfile.open(archive) as tar:
        for info in tar:
            name = info.name.removeprefix("./").rstrip("/")
            if name in ("", ".") or info.isdev() or any(name.startswith(at) for at in drop):
                continue
            info.name = name
            info.linkname = info.linkname.removeprefix("./") if info.islnk() else info.linkname
            info.pax_headers = {}
            yield info, tar.extractfile(info) if info.isreg() else None


def write_archive(images: Iterable[Image], path: Path) -> None:
    """Write images as one OCI layout in a tar, importable by containerd and Docker; layers are stored once.

    The tar is not compressed again: its layers are.
    """
    images = list(images)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    written: set[str] = set()
    with tarfile.open(part, "w", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add(tar, "index.json", _index(images))
        for image in images:
            for data in (image.manifest(), image.config()):
                _add_blob(tar, written, sha256(data), len(data), io.BytesIO(data))
            for layer in image.layers:
                with layer.path.open("rb") as content:
                    _add_blob(tar, written, layer.digest, layer.size, content)
    part.rename(path)


def _index(images: Iterable[Image]) -> bytes:
    descriptors = []
    for image in images:
        manifest = image.manifest()
        for name in image.names:
            descriptors.append(
                {
                    "mediaType": MANIFEST_TYPE,
                    "digest": sha256(manifest),
                    "size": len(manifest),
                    "platform": {"architecture": "amd64", "os": "linux"},
                    "annotations": {
                        "io.containerd.image.name": name,
                        "org.opencontainers.image.ref.name": name.rpartition(":")[2],
                    },
                }
            )
    return _json({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": descriptors})


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = len(data), EPOCH, 0o644
    tar.addfile(info, io.BytesIO(data))


def _add_blob(tar: tarfile.TarFile, written: set[str], digest: str, size: int, content: IO[bytes]) -> None:
    if digest in written:
        return
    written.add(digest)
    info = tarfile.TarInfo("blobs/" + digest.replace(":", "/"))
    info.size, info.mtime, info.mode = size, EPOCH, 0o644
    tar.addfile(info, content)


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


class _Tee(io.RawIOBase):
    """Writes to a pipe and hashes what goes through."""

    def __init__(self, out: IO[bytes], digest: Any) -> None:
        super().__init__()
        self._out, self._digest = out, digest

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._digest.update(data)
        self._out.write(data)
        return len(data)
