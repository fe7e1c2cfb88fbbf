"""Which images there are, and how each is made: names, layers, users; and the cache that they are made into."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from tests.testbed.images import oci, trees

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]
BUILD_IMAGE = "quay.io/binder-node-testbed/repo2docker:2026.4.0"
BASE_IMAGE = "docker.io/binder-node/base:1"
HUB_IMAGE = "quay.io/binder-node-testbed/k8s-hub:5.5.4"
PROXY_IMAGE = "quay.io/binder-node-testbed/configurable-http-proxy:5.3.0"
BINDER_IMAGE = "quay.io/binder-node-testbed/k8s-binderhub:1"
PATH = "/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """One image: ``fill`` makes its own layer's folder, over the Debian layer.

    ``inputs`` are files and folders beside ``trees.py`` whose contents its layer's cache key covers.
    """

    name: str
    fill: Callable[[Path], None]
    inputs: tuple[str, ...] = ()
    owners: Mapping[str, int] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] = ("/usr/bin/tini", "--")
    command: tuple[str, ...] = ()
    user: str = ""
    workdir: str = "/"


PRELOADED = (
    Recipe(
        HUB_IMAGE,
        trees.hub,
        ("requirements/hub.txt",),
        owners={"srv/jupyterhub": 1000},
        command=("jupyterhub",),
        user="1000",
        workdir="/srv/jupyterhub",
    ),
    Recipe(PROXY_IMAGE, trees.proxy, ("requirements/proxy.txt", "requirements/proxy"), user="65534"),
    Recipe(
        BINDER_IMAGE,
        trees.binder,
        ("requirements/binder.txt", "../binder"),
        entrypoint=("/usr/bin/tini", "--", "python", "-m", "binderhub"),
    ),
    Recipe(BUILD_IMAGE, trees.build, ("requirements/build.txt", "repo2docker_testbed.py"), entrypoint=()),
)
BASE = Recipe(
    BASE_IMAGE, trees.base, ("requirements/base.txt",), entrypoint=(), command=("jupyter-notebook", "--ip=0.0.0.0"),
    user="1000", workdir="/home/jovyan", env={"HOME": "/home/jovyan", "USER": "jovyan", "NB_UID": "1000"},
)  # fmt: skip


def cache() -> Path:
    """The testbed's part of binder-node's cache (``BINDER_NODE_CACHE``, else the user's cache folder)."""
    root = os.environ.get("BINDER_NODE_CACHE")
    return (Path(root) if root else platformdirs.user_cache_path("binder-node")) / "testbed"


def build_image(recipe: Recipe, report: Report) -> oci.Image:
    """Make an image, or take its layers from the cache."""
    own = _layer(recipe, report)
    return oci.Image(
        names=(recipe.name,),
        layers=(_debian(report), own),
        env={"PATH": PATH, "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1", **recipe.env},
        entrypoint=recipe.entrypoint,
        command=recipe.command,
        user=recipe.user,
        workdir=recipe.workdir,
    )


def build_archive(name: str, recipes: tuple[Recipe, ...], report: Report) -> Path:
    """Make one importable archive of several images, and link it as ``build/testbed/<name>.tar``; returns the link."""
    images = [build_image(recipe, report) for recipe in recipes]
    key = hashlib.sha256("".join(oci.sha256(image.manifest()) for image in images).encode()).hexdigest()[:16]
    archive = cache() / "images" / f"{name}-{key}.tar"
    if not archive.exists():
        oci.write_archive(images, archive)
        report(f"{name}.tar: {len(images)} images, {archive.stat().st_size / 1e6:.0f} MB")
    link = REPOSITORY / "build/testbed" / f"{name}.tar"
    link.parent.mkdir(parents=True, exist_ok=True)
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.symlink_to(archive)
    fresh.rename(link)
    return link


def _layer(recipe: Recipe, report: Report) -> oci.Layer:
    key = _key(recipe.name, Path(trees.__file__), *(HERE / name for name in recipe.inputs))
    path = cache() / "layers" / f"{key}.tar.zst"
    if path.exists():
        return oci.Layer.load(path)
    began = time.monotonic()
    report(f"{recipe.name}: building")
    with trees.scratch() as tree:
        recipe.fill(tree)
        layer = oci.write_layer(oci.tree_members(tree, recipe.owners), path)
    report(f"{recipe.name}: {layer.size / 1e6:.1f} MB in {time.monotonic() - began:.0f} s")
    return layer


def _debian(report: Report) -> oci.Layer:
    key = hashlib.sha256(repr((trees.PACKAGES, trees.DROPPED, "bookworm", "jovyan")).encode()).hexdigest()[:16]
    path = cache() / "layers" / f"debian-{key}.tar.zst"
    if path.exists():
        return oci.Layer.load(path)
    began = time.monotonic()
    report("debian 12: mmdebstrap")
    with trees.scratch() as there:
        trees.debian(there / "root.tar")
        layer = oci.write_layer(oci.archive_members(there / "root.tar", trees.DROPPED), path)
    report(f"debian 12: {layer.size / 1e6:.1f} MB in {time.monotonic() - began:.0f} s")
    return layer


def _key(name: str, *inputs: Path) -> str:
    digest = hashlib.sha256(name.encode())
    for at in inputs:
        for path in sorted(at.rglob("*")) if at.is_dir() else [at]:
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(path.relative_to(at.parent).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
