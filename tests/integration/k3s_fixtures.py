"""A bare machine with the k3s stand-in on it and nothing else of the product's."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from binder_node import remote
from binder_node.events import silent
from binder_node.node import Access, Node
from binder_node.providers.local.stage import LocalMachine
from binder_node.secrets.generate import generate
from binder_node.spec.load import load
from tests.node.harness import make_home
from tests.testbed.build.stand_in import PROBE, Builder

K3S = "/var/lib/rancher/k3s"
UNIT = """\
[Service]
Type=notify
KillMode=process
Delegate=yes
LimitNOFILE=1048576
TasksMax=infinity
TimeoutStartSec=180
Restart=always
RestartSec=1
ExecStart=/usr/local/bin/k3s server
"""


@dataclass(frozen=True)
class Machine:
    """The machine; every method raises when the command behind it fails."""

    access: Access

    def sh(self, script: str, *, timeout: float = 60, check: bool = True) -> remote.Result:
        return remote.run(self.access, script, timeout=timeout, check=check)

    def write(self, path: str, text: str) -> None:
        remote.run(self.access, f"mkdir -p $(dirname '{path}') && cat > '{path}'", input=text)

    def kubectl(self, command: str, *, timeout: float = 60) -> str:
        return self.sh(f"k3s kubectl {command}", timeout=timeout).stdout

    def apply(self, *objects: dict[str, Any]) -> None:
        stream = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        remote.run(self.access, "k3s kubectl apply --server-side --force-conflicts -f -", input=stream)

    def ready(self, namespace: str) -> None:
        self.kubectl(f"wait -n {namespace} --for=condition=Ready pod --all --timeout=60s", timeout=70)

    def probe(self, namespace: str, pod: str, command: str) -> remote.Result:
        """What the test program says in a pod; its exit code tells."""
        return self.sh(f"k3s kubectl exec -n {namespace} {pod} -- /probe {command}", check=False)


def pod(namespace: str, name: str, *args: str, **spec: Any) -> dict[str, Any]:
    """A pod of the test program."""
    container = {"name": "probe", "image": PROBE, "imagePullPolicy": "Never", "args": list(args)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container], **spec},
    }


def named(kind: str, namespace: str, name: str, api: str = "v1", **more: Any) -> dict[str, Any]:
    """An object with the usual metadata."""
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": namespace}, **more}


def within(seconds: float, what: str, holds: Callable[[], object]) -> None:
    """Wait for something that the cluster brings about on its own time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.2)


@contextmanager
def bare_machine(folder: Path, name: str, network: str) -> Iterator[Machine]:
    """A machine of the local provider with the stand-in's files in place, the unit not started."""
    builder = Builder(silent)
    binary, images, probe = builder.k3s(), builder.images(), builder.probe()
    home = make_home(folder, name, network)
    runtime = folder / "run"
    runtime.mkdir()
    spec = load(home.inventory)
    provider = LocalMachine(Node(spec, generate(), {}, {}, runtime))
    try:
        provider.apply(provider.inspect(silent), silent)
        access = provider.access(provider.inspect(silent))
        assert access is not None
        machine = Machine(access)
        # As on a node: the image store lies on the state folder, since no overlay goes on an overlay.
        machine.sh(f"mkdir -p {spec.machine.state}/rancher /var/lib/rancher")
        machine.sh(f"mount --bind {spec.machine.state}/rancher /var/lib/rancher")
        machine.sh(f"mkdir -p {K3S}/agent/images && sed -i '/127.0.1.1/d' /etc/hosts")
        machine.sh(f"echo {network}.20 {name} >> /etc/hosts")
        remote.upload(access, binary, "/usr/local/bin/k3s", mode=0o755)
        remote.upload(access, images, f"{K3S}/agent/images/k3s-images.tar.zst")
        remote.upload(access, probe, f"{K3S}/agent/images/probe.tar")
        machine.write("/etc/systemd/system/k3s.service", UNIT)
        yield machine
    finally:
        provider.destroy(silent)
