"""The cache of Docker Hub with the product's own configuration: real Distribution on real MinIO, and real buildkitd.

Docker Hub itself is a stand-in: another Distribution, whose address stands in its images' names.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import subprocess
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import pytest
from ruamel.yaml import YAML

from binder_node.host.hubcache import LOGIN, TOKEN, hubcache
from binder_node.host.text import yaml_text
from binder_node.layout import CACHE_PORT, HUB_CACHE
from binder_node.secrets.masked import Masked
from binder_node.smoke import judge_registry as judge
from binder_node.smoke.on_node import registry as on_node
from binder_node.smoke.registry import answers
from binder_node.storage import bucket
from binder_node.storage.endpoint import Endpoint, client
from tests.integration.binaries import binary
from tests.integration.servers import Server, free_port, listening
from tests.integration.test_storage_minio import running
from tests.unit.host_samples import sample_secrets, sample_spec, sample_wanted

pytestmark = pytest.mark.integration

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
IMAGE = "library/base"
# Of the stand-in that wants a login; bcrypt of `push-password`.
USER, PASSWORD = "bids", "push-password"
HTPASSWD = f"{USER}:$2b$05$zvzqzZLQadRtcNGasYSWMutc6kxXPCJxE7TnzZRSbqStMU32t31K6\n"


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with running(tmp_path_factory.mktemp("minio"), "root", Masked("root-password-of-a-test")) as endpoint:
        bucket.make(endpoint)
        yield endpoint


@dataclass
class Lab:
    """``hub`` is the stand-in for Docker Hub, ``cache`` the node's."""

    folder: Path
    endpoint: Endpoint
    hub: Server
    hub_port: int
    cache: Server
    cache_port: int

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.hub_port}/{IMAGE}"

    def asked(self) -> list[str]:
        """Methods and paths of what the stand-in was asked, pings left out."""
        lines = re.findall(r'"([A-Z]+) (/v2/[^ ?]+)', self.hub.log.read_text())
        return [f"{method} {path.removeprefix(f'/v2/{IMAGE}/').partition('/')[0]}" for method, path in lines]

    def since(self, before: list[str]) -> list[str]:
        return self.asked()[len(before) :]

    def kept(self) -> list[str]:
        return bucket.names_below(self.endpoint, HUB_CACHE)

    def build(self, source: str) -> subprocess.CompletedProcess[str]:
        """Build on ``source``, by a buildkitd that never saw it."""
        with buildkitd(self, secrets.token_hex(4)) as address:
            context = self.folder / "context"
            context.mkdir(exist_ok=True)
            (context / "Dockerfile").write_text(f"FROM {source}\nCOPY Dockerfile /\n")
            out = self.folder / "built.tar"
            out.unlink(missing_ok=True)
            done = buildctl(address, context, f"type=tar,dest={out}")
            if done.returncode == 0:
                listed = subprocess.check_output(["tar", "tf", str(out)], text=True).split()
                assert {"Dockerfile", "layer"} <= {name.removeprefix("./") for name in listed}
            return done


def buildctl(address: str, context: Path, output: str) -> subprocess.CompletedProcess[str]:
    words = ["build", "--frontend=dockerfile.v0", f"--local=context={context}", f"--local=dockerfile={context}"]
    command = [str(binary("buildctl")), "--addr", address, *words, "--progress=plain", "--output", output]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@contextmanager
