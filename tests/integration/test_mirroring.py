"""A registry's bucket copied into another one, between two real MinIOs."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from binder_node.events import Event, silent
from binder_node.lifecycle import mirroring
from binder_node.lifecycle.mirroring import listed, mirror
from binder_node.lifecycle.standing import View
from binder_node.storage import bucket
from binder_node.storage.endpoint import Endpoint, client
from tests.integration.test_storage_minio import ROOT, running

pytestmark = pytest.mark.integration

TAG = "docker/registry/v2/repositories/binder/a/_manifests/tags/1/current/link"
BLOB = "docker/registry/v2/blobs/sha256/aa/aa11/data"
LARGE = "docker/registry/v2/blobs/sha256/bb/bb22/data"
UPLOAD = "docker/registry/v2/repositories/binder/a/_uploads/7/data"


@pytest.fixture
def both(tmp_path: Path) -> Iterator[tuple[Endpoint, Endpoint]]:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    with running(tmp_path / "one", "root", ROOT) as one, running(tmp_path / "other", "root", ROOT) as other:
        for endpoint in (one, other):
            bucket.make(endpoint)
        yield one, other


class Named:
    """What of a :class:`View` the copy asks for."""

    def __init__(self, name: str, endpoint: Endpoint) -> None:
        self.name, self.node, self.access = name, endpoint, None


class AtEndpoint:
    """The stage ``storage`` of a node whose bucket is at an endpoint that the test has."""

    def __init__(self, node: Any, access: Any) -> None:
        del access
        self._endpoint = node

    @contextmanager
    def endpoint(self) -> Iterator[Endpoint]:
        yield self._endpoint


def put(endpoint: Endpoint, name: str, content: bytes) -> None:
    client(endpoint).put_object(
        bucket_name=endpoint.bucket,
        object_name=name,
        data=io.BytesIO(content),
        length=len(content),
        part_size=5 * 2**20,
    )


def read(endpoint: Endpoint, name: str) -> bytes:
    answer = client(endpoint).get_object(bucket_name=endpoint.bucket, object_name=name)
    with answer:
        return bytes(answer.read())


def test_what_is_missing_is_copied_and_a_second_time_nothing(
    both: tuple[Endpoint, Endpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirroring, "StorageStage", AtEndpoint)
    one, other = both
    large = bytes(range(256)) * 50_000
    for name, content in ((TAG, b"sha256:1"), (BLOB, b"layer"), (LARGE, large), (UPLOAD, b"half")):
        put(one, name, content)
    put(other, "somebody/elses", b"stays")
    old, new = (cast(View, Named(name, endpoint)) for name, endpoint in (("bids-1", one), ("bids-2", other)))
    told: list[Event] = []
    assert mirror(old, new, told.append) == 3
    assert (read(other, TAG), read(other, BLOB), read(other, LARGE)) == (b"sha256:1", b"layer", large)
    assert set(listed(other)) == {TAG, BLOB, LARGE, "somebody/elses"}
    assert mirror(old, new, silent) == 0
    # A tag that was moved meanwhile, and an image of the new node's own.
    put(one, TAG, b"sha256:2")
    put(other, TAG.replace("/a/", "/b/"), b"sha256:9")
    assert mirror(old, new, silent) == 1
    assert (read(other, TAG), read(other, TAG.replace("/a/", "/b/"))) == (b"sha256:2", b"sha256:9")


def test_what_the_old_registry_removes_meanwhile_is_not_copied(
    both: tuple[Endpoint, Endpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirroring, "StorageStage", AtEndpoint)
    one, other = both
    for name in (TAG, BLOB, LARGE):
        put(one, name, b"content")

    def removed(event: Event) -> None:
        """After the list was made, before anything is read."""
        if event.kind == "start":
            client(one).remove_object(bucket_name=one.bucket, object_name=BLOB)

    old, new = (cast(View, Named(name, endpoint)) for name, endpoint in (("bids-1", one), ("bids-2", other)))
    mirror(old, new, removed)
    assert set(listed(other)) == {TAG, LARGE}
