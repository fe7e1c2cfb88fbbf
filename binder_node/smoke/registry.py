"""Asking the node's registries from the node itself: one round trip, under the names that images have."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import secrets
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

from binder_node.host.asking import answered
from binder_node.layout import CACHE_PORT, PULL_PORT, PULL_USER, PUSH_USER, registry_name
from binder_node.node import Access, Node
from binder_node.smoke.checks import RESERVED

if TYPE_CHECKING:
    from binder_node.storage.endpoint import Endpoint

MANIFEST, INDEX = "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"
CONFIG, LAYER = "application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar"
SECONDS = 60
# Of the layer that is pushed and pulled: more than one packet, less than anybody notices.
LAYER_BYTES = 1 << 20

Side = Literal["push", "pull", "cache"]
Login = Literal["", "push", "pull", "nobody"]


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: ``name`` is the answer's; ``at`` the instance, ``login`` whose password is shown, if any's."""

    name: str
    at: Side
    login: Login = ""
    path: str = "/v2/"
    method: str = "GET"
    accept: str = ""
    body: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """``status`` 0: nobody answered. ``reason`` is what a refusal said, ``sha256`` of what came, ``digest`` what the
    registry calls it, ``step`` which step of a push this was."""

    status: int = 0
    reason: str = "was not asked"
    type: str = ""
    digest: str = ""
    size: int = 0
    sha256: str = ""
    body: str = field(default="", repr=False)
    step: str = ""

    def __str__(self) -> str:
        return f"HTTP {self.status} {self.reason}".strip() if self.status else f"no answer: {self.reason}"


@dataclass(frozen=True, slots=True)
class Answers:
    """What the node's registries answered by the asks' names; ``addresses`` are those of the registry's name there."""

    addresses: tuple[str, ...]
    by_name: Mapping[str, Answer]

    def __getitem__(self, name: str) -> Answer:
        return self.by_name.get(name, Answer())


@dataclass(frozen=True, slots=True)
class Image:
    """A small image of random bytes, which no store has seen: config and one layer, and the manifest over them."""

    repository: str
    tag: str
    manifest: bytes
    blobs: tuple[bytes, ...]

    @property
    def digest(self) -> str:
        return digest(self.manifest)


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def fresh_image(repository: str, arch: str) -> Image:
    """An image that was never anywhere. ``arch`` is Go's name of the machine's: ``amd64``, ``arm64``."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        about = tarfile.TarInfo("binder-node-smoke")
        about.size = LAYER_BYTES
        tar.addfile(about, io.BytesIO(secrets.token_bytes(LAYER_BYTES)))
    layer = packed.getvalue()
    config = _json(
        {"architecture": arch, "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [digest(layer)]}}
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": digest(config), "size": len(config)},
            "layers": [{"mediaType": LAYER, "digest": digest(layer), "size": len(layer)}],
        }
    )
    return Image(repository, "probe", manifest, (config, layer))


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True).encode()


def ask(
    node: Node,
    access: Access,
    asks: Sequence[Ask],
    image: Image | None = None,
    at: Side = "push",
    login: Login = "push",
) -> Answers:
    """Ask the registries of ``node``; with ``image``, push it first to ``at`` as ``login`` (the answer ``pushed``).

    Raises:
        StepError, DeadlineError: the machine does not run the program, or does not end it.
    """
    question: dict[str, Any] = {
        "push": f"http://{registry_name(node.spec.names.registry)}",
        "pull": f"http://127.0.0.1:{PULL_PORT}",
        "cache": f"http://127.0.0.1:{CACHE_PORT}",
        "logins": {
            "push": [PUSH_USER, node.secrets.registry_push_password.reveal()],
            "pull": [PULL_USER, node.secrets.registry_pull_password.reveal()],
            "nobody": [PUSH_USER, secrets.token_hex(8)],
        },
        "asks": [asdict(one) for one in asks],
    }
    if image is not None:
        question["image"] = {
            "at": at,
            "login": login,
            "repository": image.repository,
            "tag": image.tag,
            "type": MANIFEST,
            "manifest": base64.b64encode(image.manifest).decode(),
            "blobs": [base64.b64encode(blob).decode() for blob in image.blobs],
        }
    script = (files("binder_node.smoke.on_node") / "registry.py").read_text(encoding="utf-8")
    # Passwords go in by stdin.
    step, remedy = "ask the registries from the node", "it needs python3"
    asked = json.dumps(question)
    return answers(answered(access, script, asked, timeout=SECONDS, step=step, remedy=remedy, root=False))


def answers(text: str) -> Answers:
    """What the program printed. Pure."""
    found = json.loads(text)
    addresses = tuple(found.pop("addresses"))
    return Answers(addresses, {name: Answer(**{"reason": "", **about}) for name, about in found.items()})


# --- what of an image lies where ---------------------------------------------------------------------------------


def repository_of(image: str) -> tuple[str, str]:
    """Repository and tag of an image's full name.

    >>> repository_of("registry.example.org:5000/binder/x:abc")
    ('binder/x', 'abc')
    """
    name, _, tag = image.rpartition(":")
    return name.partition("/")[2], tag


def blobs_of(manifest: Mapping[str, Any]) -> dict[str, int]:
    """Digest and size of the config and the layers."""
    parts = [manifest.get("config") or {}, *(manifest.get("layers") or ())]
    return {part["digest"]: int(part.get("size", 0)) for part in parts if part.get("digest")}


def own_layers(manifest: Mapping[str, Any], config: Mapping[str, Any], marker: str) -> list[str]:
    """Digests of the layers whose step in the config's history names ``marker``: nobody else's image has these.

    Where history and layers do not agree there are none.
    """
    steps = [one for one in config.get("history") or () if not one.get("empty_layer")]
    layers = manifest.get("layers") or ()
    if len(steps) != len(layers):
        return []
    return [layer["digest"] for layer, step in zip(layers, steps, strict=True) if marker in step.get("created_by", "")]


# Distribution's layout in a bucket (registry/storage/paths.go, v3), below the driver's root.
ROOT = "docker/registry/v2"


def repository_objects(repository: str) -> str:
    """Prefix of the bucket's objects of a whole repository, but for its blobs."""
    return f"{ROOT}/repositories/{repository}/"


