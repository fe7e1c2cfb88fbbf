"""A whole builder for the engine's tests: containerd, a registry with a password, buildkitd, and repo2docker."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from minio import Minio

from binder_node.cluster.engine.files import engine_files
from binder_node.host.registry import CHUNK, WHOLE_COPY
from binder_node.spec.model import Machine, Spec
from binder_node.spec.sizing import defaults
from tests.integration.binaries import binary
from tests.integration.servers import Server, free_port, listening

REPO2DOCKER = "jupyter-repo2docker==2026.4.0"
# `push` with password `push-password`, hashed with bcrypt (Distribution takes nothing else).
HTPASSWD = "push:$2b$05$zvzqzZLQadRtcNGasYSWMutc6kxXPCJxE7TnzZRSbqStMU32t31K6"
PASSWORD = "push-password"
# What a base image needs for the steps of these tests.
TOOLS = ("sh", "cat", "cp", "date", "dd", "head", "sleep", "stat", "tail")


def engine_spec(**buildkit: object) -> Spec:
    """A small node's Spec, whose builds never wait for this machine's disk unless told to."""
    machine = {"cpus": 2, "memory": "8G", "disk": "40G"}
    names = {"binder": "binder.example.org"}
    computed = defaults(Machine.model_validate(machine), names)
    return Spec.model_validate(
        {
            "name": "node",
            "provider": {"kind": "local"},
            "machine": machine,
            "names": {**computed["names"], **names},
            "tls": {"mode": "none"},
            "storage": {"kind": "node"},
            "kubernetes": {**computed["kubernetes"], "evict_below": 1},
            "buildkit": {**computed["buildkit"], "wait_below": 1, **buildkit},
            "binderhub": computed["binderhub"],
            "metrics": computed["metrics"],
        }
    )


def _healthy(minio: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"http://{minio}/minio/health/ready").status_code == httpx.codes.OK
    return False


@dataclass(frozen=True)
class Bucket:
    """Where a MinIO for the registry listens; ``within``: the command that runs it there."""

    host: str = "127.0.0.1"
    within: tuple[str, ...] = ()


@dataclass
class Builder:
    """The running parts, and repo2docker as BinderHub's build pod calls it."""

    folder: Path
    registry_name: str
    registry: Server
    buildkitd: Server
    engine: Path
    python: Path
    environment: dict[str, str]

    def repository(self, name: str, dockerfile: str, files: dict[str, str] | None = None) -> Path:
        """A git repository with one commit. ``{base}`` in ``dockerfile`` is the base image."""
        path = self.folder / "repositories" / name
        path.mkdir(parents=True)
        base = f"{self.registry_name}/base/small:1"
        for file, text in {"Dockerfile": dockerfile.format(base=base), **(files or {})}.items():
            (path / file).parent.mkdir(parents=True, exist_ok=True)
            (path / file).write_text(text)
        git = ["git", "-C", str(path), "-c", "user.name=Test", "-c", "user.email=test@example.org"]
        for arguments in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "One"]):
            subprocess.run([*git, *arguments], check=True)
        return path

    def start(self, repository: Path, *extra: str) -> subprocess.Popen[str]:
        """What BinderHub runs in a build pod, on a commit of ``repository``."""
        ref = subprocess.check_output(["git", "-C", str(repository), "rev-parse", "HEAD"], text=True).strip()
        command = [
            str(self.python.parent / "jupyter-repo2docker"),
            f"--config={self.engine / 'etc/repo2docker.py'}",
            "--engine=buildctl",
            f"--ref={ref}",
            f"--image={self.image(repository)}",
            *("--no-clean", "--no-run", "--json-logs", "--user-name=jovyan", "--user-id=1000", "--push"),
            *extra,
            f"file://{repository}",
        ]
        return subprocess.Popen(
            command,
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def build(self, repository: Path, *extra: str) -> Log:
        process = self.start(repository, *extra)
        output, _ = process.communicate(timeout=300)
        return Log(process.returncode, output)

    def image(self, repository: Path) -> str:
        return f"{self.registry_name}/binder/{repository.name}:1"

    def manifest(self, repository: Path) -> httpx.Response:
        """The registry's answer to what BinderHub asks before it launches."""
        return httpx.get(
            f"http://{self.registry_name}/v2/binder/{repository.name}/manifests/1",
            headers={"Accept": "application/vnd.oci.image.manifest.v1+json"},
            auth=("push", PASSWORD),
        )


@dataclass(frozen=True)
class Log:
    """What a build pod would have logged."""

    code: int
    output: str

    @property
    def messages(self) -> list[dict[str, str]]:
        lines = [line for line in self.output.splitlines() if line.startswith("{")]
        return [json.loads(line) for line in lines]

    @property
    def text(self) -> str:
        return "".join(message["message"] for message in self.messages)

    @property
    def failed(self) -> list[str]:
        return [message["message"].strip() for message in self.messages if message.get("phase") == "failed"]


def _configurations(folder: Path, registry: str, worker: str, bucket: str) -> dict[str, str]:
    socket_path = folder / "containerd.sock"
    storage: dict[str, object] = {"filesystem": {"rootdirectory": str(folder / "registry")}}
    if bucket:
        s3 = {"region": "us-east-1", "regionendpoint": f"http://{bucket}", "bucket": "registry", "secure": False}
        s3 |= {"forcepathstyle": True, "encrypt": False, "chunksize": CHUNK, "multipartcopythresholdsize": WHOLE_COPY}
        storage = {"s3": {**s3, "accesskey": "a-test", "secretkey": PASSWORD}, "redirect": {"disable": True}}
    return {
        "htpasswd": HTPASSWD + "\n",
        "containerd.toml": f"""
version = 3
root = "{folder}/containerd"
state = "{folder}/state"
disabled_plugins = ["io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri"]
[grpc]
address = "{socket_path}"
[ttrpc]
address = "{socket_path}.ttrpc"
""",
        "registry.yaml": json.dumps(
            {
                "version": "0.1",
                "storage": storage,
                "http": {"addr": registry, "secret": "of-a-test"},
                "auth": {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}},
            }
        ),
        "buildkitd.toml": f"""
root = "{folder}/buildkit"
[grpc]
address = ["unix://{folder}/run/buildkitd.sock"]
{_worker(folder, worker)}
[registry."{registry}"]
http = true
""",
    }


