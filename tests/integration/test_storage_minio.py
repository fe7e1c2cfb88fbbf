"""The storage room against a real MinIO: its own process, its own folder, a port of the kernel's choice."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from minio.error import S3Error, ServerError

from binder_node.errors import DeadlineError, StepError
from binder_node.secrets.masked import Masked
from binder_node.smoke.registry import swept
from binder_node.smoke.reserved import is_old
from binder_node.storage import bucket, policy
from binder_node.storage.bucket import Bucket
from binder_node.storage.endpoint import Endpoint, admin, client
from binder_node.storage.probe import PREFIX, probe
from tests.integration.binaries import binary
from tests.unit.host_samples import sample_spec

pytestmark = pytest.mark.integration

ROOT = Masked("root-password-of-a-test")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running(folder: Path, user: str, password: Masked) -> Iterator[Endpoint]:
    """A MinIO on ``folder``, for the block; its root user."""
    port = free_port()
    environment = {**os.environ, "MINIO_ROOT_USER": user, "MINIO_ROOT_PASSWORD": password.reveal()}
    command = [str(binary("minio")), "server", "--quiet", "--address", f"127.0.0.1:{port}", str(folder / "data")]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 30
        while True:
            with socket.socket() as knock:
                if knock.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert time.monotonic() < deadline, (folder / "log").read_text()
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.05)
        endpoint = Endpoint("test", f"http://127.0.0.1:{port}", "us-east-1", "registry", user, password)
        wait_ready(endpoint, deadline)
        yield endpoint
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A running MinIO's root user."""
    with running(tmp_path_factory.mktemp("minio"), "root", ROOT) as endpoint:
        yield endpoint


def wait_ready(endpoint: Endpoint, deadline: float) -> None:
    while True:
        try:
            client(endpoint).list_buckets()
        except (S3Error, ServerError):  # it listens before it serves
            assert time.monotonic() < deadline, "MinIO does not answer"
            time.sleep(0.1)
        else:
            return


def scoped(root: Endpoint, name: str) -> Endpoint:
    return replace(root, bucket=name, access_key=f"key-{name}", secret_key=Masked("the-registrys-secret"))


def make_key(root: Endpoint, ours: Endpoint) -> None:
    bucket.make_key(root, ours, policy.POLICY_NAME, policy.scoped(ours.bucket))


def test_from_nothing_to_a_bucket_with_a_key_of_its_own(root: Endpoint) -> None:
    ours = scoped(root, "fresh")
    assert bucket.look(ours) == Bucket("missing", False, False)
    make_key(root, ours)
    assert bucket.look(ours) == Bucket("ok", False, False)
    bucket.make(ours)
    # MinIO removes stale parts by itself, and would refuse to be told to.
    assert bucket.look(ours) == Bucket("ok", True, True)
    bucket.make(ours)  # a second time is no error
    assert probe(ours).size == 4096


def test_what_the_cache_of_docker_hub_keeps_goes_by_the_buckets_own_rule(root: Endpoint) -> None:
    ours = scoped(root, "cached")
    make_key(root, ours)
    bucket.make(ours)
    bucket.set_expiry(ours, "theirs", "theirs/", 30)
    expiry = policy.cache_expiry(sample_spec(registry={"cache_days": 7}))
    assert expiry is not None
    assert bucket.look(ours, expiry) == Bucket("ok", True, True, forgets=False)
    bucket.set_expiry(ours, expiry.rule, expiry.prefix, expiry.days)
    assert bucket.look(ours, expiry) == Bucket("ok", True, True)
    assert sorted(rule.rule_id for rule in bucket.rules(ours)) == ["binder-node-docker-hub", "theirs"]
    # An inventory that says other days has the rule changed.
    assert not bucket.look(ours, policy.cache_expiry(sample_spec(registry={"cache_days": 9}))).forgets


def test_the_key_reaches_no_other_bucket(root: Endpoint) -> None:
    ours, other = scoped(root, "mine"), scoped(root, "theirs")
    make_key(root, ours)
    client(root).make_bucket(bucket_name="theirs")
    with pytest.raises(StepError, match="AccessDenied") as caught:
        probe(replace(other, access_key=ours.access_key))
    assert "give it read, write and lifecycle rights" in caught.value.remedy


def test_a_changed_secret_is_seen_and_set_again(root: Endpoint) -> None:
    ours = scoped(root, "rotated")
    make_key(root, ours)
    bucket.make(ours)
    rotated = replace(ours, secret_key=Masked("another-secret-by-now"))
    assert bucket.look(rotated).key == "stale"
    make_key(root, rotated)
    assert bucket.look(rotated) == Bucket("ok", True, True)
    assert bucket.look(ours).key == "stale"


