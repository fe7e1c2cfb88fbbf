"""A bucket elsewhere whose endpoint refuses the key: ``plan`` shows it, ``up`` says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from binder_node.errors import StepError
from binder_node.events import silent
from binder_node.node import Node
from binder_node.storage.bucket import Bucket, Key
from binder_node.storage.stage import StorageStage
from tests.unit.host_samples import other_spec, sample_secrets


@pytest.mark.parametrize(
    ("key", "code", "remedy"),
    [
        ("missing", "InvalidAccessKeyId", "check that it belongs to this endpoint"),
        ("stale", "SignatureDoesNotMatch", "set both again"),
        ("unscoped", "AccessDenied", "give it read, write and lifecycle rights"),
    ],
)
def test_a_refused_key_is_never_as_it_should_be(key: Key, code: str, remedy: str, tmp_path: Path) -> None:
    stage = StorageStage(Node(other_spec(), sample_secrets(), {}, {}, tmp_path), None)
    seen = Bucket(key, False, False)
    assert [change.what for change in stage.changes(seen)] == ["use bucket bids-registry, which refuses our key"]
    with pytest.raises(StepError, match=f"use bucket bids-registry: {code} -> .*{remedy}"):
        stage.apply(seen, silent)


def test_a_bucket_that_takes_our_key_is_made_and_given_its_rule(tmp_path: Path) -> None:
    stage = StorageStage(Node(other_spec(), sample_secrets(), {}, {}, tmp_path), None)
    assert [change.what for change in stage.changes(Bucket("ok", False, False))] == [
        "bucket bids-registry",
        "lifecycle of bids-registry: abort incomplete uploads",
    ]
    assert [change.what for change in stage.changes(Bucket("ok", True, True, forgets=False))] == [
        "lifecycle of bids-registry: remove what the cache of Docker Hub kept for 7 days"
    ]
    assert stage.changes(Bucket("ok", True, True)) == []