def _worker(folder: Path, worker: str) -> str:
    common = f'networkMode = "host"\ndefaultCgroupParent = "/{folder.name}-builds"'
    if worker == "oci":
        return f"[worker.containerd]\nenabled = false\n[worker.oci]\n{common}"
    return f"""
[worker.oci]
enabled = false
[worker.containerd]
address = "{folder}/containerd.sock"
namespace = "k8s.io"
{common}
"""


def _base_image(
    folder: Path, buildctl: Path, registry: str, environment: dict[str, str], more: Mapping[str, Path]
) -> None:
    """Push an image of this machine's own shell and a few tools, with the libraries they need, and ``more`` folders."""
    root = folder / "base"
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found, tool
        wanted = [found, *(word for word in subprocess.getoutput(f"ldd {found}").split() if word.startswith("/"))]
        for path in map(Path, wanted):
            target = root / "root" / (f"bin/{tool}" if path == Path(found) else str(path).lstrip("/"))
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path.resolve(), target)
    for place, source in more.items():
        shutil.copytree(source, root / "root" / place, symlinks=True)
    (root / "Dockerfile").write_text("FROM scratch\nCOPY root /\n")
    subprocess.run(
        [
            *(str(buildctl), "build", "--frontend=dockerfile.v0", f"--local=context={root}"),
            *(f"--local=dockerfile={root}", "--output"),
            f"type=image,name={registry}/base/small:1,push=true,oci-mediatypes=true",
        ],
        check=True,
        env=environment,
        capture_output=True,
        timeout=300,
    )


def _sweep(folder: Path) -> None:
    """End the steps that a killed buildkitd left behind: containerd keeps them. Their shims name our socket."""
    mine = str(folder / "containerd.sock")
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = entry.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if mine in arguments and "-id" in arguments:
            os.kill(int(entry.parent.name), signal.SIGTERM)
    steps = sorted(Path("/sys/fs/cgroup").glob(f"**/{folder.name}-builds/buildkit/*/cgroup.procs"))
    for pid in {pid for step in steps for pid in step.read_text().split()}:
        os.kill(int(pid), signal.SIGKILL)
    time.sleep(0.5 if steps else 0)
    for mounted in Path("/proc/self/mounts").read_text().splitlines():
        where = mounted.split()[1]
        if where.startswith(f"{folder}/"):
            subprocess.run(["umount", "-l", where], check=False, capture_output=True)
    groups = Path("/sys/fs/cgroup").glob(f"**/{folder.name}-builds")
    for group in sorted({path.parent for top in groups for path in top.rglob("cgroup.procs")}, reverse=True):
        with suppress(OSError):
            group.rmdir()


