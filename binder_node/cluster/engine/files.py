"""What lies in the engine's folder on the node, but for ``buildctl`` itself (an artifact, at ``bin/buildctl``)."""

from __future__ import annotations

from importlib.resources import files
from string import Template

from binder_node import __version__, layout
from binder_node.spec.model import Spec

PACKAGE = "binder_node_engine"

_METADATA = """\
Metadata-Version: 2.1
Name: binder-node-engine
Version: {version}
Summary: A repo2docker engine that builds with a standalone BuildKit
Requires-Python: >=3.10
"""
_ENTRY_POINTS = f"[repo2docker.engines]\nbuildctl = {PACKAGE}.engine:BuildctlEngine\n"

_CONFIG = Template("""\
# repo2docker's configuration in a build pod; written by binder-node from the node's inventory.
import os

c.BuildctlEngine.registry_insecure = True  # over loopback only: buildkitd pushes to the registry on its own host
c.BuildctlEngine.unpack = $unpack
c.BuildctlEngine.memory_limit = $memory
c.BuildctlEngine.disk_limit = $disk
c.BuildctlEngine.wait_below_percent = $wait_below
c.BuildctlEngine.stop_below_percent = $stop_below

# Where a build must not ask the internet which content provider fits (repo2docker's Dataverse provider fetches a
# list for any address), name the ones to try: REPO2DOCKER_CONTENT_PROVIDERS=Local,Git. Usually unset: all of them.
if os.environ.get("REPO2DOCKER_CONTENT_PROVIDERS"):
    from repo2docker import contentproviders

    c.Repo2Docker.content_providers = [
        getattr(contentproviders, name) for name in os.environ["REPO2DOCKER_CONTENT_PROVIDERS"].split(",")
    ]
""")


def engine_files(spec: Spec) -> dict[str, bytes]:
    """Relative path -> contents of everything that the product writes into ``<state>/engine``, world-readable.

    ``site/`` is put on the build pod's PYTHONPATH: the package and the metadata by which repo2docker finds it.
    ``bin/guard.py`` is for the node itself (:mod:`.guard`).
    """
    here = files("binder_node.cluster.engine")
    package = here / "site" / PACKAGE
    found = {
        f"site/{PACKAGE}/{file.name}": file.read_bytes()
        for file in sorted(package.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".py")
    }
    about = f"site/{PACKAGE}-{__version__}.dist-info"
    texts = {
        f"{about}/METADATA": _METADATA.format(version=__version__),
        f"{about}/entry_points.txt": _ENTRY_POINTS,
        "etc/repo2docker.py": engine_config(spec),
    }
    found[layout.BUILD_GUARD] = (here / "guard.py").read_bytes()
    return found | {path: text.encode() for path, text in texts.items()}


def engine_config(spec: Spec) -> str:
    """``etc/repo2docker.py``: the engine's settings of this node."""
    return _CONFIG.substitute(
        unpack=spec.buildkit.worker == "containerd",
        memory=int(spec.buildkit.memory),
        disk=int(spec.buildkit.disk),
        wait_below=spec.buildkit.wait_below,
        stop_below=stop_below(spec.buildkit.wait_below, spec.kubernetes.evict_below),
    )


# The kubelet looks every ten seconds; what is left between the two is what a running build may write meanwhile.
BEFORE_EVICTION = 3


def stop_below(wait: int, evict: int) -> float:
    """Free space in percent below which a running build is ended: just above where the kubelet wipes what is unused.

    >>> stop_below(15, 8), stop_below(24, 8), stop_below(10, 8)
    (11, 11, 9.0)
    """
    return min(evict + BEFORE_EVICTION, (wait + evict) / 2)