def buildkitd(made: Lab, name: str) -> Iterator[str]:
    """With the node's own registries, as its buildkitd.toml has them; its address."""
    folder = made.folder / name
    folder.mkdir()
    spec = sample_spec(registry={"cache_days": 7})
    (text,) = (
        file.content.decode()
        for component in sample_wanted(spec).components
        for file in component.files
        if file.path.endswith("buildkitd.toml")
    )
    entries = tomllib.loads(text)["registry"]
    assert entries["docker.io"] == {"mirrors": [f"127.0.0.1:{CACHE_PORT}"]}
    assert entries[f"127.0.0.1:{CACHE_PORT}"] == {"http": True}
    cache, hub = f"127.0.0.1:{made.cache_port}", f"127.0.0.1:{made.hub_port}"
    (folder / "buildkitd.toml").write_text(
        f'root = "{folder}/root"\n[grpc]\naddress = ["unix://{folder}/socket"]\n'
        '[worker.containerd]\nenabled = false\n[worker.oci]\nsnapshotter = "native"\nnetworkMode = "host"\n'
        f'[registry."{hub}"]\nmirrors = ["{cache}"]\nhttp = true\n[registry."{cache}"]\nhttp = true\n'
    )
    address = f"unix://{folder}/socket"
    asks = [str(binary("buildctl")), "--addr", address, "debug", "workers"]
    server = Server(
        "buildkitd",
        [str(binary("buildkitd")), "--config", f"{folder}/buildkitd.toml"],
        folder,
        lambda: subprocess.run(asks, capture_output=True, check=False).returncode == 0,
    )
    try:
        server.start()
        yield address
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def hub_server(folder: Path, port: int, *, login: bool = False) -> Server:
    config: dict[str, object] = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(folder / "hub")}},
        "http": {"addr": f"127.0.0.1:{port}", "secret": "of-a-test"},
    }
    if login:
        (folder / "htpasswd").write_text(HTPASSWD)
        config["auth"] = {"htpasswd": {"realm": "hub", "path": str(folder / "htpasswd")}}
    (folder / "hub.yaml").write_text(json.dumps(config))
    return Server("hub", [str(binary("registry")), "serve", str(folder / "hub.yaml")], folder, lambda: listening(port))


def cache_server(folder: Path, endpoint: Endpoint, hub: int, port: int, *, user: str = "") -> Server:
    """As ``up`` writes it, but for ports, keys and places."""
    storage = {"kind": "s3", "endpoint": endpoint.url, "bucket": endpoint.bucket}
    registry = {"cache_days": 7, "cache_from": f"http://127.0.0.1:{hub}", "cache_user": user}
    known = sample_secrets().model_copy(update={"tokens": {TOKEN: Masked(PASSWORD)} if user else {}})
    files = {file.path: file for file in hubcache(sample_spec(storage=storage, registry=registry), known).files}
    (config,) = (YAML(typ="safe").load(file.content) for path, file in files.items() if path.endswith(".yaml"))
    config["http"]["addr"] = f"127.0.0.1:{port}"
    config["storage"]["s3"] |= {"accesskey": endpoint.access_key, "secretkey": endpoint.secret_key.reveal()}
    login = folder / "login"
    login.write_bytes(files[LOGIN].content)
    login.chmod(files[LOGIN].mode)
    config["proxy"] |= {"exec": {"command": str(login)}}
    (folder / "cache.yaml").write_bytes(yaml_text(config))
    command = ["env", "-u", "AWS_CA_BUNDLE", str(binary("registry")), "serve", str(folder / "cache.yaml")]
    return Server("cache", command, folder, lambda: listening(port))


def push_base(made: Lab) -> None:
    """An image with a layer of its own, by buildkitd to the stand-in."""
    context = made.folder / "base"
    context.mkdir()
    (context / "layer").write_bytes(secrets.token_bytes(200_000))
    (context / "Dockerfile").write_text("FROM scratch\nCOPY layer /\n")
    with buildkitd(made, "push") as address:
        done = buildctl(address, context, f"type=image,name={made.name}:1,push=true,oci-mediatypes=true")
    assert done.returncode == 0, done.stderr


@pytest.fixture
def made(tmp_path: Path, minio: Endpoint) -> Iterator[Lab]:
    hub, cache = free_port(), free_port()
    lab = Lab(tmp_path, minio, hub_server(tmp_path, hub), hub, cache_server(tmp_path, minio, hub, cache), cache)
    try:
        lab.hub.start()
        push_base(lab)
        lab.cache.start()
        yield lab
    finally:
        lab.cache.stop()
        lab.hub.stop()
        bucket.remove_below(minio, [HUB_CACHE, "docker/"])


