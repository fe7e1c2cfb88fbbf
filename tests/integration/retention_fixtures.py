"""A real registry on a real MinIO, with the product's own configuration; a person who pushes as BuildKit does."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from ruamel.yaml import YAML

from binder_node.host import on_node
from binder_node.host import retention as component
from binder_node.host.registry import READ_ONLY, registry
from binder_node.host.text import yaml_text
from binder_node.layout import PUSH_USER
from binder_node.storage import bucket
from binder_node.storage.endpoint import Endpoint, client
from tests.integration.binaries import binary
from tests.integration.servers import Server, free_port, listening
from tests.unit.host_samples import sample_artifacts, sample_secrets, sample_spec

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+zstd"
SECOND = 1 / 86400
# Stands in for journalctl: the registry's output, a line a place, with the time at which it is asked for where the line
# tells none.
JOURNAL = """
import json, sys, time
from datetime import datetime
start = next((int(word[9:]) for word in sys.argv[2:] if word.startswith("--cursor=")), 0)
lines = open(sys.argv[1], encoding="utf-8", errors="replace").read().splitlines()
for number, line in enumerate(lines):
    if number >= start:
        said = line.partition("[")[2].partition("]")[0]
        try:
            at = datetime.strptime(said, "%d/%b/%Y:%H:%M:%S %z").timestamp()
        except ValueError:
            at = time.time()
        print(json.dumps({"__CURSOR": str(number), "__REALTIME_TIMESTAMP": str(int(at * 1e6)), "MESSAGE": line}))
"""


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Image:
    """``layers`` are their bytes, the config the last."""

    name: str
    layers: list[bytes]
    tag: str = "1"

    @property
    def manifest(self) -> bytes:
        described = [{"mediaType": LAYER, "digest": digest(data), "size": len(data)} for data in self.layers]
        config = {**described[-1], "mediaType": "application/vnd.oci.image.config.v1+json"}
        return json.dumps(
            {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": described[:-1]}
        ).encode()


def image(name: str, *layers: bytes, tag: str = "1") -> Image:
    """With these layers and a config of its own."""
    return Image(name, [*layers, json.dumps({"own": secrets.token_hex(8)}).encode()], tag)


class Refused(Exception):
    """The registry did not take it; ``status`` 0 where nobody answered."""

    def __init__(self, step: str, status: int) -> None:
        self.step, self.status = step, status
        super().__init__(f"{step}: {status}")


@dataclass
class Lab:
    """The bucket, the registry that takes pushes, and what the program is told."""

    folder: Path
    endpoint: Endpoint
    port: int
    server: Server
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def login(self) -> tuple[str, str]:
        return PUSH_USER, sample_secrets().registry_push_password.reveal()

    # --- the registry ---

    def restart(self, *, read_only: bool) -> float:
        """As host/retention.py's shell does; seconds."""
        began = time.monotonic()
        self.server.stop()
        name = "readonly" if read_only else "push"
        self.server.command = [str(binary("registry")), "serve", str(self.folder / f"{name}.yaml")]
        self.server.start()
        return time.monotonic() - began

    def push(self, one: Image, *, pause: float = 0.0, mount: str = "") -> list[str]:
        """Once, as containerd pushes: what is there is not sent; with ``pause`` seconds before the manifest, ``mount``
        from that repository. Returns the digests that were there already. Raises Refused."""
        there = []
        with httpx.Client(base_url=self.url, auth=self.login, timeout=20) as http:
            try:
                for data in one.layers:
                    if http.head(f"/v2/{one.name}/blobs/{digest(data)}").status_code == 200:
                        there.append(digest(data))
                        continue
                    query = f"?mount={digest(data)}&from={mount}" if mount else ""
                    begun = http.post(f"/v2/{one.name}/blobs/uploads/{query}")
                    if begun.status_code == 201:
                        there.append(digest(data))
                        continue
                    if begun.status_code != 202:
                        raise Refused("begin an upload", begun.status_code)
                    where = httpx.URL(begun.headers["location"]).copy_add_param("digest", digest(data))
                    sent = http.put(where, content=data, headers={"Content-Type": "application/octet-stream"})
                    if sent.status_code != 201:
                        raise Refused("upload", sent.status_code)
                time.sleep(pause)
                put = http.put(
                    f"/v2/{one.name}/manifests/{one.tag}", content=one.manifest, headers={"Content-Type": MANIFEST}
                )
                if put.status_code != 201:
                    raise Refused("put the manifest", put.status_code)
            except httpx.HTTPError:
                raise Refused("reach it", 0) from None
        return there

    def push_until_taken(self, one: Image, pause: float, mount: str, seconds: float = 60) -> list[str]:
        """As the engine does: again from its beginning; why it was refused in between."""
        refused, until = [], time.monotonic() + seconds
        while True:
            try:
                self.push(one, pause=pause, mount=mount)
            except Refused as error:
                refused.append(str(error))
                assert time.monotonic() < until, refused
                time.sleep(0.2)
            else:
                return refused

    def delete(self, one: Image) -> None:
        answer = httpx.delete(f"{self.url}/v2/{one.name}/manifests/{digest(one.manifest)}", auth=self.login)
        assert answer.status_code == 202, answer.text

    def launched(self, one: Image) -> int:
        """BinderHub's question before each launch."""
        return httpx.get(
            f"{self.url}/v2/{one.name}/manifests/{one.tag}", auth=self.login, headers={"Accept": MANIFEST}
        ).status_code

    def pulls(self, one: Image) -> bool:
        """Everything of it downloads, and is what was pushed."""
        with httpx.Client(base_url=self.url, auth=self.login, timeout=20) as http:
            got = http.get(f"/v2/{one.name}/manifests/{one.tag}", headers={"Accept": MANIFEST})
            if got.status_code != 200 or got.content != one.manifest:
                return False
            found = [http.get(f"/v2/{one.name}/blobs/{digest(data)}") for data in one.layers]
        return all(answer.content == data for answer, data in zip(found, one.layers, strict=True))

    # --- the bucket and the program ---

    def objects(self, prefix: str = "docker/") -> list[str]:
        there = client(self.endpoint).list_objects(bucket_name=self.endpoint.bucket, prefix=prefix, recursive=True)
        return [str(one.object_name) for one in there]

    def blob(self, data: bytes) -> str:
        hexadecimal = digest(data).partition(":")[2]
        return f"docker/registry/v2/blobs/sha256/{hexadecimal[:2]}/{hexadecimal}/data"

    def config(self) -> dict[str, Any]:
        spec = sample_spec(storage={"kind": "s3", "endpoint": self.endpoint.url, "bucket": self.endpoint.bucket})
        return {
            **component.configuration(spec, sample_secrets()),
            "access_key": self.endpoint.access_key,
            "secret_key": self.endpoint.secret_key.reveal(),
            "state": str(self.folder),
            "machine_id": str(self.folder / "machine-id"),
            "journal": [sys.executable, str(self.folder / "journal.py"), str(self.server.log)],
            "push": {"url": self.url, "user": self.login[0], "password": self.login[1]},
            "grace": 0,
            **self.more,
        }

    def run(self, command: str, **more: Any) -> subprocess.CompletedProcess[str]:
        self.more = more
        (self.folder / "retention.json").write_text(json.dumps(self.config()))
        where = Path(on_node.__file__).parent
        argv = [sys.executable, "-m", f"{where.name}.retention", str(self.folder / "retention.json"), command]
        return subprocess.run(argv, cwd=where.parent, capture_output=True, text=True, check=False, timeout=120)

    def collect(self, **more: Any) -> tuple[list[str], float]:
        """All of a run of the unit; what it said, and seconds in which nobody could push."""
        said = [self.run("mark", **more)]
        if not (self.folder / "plan.json").exists():
            return words(said), 0.0
        began = time.monotonic()
        self.restart(read_only=True)
        said.append(self.run("sweep", **more))
        self.restart(read_only=False)
        return words(said), time.monotonic() - began


