"""What users' code must not reach, tried from where it runs: a program for its Python, and what it printed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass

from binder_node.layout import API_PORT, CACHE_PORT, MINIO_PORT, PULL_PORT, PUSH_PORT
from binder_node.spec.model import Spec

# The kubelet's two, and containerd's metrics as K3s serves them.
KUBELET, KUBELET_READ_ONLY, CONTAINERD_METRICS = 10250, 10255, 1338
METADATA = "169.254.169.254"
# Services of the release that a user's server is meant to use: the hub's API, and the proxy (JupyterHub's own policy).
USERS_OWN = ("hub", "proxy-public")
MARK = "PROBED "
KNOCK_SECONDS = 3

# Side by side: what drops packets costs the whole wait.
_PROGRAM = """
import json, socket
from concurrent.futures import ThreadPoolExecutor
def knock(target):
    what, address, port = target
    with socket.socket() as plug:
        plug.settimeout({seconds})
        try:
            plug.connect((address, port))
            return what, "reached"
        except OSError as error:
            return what, type(error).__name__
targets = json.loads({targets!r})
with ThreadPoolExecutor(max_workers=len(targets)) as pool:
    print({mark!r} + json.dumps(dict(pool.map(knock, targets))), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Target:
    """A TCP port at an address; ``what`` is what an operator calls it, and unlike any other's."""

    what: str
    address: str
    port: int


def node_targets(spec: Spec, address: str) -> tuple[Target, ...]:
    """What of the node itself neither a user's server nor a build may reach, under every address that it has."""
    services = {
        "registry, push rights": PUSH_PORT,
        "registry, pull": PULL_PORT,
        "cache of Docker Hub": CACHE_PORT,
        "MinIO": MINIO_PORT,
        "kubelet": KUBELET,
        "API": API_PORT,
        "ssh": spec.ssh.port,
    }
    where = {
        "node": address,
        "pod gateway": str(spec.kubernetes.pod_network[1]),
        "build gateway": str(spec.buildkit.network[1]),
    }
    return (
        *(Target(f"{what} at the {name}", at, port) for what, port in services.items() for name, at in where.items()),
        Target("API's service", str(spec.kubernetes.service_network[1]), 443),
        Target("metadata", METADATA, 80),
        Target("kubelet, read only", address, KUBELET_READ_ONLY),
        Target("containerd's metrics", address, CONTAINERD_METRICS),
    )


def service_targets(services: Mapping[str, tuple[str, int]], spared: Sequence[str] = ()) -> tuple[Target, ...]:
    """The release's Services, ``{name: (address, port)}``, but for the ``spared`` ones."""
    return tuple(
        Target(f"Service {name}", address, port)
        for name, (address, port) in sorted(services.items())
        if name not in spared
    )


def program(targets: Iterable[Target]) -> str:
    """Python source that knocks at every target at once and prints one line that :func:`probed` reads."""
    asked = json.dumps([astuple(target) for target in targets])
    return _PROGRAM.format(seconds=KNOCK_SECONDS, targets=asked, mark=MARK)


def probed(text: str) -> dict[str, str]:
    """What the program printed, wherever in ``text`` it stands: ``reached`` or an error's name by each target's
    ``what``; empty where it printed nothing.

    >>> probed('#9 0.4 PROBED {"MinIO": "reached", "ssh": "ConnectionRefusedError"} ...')
    {'MinIO': 'reached', 'ssh': 'ConnectionRefusedError'}
    """
    for line in text.splitlines():
        _, mark, rest = line.partition(MARK + "{")
        if mark:
            found: dict[str, str] = json.JSONDecoder().raw_decode("{" + rest)[0]
            return found
    return {}


def reached(found: Mapping[str, str]) -> list[str]:
    """What let itself be reached, of what was tried."""
    return [what for what, outcome in found.items() if outcome == "reached"]