def ok(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr[-2000:]


def test_what_was_pulled_once_is_pulled_again_without_a_pull_from_the_hub(made: Lab) -> None:
    before = made.asked()
    ok(made.build(f"{made.name}:1"))
    first = made.since(before)
    assert first.count("GET manifests") == 1
    assert "GET blobs" in first
    assert [name for name in made.kept() if name.endswith("/data")]
    assert bucket.names_below(made.endpoint, "docker/") == []

    before = made.asked()
    ok(made.build(f"{made.name}:1"))
    # Which digest the tag has now: Docker Hub counts no HEAD.
    assert set(made.since(before)) == {"HEAD manifests"}
    digest = httpx.head(
        f"http://127.0.0.1:{made.hub_port}/v2/{IMAGE}/manifests/1", headers={"Accept": MANIFEST}
    ).headers["docker-content-digest"]
    before = made.asked()
    ok(made.build(f"{made.name}@{digest}"))
    assert made.since(before) == []


def test_the_hub_is_away(made: Lab) -> None:
    ok(made.build(f"{made.name}:1"))
    made.hub.stop()
    ok(made.build(f"{made.name}:1"))
    # After a restart of the node, too.
    made.cache.stop()
    made.cache.start()
    ok(made.build(f"{made.name}:1"))


def test_the_cache_is_away(made: Lab) -> None:
    made.cache.stop()
    before = made.asked()
    ok(made.build(f"{made.name}:1"))
    assert "GET blobs" in made.since(before)
    assert made.kept() == []


def test_its_bucket_is_away(made: Lab) -> None:
    """Distribution answers, and knows that it cannot."""
    ok(made.build(f"{made.name}:1"))
    made.cache.stop()
    gone = Endpoint("test", f"http://127.0.0.1:{free_port()}", "us-east-1", "registry", "key", Masked("secret"))
    made.cache = cache_server(made.folder, gone, made.hub_port, made.cache_port)
    made.cache.start()  # as at a node's first `up`, where host comes before bucket
    ok(made.build(f"{made.name}:1"))


def test_it_takes_no_pushes_and_smoke_tells_whether_the_hub_answers(made: Lab) -> None:
    def smoke() -> list[str]:
        url = f"http://127.0.0.1:{made.cache_port}"
        question = {"cache": url, "logins": {}, "own": {"cache": True}}
        found = {one.name: on_node.ask(question, asdict(one)) for one in judge.CACHE}
        told, spec = answers(json.dumps({"addresses": [], **found})), sample_spec()
        return [trouble.reason for trouble in (*judge.cache(told, spec), judge.hub(told, spec)) if trouble]

    assert smoke() == []
    made.hub.stop()
    (reason,) = smoke()
    assert "gets no answer from Docker Hub" in reason


def test_what_the_buckets_rule_removed_from_under_it_is_pulled_anew(made: Lab) -> None:
    ok(made.build(f"{made.name}:1"))
    store = client(made.endpoint)
    for name in made.kept():
        if name.endswith("/data"):
            store.remove_object(bucket_name=made.endpoint.bucket, object_name=name)
    ok(made.build(f"{made.name}:1"))
    assert [name for name in made.kept() if name.endswith("/data")]


def test_it_logs_in_at_the_hub(tmp_path: Path, minio: Endpoint) -> None:
    hub, port = free_port(), free_port()
    server, cache = hub_server(tmp_path, hub, login=True), cache_server(tmp_path, minio, hub, port, user=USER)
    try:
        server.start()
        data = b"{}"
        at = f"http://127.0.0.1:{hub}/v2/{IMAGE}"
        with httpx.Client(auth=(USER, PASSWORD)) as http:
            where = httpx.URL(http.post(f"{at}/blobs/uploads/").raise_for_status().headers["location"])
            digest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
            http.put(where.copy_add_param("digest", digest), content=data).raise_for_status()
        blob = f"/v2/{IMAGE}/blobs/{digest}"
        assert httpx.get(f"http://127.0.0.1:{hub}{blob}").status_code == 401
        cache.start()
        assert httpx.get(f"http://127.0.0.1:{port}{blob}").content == data
        time.sleep(0.1)
        assert PASSWORD not in cache.log.read_text() + (tmp_path / "cache.yaml").read_text()
    finally:
        cache.stop()
        server.stop()
        bucket.remove_below(minio, [HUB_CACHE])