def image_objects(repository: str, tag: str, manifest: str, blobs: Sequence[str]) -> Iterator[str]:
    """Prefixes of the objects that only one image has: its tag, its manifest (by digest), its own ``blobs``.

    >>> next(image_objects("binder/x", "abc", "sha256:dd", ["sha256:ee"]))
    'docker/registry/v2/repositories/binder/x/_manifests/tags/abc/'
    """
    root = repository_objects(repository)
    yield f"{root}_manifests/tags/{tag}/"
    yield f"{root}_manifests/revisions/{manifest.replace(':', '/')}/"
    yield from (f"{root}_layers/{one.replace(':', '/')}/" for one in blobs)
    yield from blob_objects([manifest, *blobs])


def blob_objects(digests: Sequence[str]) -> Iterator[str]:
    """Prefixes of blobs' objects.

    >>> list(blob_objects(["sha256:abcd"]))
    ['docker/registry/v2/blobs/sha256/ab/abcd/']
    """
    for one in digests:
        algorithm, _, hexadecimal = one.partition(":")
        yield f"{ROOT}/blobs/{algorithm}/{hexadecimal[:2]}/{hexadecimal}/"


def forget(node: Node, access: Access, prefixes: Sequence[str]) -> None:
    """Remove the bucket's objects below ``prefixes``.

    Raises:
        StepError, DeadlineError: the bucket cannot be reached, or refuses.
    """
    from binder_node.storage.bucket import remove_below
    from binder_node.storage.stage import StorageStage

    with StorageStage(node, access).endpoint() as endpoint:
        remove_below(endpoint, prefixes)


def sweep(node: Node, access: Access, gone: Callable[[str], bool]) -> None:
    """:func:`swept` of the node's own bucket.

    Raises:
        StepError, DeadlineError: the bucket cannot be reached, or refuses.
    """
    from binder_node.storage.stage import StorageStage

    with StorageStage(node, access).endpoint() as endpoint:
        swept(endpoint, gone)


def swept(endpoint: Endpoint, gone: Callable[[str], bool]) -> None:
    """Remove reserved repositories whose name ``gone`` takes, with their blobs, which are nobody else's.

    Raises:
        StepError, DeadlineError: the bucket cannot be reached, or refuses.
    """
    from binder_node.storage.bucket import names_below, remove_below

    names = names_below(endpoint, repository_objects(RESERVED))
    left = {repository for name in names if gone(repository := reserved_repository(name))}
    links = [name for name in names if reserved_repository(name) in left]
    digests = sorted({linked for name in links if (linked := linked_blob(name))})
    # Blobs first: without the links nobody would find them again.
    remove_below(endpoint, [*blob_objects(digests), *map(repository_objects, sorted(left))])


def reserved_repository(name: str) -> str:
    """The reserved repository that an object belongs to.

    >>> reserved_repository("docker/registry/v2/repositories/binder-node-smoke/1-a/_layers/sha256/ee/link")
    'binder-node-smoke/1-a'
    """
    return "/".join(name.removeprefix(f"{ROOT}/repositories/").split("/")[:2])


def linked_blob(name: str) -> str:
    """The digest of the blob that a repository's object is a link to; empty where it is none.

    >>> linked_blob("docker/registry/v2/repositories/x/_layers/sha256/ee/link")
    'sha256:ee'
    >>> linked_blob("docker/registry/v2/repositories/x/_manifests/tags/probe/current/link")
    ''
    """
    parts = name.split("/")
    return f"sha256:{parts[-2]}" if parts[-1] == "link" and parts[-3:-2] == ["sha256"] else ""