def test_a_key_of_another_name_takes_the_former_ones_place(root: Endpoint) -> None:
    ours = scoped(root, "renamed")
    make_key(root, ours)
    bucket.make(ours)
    admin(root).user_add(access_key="somebody", secret_key="somebody-elses-secret")
    admin(root).policy_set(policy_name="readonly", user="somebody")
    new = replace(ours, access_key="key-after-a-rotation", secret_key=Masked("its-own-secret"))
    assert bucket.look(new).key == "missing"
    make_key(root, new)
    assert bucket.look(new) == Bucket("ok", True, True)
    assert bucket.look(ours).key == "missing"  # who had it has nothing
    assert "somebody" in admin(root).user_list()


def test_another_root_user_and_password_leave_bucket_and_key_as_they_are(tmp_path: Path) -> None:
    with running(tmp_path, "root", ROOT) as old:
        ours = scoped(old, "kept")
        make_key(old, ours)
        bucket.make(ours)
        client(ours).put_object(bucket_name="kept", object_name="layer", data=io.BytesIO(b"x"), length=1)
    with running(tmp_path, "another-root", Masked("another-password-by-now")) as new:
        ours = replace(ours, url=new.url)
        assert bucket.look(ours) == Bucket("ok", True, True)
        assert client(ours).get_object(bucket_name="kept", object_name="layer").data == b"x"
        with pytest.raises(S3Error, match="InvalidAccessKeyId"):
            client(replace(old, url=new.url)).list_buckets()
        # All at once, as after `secrets rotate` without a name.
        renewed = replace(ours, access_key="key-renewed", secret_key=Masked("secret-renewed"))
        make_key(new, renewed)
        assert bucket.look(renewed) == Bucket("ok", True, True)
        assert bucket.look(ours).key == "missing"


def test_a_multipart_upload_goes_there_and_back_and_leaves_nothing(root: Endpoint) -> None:
    ours = scoped(root, "large")
    make_key(root, ours)
    bucket.make(ours)
    size = 150 * 2**20 + 17  # three parts, the last one odd
    seen = probe(ours, size)
    assert seen.size == size
    assert list(client(ours).list_objects(bucket_name="large", prefix=PREFIX, recursive=True)) == []


def test_a_missing_bucket_is_named_as_such(root: Endpoint) -> None:
    with pytest.raises(StepError, match="NoSuchBucket") as caught:
        probe(replace(root, bucket="never-made"))
    assert "never-made" in str(caught.value)
    assert ROOT.reveal() not in str(caught.value)


def test_nobody_at_the_endpoint_is_said_within_the_deadline(root: Endpoint) -> None:
    nobody = replace(root, url=f"http://127.0.0.1:{free_port()}")
    began = time.monotonic()
    with pytest.raises(DeadlineError, match="look at the bucket"):
        bucket.look(nobody)
    assert time.monotonic() - began < 15


def test_a_bucket_goes_with_all_that_is_in_it_and_twice_is_no_error(root: Endpoint) -> None:
    full, other = replace(root, bucket="full"), replace(root, bucket="other")
    server, counts = client(full), list[int]()
    for endpoint in (full, other):
        bucket.make(endpoint)
    for number in range(1005):
        server.put_object(bucket_name="full", object_name=f"docker/{number}", data=io.BytesIO(b"x"), length=1)
    server.put_object(bucket_name="other", object_name="stays", data=io.BytesIO(b"x"), length=1)
    bucket.remove(full, counts.append)
    bucket.remove(full, counts.append)
    assert counts == [1000, 1005]
    assert not server.bucket_exists(bucket_name="full")
    assert [one.object_name for one in server.list_objects(bucket_name="other")] == ["stays"]


def test_a_key_that_may_not_removes_nothing(root: Endpoint) -> None:
    full = replace(root, bucket="guarded")
    bucket.make(full)
    with pytest.raises(StepError, match="InvalidAccessKeyId"):
        bucket.remove(replace(full, access_key="nobody"), lambda _: None)
    assert client(full).bucket_exists(bucket_name="guarded")


def test_what_killed_checks_left_of_their_images_goes_and_nothing_else(root: Endpoint) -> None:
    ours = replace(root, bucket="swept")
    bucket.make(ours)
    old, young = "binder-node-smoke/1000-aa", "binder-node-smoke/9999999999-bb"
    blobs, repositories = "docker/registry/v2/blobs/sha256", "docker/registry/v2/repositories"
    gone = {
        f"{blobs}/c0/c0ffee/data",
        f"{blobs}/d0/d0d0/data",
        f"{repositories}/{old}/_layers/sha256/c0ffee/link",
        f"{repositories}/{old}/_manifests/revisions/sha256/d0d0/link",
        f"{repositories}/{old}/_manifests/tags/probe/current/link",
    }
    kept = {
        f"{blobs}/ab/abcd/data",
        f"{repositories}/{young}/_layers/sha256/abcd/link",
        f"{repositories}/binder/somebodys/_layers/sha256/abcd/link",
    }
    for name in gone | kept:
        client(ours).put_object(bucket_name="swept", object_name=name, data=io.BytesIO(b"x"), length=1)
    for _ in range(2):
        swept(ours, lambda name: is_old(name, "/", time.time()))
        assert set(bucket.names_below(ours, "")) == kept