def _repo2docker(folder: Path) -> Path:
    """repo2docker in an environment of its own, as in the build image: nothing of binder-node is there."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("needs uv, to install repo2docker")
    environment = folder / "repo2docker"
    for command in (["venv", "-q", str(environment)], ["pip", "install", "-q", "-p", str(environment), REPO2DOCKER]):
        done = subprocess.run([uv, *command], capture_output=True, text=True, check=False, timeout=300)
        if done.returncode:
            pytest.skip(f"cannot install {REPO2DOCKER}: {done.stderr[-300:]}")
    return environment / "bin/python"


@contextmanager
def builder(
    folder: Path, worker: str = "containerd", more: Mapping[str, Path] | None = None, *, bucket: Bucket | None = None
) -> Iterator[Builder]:
    """Everything up, base image pushed; everything gone afterwards.

    ``worker`` is BuildKit's; ``more`` are folders that the base image has beside the tools, by their place in it;
    ``bucket``: the registry lies on MinIO, as a node's does, and not in a folder.
    """
    if os.geteuid() != 0:
        pytest.skip("needs root, for containerd")
    buildctl = binary("buildctl")
    registry = f"127.0.0.1:{free_port()}"
    s3 = f"{bucket.host}:{free_port()}" if bucket else ""
    for name, text in _configurations(folder, registry, worker, s3).items():
        (folder / name).write_text(text)
    for name, contents in engine_files(engine_spec(worker=worker)).items():
        (folder / "engine" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "engine" / name).write_bytes(contents)
    (folder / "engine/bin").mkdir(exist_ok=True)
    (folder / "tmp").mkdir()
    (folder / "engine/bin/buildctl").symlink_to(buildctl)
    # containerd looks for its shim beside itself.
    (folder / "bin").mkdir()
    (folder / "bin/containerd").symlink_to(binary("containerd"))
    shim = binary("containerd-shim-runc-v2", "shim")
    (folder / "bin/containerd-shim-runc-v2").symlink_to(shim)
    host = f"unix://{folder}/run/buildkitd.sock"
    asks = [str(buildctl), "--addr", host, "debug", "workers"]
    parts = [
        Server(
            "containerd",
            ["env", f"PATH={folder}/bin:{os.environ['PATH']}", "containerd", "-c", f"{folder}/containerd.toml"],
            folder,
            lambda: (folder / "containerd.sock").exists(),
        ),
        Server(
            "registry",
            [str(binary("registry")), "serve", f"{folder}/registry.yaml"],
            folder,
            lambda: listening(int(registry.split(":")[1])),
        ),
        Server(
            "buildkitd",
            [str(binary("buildkitd")), "--config", f"{folder}/buildkitd.toml"],
            folder,
            lambda: subprocess.run(asks, capture_output=True, check=False).returncode == 0,
        ),
    ]
    if bucket:
        login_of = ["env", "MINIO_ROOT_USER=a-test", f"MINIO_ROOT_PASSWORD={PASSWORD}"]
        serve = [*bucket.within, str(binary("minio")), "server", "--quiet", "--address", s3, str(folder / "registry")]
        parts.insert(0, Server("minio", [*login_of, *serve], folder, lambda: _healthy(s3)))
    credentials = {"registry": registry, "username": "push", "password": PASSWORD}
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder / "tmp"),
        "BUILDKIT_HOST": host,
        "BINDER_NODE_ENGINE": str(folder / "engine"),
        "PYTHONPATH": str(folder / "engine/site"),
        "PYTHONWARNINGS": "ignore",
        "REPO2DOCKER_CONTENT_PROVIDERS": "Local,Git",
        "CONTAINER_ENGINE_REGISTRY_CREDENTIALS": json.dumps(credentials),
        "GIT_CONFIG_GLOBAL": "/dev/null",
    }
    try:
        for part in parts:
            part.start()
            if part.name == "minio":
                Minio(s3, access_key="a-test", secret_key=PASSWORD, secure=False).make_bucket(bucket_name="registry")
        login = folder / "login"
        login.mkdir()
        answer = {"username": "push", "password": PASSWORD}
        (login / "config.json").write_text(json.dumps({"auths": {registry: answer}}))
        _base_image(folder, buildctl, registry, {**environment, "DOCKER_CONFIG": str(login)}, more or {})
        shutil.rmtree(login)
        python = _repo2docker(folder)
        servers = {part.name: part for part in parts}
        yield Builder(
            folder, registry, servers["registry"], servers["buildkitd"], folder / "engine", python, environment
        )
    finally:
        for part in reversed(parts):
            part.stop()
        _sweep(folder)
