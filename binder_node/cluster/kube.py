"""The node's Kubernetes API from the operator's machine: its kubeconfig, and one look by the node's own kubectl.

The API is closed to the world; whoever wants it goes through :func:`binder_node.remote.tunnel`.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from binder_node import remote
from binder_node.errors import StepError
from binder_node.layout import API_PORT, K3S_KUBECONFIG
from binder_node.node import Access

# Of each request: connect, read. A watch says its own.
TIMEOUT = (5.0, 30.0)
RETRIES = 3


def fetch_kubeconfig(access: Access) -> str:
    """K3s's own kubeconfig as it lies on the node now: its certificates are renewed there, so it is never kept.

    Raises:
        StepError: ssh failed, or K3s never ran there.
    """
    done = remote.run(access, f"{sudo(access)}cat {K3S_KUBECONFIG}", timeout=30, check=False)
    if done.code != 0 or not done.stdout.strip():
        raise StepError(
            access.name, "fetch the kubeconfig", done.stderr or "it is empty", f"run `binder-node up {access.name}`"
        )
    return done.stdout


def sudo(access: Access) -> str:
    """What a command that needs root begins with."""
    return "" if access.user == "root" else "sudo -n "


def kubeconfig(text: str, server: str, name: str) -> str:
    """``text`` with ``server`` for the API's URL, and cluster, user and context called ``name``. Pure."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = 1 << 20  # certificates stay on one line
    found = yaml.load(text)
    cluster, user = found["clusters"][0]["cluster"], found["users"][0]["user"]
    cluster["server"] = server
    made = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "binder"}}],
        "current-context": name,
    }
    out = StringIO()
    yaml.dump(made, out)
    return out.getvalue()


@dataclass(frozen=True, slots=True)
class Cluster:
    """An open way to the API: ``config`` is a kubeconfig file (0600) that is gone with it."""

    name: str
    config: Path
    server: str


@contextlib.contextmanager
def reached(access: Access, runtime: Path) -> Iterator[Cluster]:
    """Open a tunnel and write a kubeconfig for it into ``runtime``, for the block.

    Raises:
        StepError, DeadlineError: the machine or its API cannot be reached.
    """
    text = fetch_kubeconfig(access)
    with remote.tunnel(access, API_PORT) as port, tempfile.TemporaryDirectory(dir=runtime, prefix="kube-") as folder:
        server = f"https://127.0.0.1:{port}"
        file = Path(folder) / "config"
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as out:
            out.write(kubeconfig(text, server, access.name))
        yield Cluster(access.name, file, server)


@contextlib.contextmanager
def client(cluster: Cluster) -> Iterator[Any]:
    """A ``kubernetes.client.ApiClient``, its retries bounded. Give each request ``_request_timeout=TIMEOUT``."""
    import kubernetes
    import urllib3

    library: Any = kubernetes  # it has no types to speak of
    settings = library.client.Configuration()
    library.config.load_kube_config(str(cluster.config), client_configuration=settings)
    settings.retries = urllib3.Retry(RETRIES, backoff_factor=0.2)
    api = library.client.ApiClient(settings)
    try:
        yield api
    finally:
        api.close()