def words(done: Sequence[subprocess.CompletedProcess[str]]) -> list[str]:
    for one in done:
        assert one.returncode == 0, one.stderr
    return [one.stdout.strip() for one in done]


@contextmanager
def lab(folder: Path, endpoint: Endpoint) -> Iterator[Lab]:
    """On an empty bucket of ``endpoint``, whose key is its root's."""
    bucket.make(endpoint)
    port = free_port()
    (folder / "journal.py").write_text(JOURNAL)
    (folder / "machine-id").write_text(secrets.token_hex(16))
    spec = sample_spec(storage={"kind": "s3", "endpoint": endpoint.url, "bucket": endpoint.bucket})
    files = {file.path: file.content for file in registry(spec, sample_secrets(), sample_artifacts()).files}
    for path, content in files.items():
        name = {READ_ONLY: "readonly.yaml", "/etc/binder-node/registry-push.yaml": "push.yaml"}.get(path)
        if name:
            config = YAML(typ="safe").load(content)
            config["http"]["addr"] = f"127.0.0.1:{port}"
            config["auth"]["htpasswd"]["path"] = str(folder / "htpasswd")
            config["storage"]["s3"] |= {
                "accesskey": endpoint.access_key,
                "secretkey": endpoint.secret_key.reveal(),
            }
            (folder / name).write_bytes(yaml_text(config))
    (folder / "htpasswd").write_bytes(files["/etc/binder-node/registry-push.htpasswd"])
    os.environ.pop("AWS_CA_BUNDLE", None)
    server = Server("registry", [], folder, lambda: listening(port))
    made = Lab(folder, endpoint, port, server)
    try:
        made.restart(read_only=False)
        yield made
    finally:
        server.stop()
        bucket.remove_below(endpoint, ["docker/", "binder-node-uses/"])
