"""The bucket made by an ejected node's script and MinIO's own client is the one that `up` makes."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from binder_node.layout import MINIO_PORT
from binder_node.secrets.generate import generate
from binder_node.storage import backups, bucket, plain
from binder_node.storage.endpoint import Endpoint, client
from tests.integration.binaries import binary
from tests.integration.test_storage_minio import running
from tests.unit.host_samples import sample_spec

pytestmark = pytest.mark.integration
SECRETS, SPEC = generate(), sample_spec()


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Endpoint]:
    with running(tmp_path, SECRETS.minio_root_user, SECRETS.minio_root_password) as endpoint:
        yield endpoint


def test_the_script_makes_bucket_and_key_and_can_be_run_again(root: Endpoint, tmp_path: Path) -> None:
    port = root.url.rpartition(":")[2]
    for name, (data, mode) in plain.plain(SPEC, SECRETS).items():
        file = tmp_path / name
        file.write_bytes(data.replace(f":{MINIO_PORT}".encode(), f":{port}".encode()))
        file.chmod(mode)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/mc").symlink_to(binary("mc"))
    for _ in range(2):
        subprocess.run([tmp_path / plain.SCRIPT], check=True, timeout=60, capture_output=True)
    own = replace(root, access_key=SECRETS.s3_access_key, secret_key=SECRETS.s3_secret_key)
    seen = bucket.look(own)
    assert (seen.key, seen.exists) == ("ok", True)
    assert bucket.look(replace(own, bucket="another")).key == "unscoped"
    # As the stage `backup` looks for it: one rule of ours, and a key that writes and does not look.
    kept = [rule.rule_id for rule in bucket.rules(own)]
    assert kept == [backups.rule_of(SPEC)]
    assert backups.look(own, SPEC).expiry
    assert SECRETS.backup_secret_key is not None
    writes = replace(root, access_key=SECRETS.backup_access_key, secret_key=SECRETS.backup_secret_key)
    assert bucket.look(writes).key == "unscoped"
    body = io.BytesIO(b"x")
    client(writes).put_object(bucket_name=own.bucket, object_name=f"{backups.prefix(SPEC)}a", data=body, length=1)
