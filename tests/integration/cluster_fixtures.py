"""A Kubernetes API of one's own, a node's sshd in front of it, and a controller that calls Deployments ready."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from binder_node import remote
from binder_node.cluster.manifests import manifests
from binder_node.node import Access
from binder_node.secrets import generate
from binder_node.spec.model import Spec
from tests.integration.binaries import binary

TOKEN = "token-of-a-test"
START_SECONDS = 60.0


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def process(argv: list[str], log: Path, **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A child process for the block, its output in ``log``."""
    with log.open("wb") as out:
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, **more)
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(10)


def wait(what: str, ready: Callable[[], bool], log: Path, seconds: float = START_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, f"{what} did not come up:\n{log.read_text()[-3000:]}"
        time.sleep(0.1)


@dataclass
class Api:
    """A real API server: no scheduler, no kubelet, no controllers. ``kubeconfig`` is as K3s writes its own."""

    folder: Path
    port: int
    kubeconfig: Path = field(init=False)

    def __post_init__(self) -> None:
        self.kubeconfig = self.folder / "k3s.yaml"

    def kubectl(self, *args: str, given: str | None = None) -> str:
        done = subprocess.run(
            [str(binary("kube")), "kubectl", "--kubeconfig", str(self.kubeconfig), *args],
            input=given,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextmanager
def api(folder: Path) -> Iterator[Api]:
    """kine on SQLite and kube-apiserver on free ports of loopback."""
    kube = binary("kube")
    found, store = Api(folder, free_port()), free_port()
    signing = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    key = folder / "service.key"
    key.write_bytes(signing.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    (folder / "tokens.csv").write_text(f"{TOKEN},admin,admin,system:masters\n")
    database = f"sqlite://{folder}/db.sqlite?_pragma=busy_timeout(30000)&_pragma=journal_mode(WAL)&_txlock=immediate"
    with ExitStack() as stack:
        kine_argv = [f"--listen-address=127.0.0.1:{store}", f"--endpoint={database}", "--metrics-bind-address=0"]
        stack.enter_context(process([str(kube), "kine", *kine_argv], folder / "kine.log"))
        wait("kine", lambda: _open(store), folder / "kine.log")
        stack.enter_context(process([str(kube), *_flags(folder, key, found.port, store)], folder / "api.log"))
        certificate = folder / "certs/apiserver.crt"
        wait("the API server", lambda: certificate.exists() and _open(found.port), folder / "api.log")
        found.kubeconfig.write_text(_kubeconfig(certificate, found.port))
        wait("the API server", lambda: _ready(found), folder / "api.log")
        yield found


def _flags(folder: Path, key: Path, port: int, store: int) -> list[str]:
    return [
        "kube-apiserver",
        f"--etcd-servers=http://127.0.0.1:{store}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={folder}/certs",
        f"--token-auth-file={folder}/tokens.csv",
        "--authorization-mode=RBAC",
        "--disable-admission-plugins=ServiceAccount",
        "--service-cluster-ip-range=10.43.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        "--profiling=false",
    ]


def _kubeconfig(certificate: Path, port: int) -> str:
    import base64

    authority = base64.b64encode(certificate.read_bytes()).decode()
    return f"""\
apiVersion: v1
kind: Config
clusters:
- name: default
  cluster: {{server: "https://127.0.0.1:{port}", certificate-authority-data: {authority}}}
contexts:
- name: default
  context: {{cluster: default, user: default}}
current-context: default
users:
- name: default
  user: {{token: {TOKEN}}}
"""


def _open(port: int) -> bool:
    with socket.socket() as knock:
        return knock.connect_ex(("127.0.0.1", port)) == 0


def _ready(found: Api) -> bool:
    argv = [str(binary("kube")), "kubectl", "--kubeconfig", str(found.kubeconfig), "get", "--raw", "/readyz"]
    return subprocess.run(argv, capture_output=True, timeout=30, check=False).returncode == 0


@contextmanager
def node_of(found: Api, name: str) -> Iterator[Access]:
    """A real sshd for a node called ``name``, on whose PATH ``k3s kubectl`` asks ``found``."""
    daemon = shutil.which("sshd") or "/usr/sbin/sshd"
    folder = found.folder / "node"
    (folder / "bin").mkdir(parents=True)
    host, login = generate.private_key(), generate.private_key()
    _write(folder / "host_key", host)
    _write(folder / "authorized_keys", generate.public_key(login) + "\n")
    shim = folder / "bin/k3s"
    shim.write_text(
        f'#!/bin/sh\nshift\nexec {binary("kube")} kubectl --kubeconfig {found.kubeconfig} "$@"\n', encoding="utf-8"
    )
    shim.chmod(0o755)
    port = free_port()
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nPermitRootLogin yes\nPasswordAuthentication no\n"
        f"SetEnv PATH={folder}/bin:/usr/bin:/bin\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    access = Access(
        name=name,
        address="127.0.0.1",
        port=port,
        user="root",
        identity=folder / "access/key",
        known_hosts=folder / "access/known_hosts",
        config=folder / "access/config",
    )
    remote.write_access(access, login, generate.public_key(host))
    with process([daemon, "-D", "-e", "-f", str(folder / "sshd_config")], folder / "sshd.log"):
        remote.wait_for_ssh(access, 20)
        try:
            yield access
        finally:
            subprocess.run(
                ["ssh", "-F", str(access.config), "-O", "exit", name], capture_output=True, timeout=10, check=False
            )


def _write(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as out:
        out.write(text)


def apply_manifests(found: Api, spec: Spec, address: str) -> None:
    """What K3s does with its manifests folder, after its own kinds."""
    kinds = Path(__file__).parents[1] / "testbed/k3s/manifests/crds.yaml"
    found.kubectl("apply", "-f", str(kinds))
    found.kubectl("wait", "--for=condition=established", "--timeout=20s", "-f", str(kinds))
    found.kubectl("apply", "-f", "-", given=manifests(spec, address))


@contextmanager
def deployments_ready(found: Api) -> Iterator[None]:
    """For the block, every Deployment has all its pods, as soon as it is there."""
    done = threading.Event()

    def mark() -> None:
        while not done.wait(0.2):
            shown = '{range .items[*]}{.metadata.name} {.metadata.generation} {.spec.replicas}{"\\n"}{end}'
            for line in found.kubectl("get", "deployments", "-n", "binder", "-o", f"jsonpath={shown}").splitlines():
                name, generation, replicas = line.split()
                set_status(found, name, int(generation), int(replicas))

    thread = threading.Thread(target=mark)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(60)


def set_status(found: Api, name: str, generation: int, ready: int) -> None:
    """What the Deployment controller would write."""
    import json

    counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    status = {"observedGeneration": generation, **dict.fromkeys(counts, ready)}
    found.kubectl(
        "patch", "deployment", name, "-n", "binder", "--subresource=status", "--type=merge", "-p",
        json.dumps({"status": status}),
    )  # fmt: skip
