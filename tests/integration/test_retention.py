"""What the registry keeps, with real Distribution on real MinIO: by last use, and with pushes at any moment."""

from __future__ import annotations

import io
import json
import random
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from binder_node.secrets.masked import Masked
from binder_node.storage.endpoint import Endpoint, client
from tests.integration.retention_fixtures import SECOND, Image, Lab, Refused, image, lab, words
from tests.integration.test_storage_minio import running

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with running(tmp_path_factory.mktemp("minio"), "root", Masked("root-password-of-a-test")) as endpoint:
        yield endpoint


@pytest.fixture
def made(tmp_path: Path, minio: Endpoint) -> Iterator[Lab]:
    with lab(tmp_path, minio) as found:
        yield found


def layer(size: int = 2000) -> bytes:
    return secrets.token_bytes(size)


def remove(made: Lab, data: bytes) -> None:
    client(made.endpoint).remove_object(bucket_name=made.endpoint.bucket, object_name=made.blob(data))


def test_what_was_used_lately_stays_whole_and_the_rest_goes(made: Lab) -> None:
    base = layer()
    used, unused, broken = (image(f"binder/{name}", base, layer()) for name in ("used", "unused", "broken"))
    other = image("binder/used", base, layer(), tag="2")
    for one in (used, unused, broken, other):
        made.push(one)
    assert words([made.run("note")]) == ["4 images in the record"]
    time.sleep(3)
    assert made.launched(used) == 200
    assert made.launched(broken) == 200
    remove(made, broken.layers[1])
    said, seconds = made.collect(keep_days=2 * SECOND)
    assert said[0].startswith("to remove: 2 images unused")
    assert " and 1 with parts missing" in said[0]
    assert made.pulls(used)
    assert [made.launched(one) for one in (unused, broken, other)] == [404, 404, 404]
    left = made.objects()
    assert made.blob(base) in left
    assert not [name for one in (unused, broken, other) for name in map(made.blob, one.layers[1:]) if name in left]
    assert not [name for name in left if "unused" in name or "broken" in name or "/tags/2/" in name]
    assert seconds < 10
    again, none = made.collect(keep_days=600 * SECOND)
    assert again[0].startswith("nothing to remove: 1 images")
    assert none == 0.0
    assert made.objects() == left


def test_beyond_its_size_the_images_launched_longest_ago_go(made: Lab) -> None:
    base, built = layer(50_000), []
    for number in range(4):
        built.append(image(f"binder/{number}", base, layer(20_000)))
        made.push(built[-1])
    time.sleep(1.2)
    assert made.launched(built[0]) == 200
    time.sleep(1.2)
    assert made.launched(built[2]) == 200
    said, _ = made.collect(size=95_000)
    assert said[0].startswith("to remove: 2 images unused")
    assert [made.pulls(one) for one in built] == [True, False, True, False]
    assert made.collect(size=95_000)[0][0].startswith("nothing to remove: 2 images")


def test_nothing_is_removed_before_uses_were_watched_for_as_long_as_images_are_kept(made: Lab) -> None:
    old = image("binder/old", layer())
    made.push(old)
    # Days as a node has them: what was used before it began to watch is not known.
    assert made.collect(keep_days=1)[0] == ["nothing to remove: 1 images, 0.00 GB"]
    assert made.pulls(old)


def test_what_is_younger_than_a_push_may_take_is_left(made: Lab) -> None:
    gone = image("binder/gone", layer())
    made.push(gone)
    made.delete(gone)
    assert made.collect(grace=3600)[0][0].startswith("nothing to remove")
    assert made.blob(gone.layers[0]) in made.objects()
    made.collect()
    assert made.objects() == []


def test_the_cache_of_docker_hub_beside_it_is_left_alone(made: Lab) -> None:
    gone = image("binder/gone", layer())
    made.push(gone)
    made.delete(gone)
    kept = [
        f"docker-hub/{made.blob(layer())}",
        "docker-hub/docker/registry/v2/repositories/library/a/_manifests/tags/1/current/link",
        "docker-hub/scheduler-state.json",
    ]
    bucket = client(made.endpoint)
    try:
        for name in kept:
            bucket.put_object(bucket_name=made.endpoint.bucket, object_name=name, data=io.BytesIO(b"x"), length=1)
        made.collect(keep_days=SECOND, size=1)
        assert made.objects() == []
        assert sorted(made.objects("docker-hub/")) == sorted(kept)
    finally:
        for name in kept:
            bucket.remove_object(bucket_name=made.endpoint.bucket, object_name=name)


def test_what_is_used_between_looking_and_removing_stays(made: Lab) -> None:
    launched, pushed, unused = (image(f"binder/{name}", layer()) for name in ("launched", "pushed", "unused"))
    for one in (launched, pushed, unused):
        made.push(one)
    made.run("note")
    time.sleep(3)
    assert words([made.run("mark", keep_days=2 * SECOND)])[0].startswith("to remove: 3 images")
    assert made.launched(launched) == 200
    assert made.push(pushed)  # the same again: all was there
    made.restart(read_only=True)
    said = words([made.run("sweep", keep_days=2 * SECOND)])[0]
    assert "2 were used again and stay" in said
    made.restart(read_only=False)
    assert (made.pulls(launched), made.pulls(pushed), made.launched(unused)) == (True, True, 404)


def test_a_registry_that_takes_pushes_keeps_everything(made: Lab) -> None:
    gone = image("binder/gone", layer())
    made.push(gone)
    made.delete(gone)
    words([made.run("mark")])
    before = made.objects()
    refused = made.run("sweep")
    assert refused.returncode == 1
    assert "is not read-only: HTTP 400" in refused.stderr
    assert made.objects() == before
    assert not (made.folder / "plan.json").exists()


def test_a_journal_that_has_lost_pushes_removes_nothing(made: Lab) -> None:
    gone = image("binder/gone", layer())
    made.push(gone)
    made.delete(gone)
    words([made.run("mark")])
    plan = json.loads((made.folder / "plan.json").read_text())
    (made.folder / "plan.json").write_text(json.dumps({**plan, "cursor": "999999"}))
    made.restart(read_only=True)
    refused = made.run("sweep")
    assert refused.returncode == 1
    assert "the journal has lost what was pushed since the mark; nothing is removed" in refused.stderr


def test_two_machines_on_one_bucket_remove_nothing(made: Lab) -> None:
    gone = image("binder/gone", layer())
    made.push(gone)
    made.delete(gone)
    own = (made.folder / "machine-id").read_text()
    (made.folder / "machine-id").write_text("the other machine's")
    words([made.run("note", node="bids-2")])
    (made.folder / "machine-id").write_text(own)
    (said,) = words([made.run("mark")])
    assert said.startswith("nothing is removed while bids-2-")
    assert said.endswith(" has the bucket too")
    assert not (made.folder / "plan.json").exists()
    # A day later it is gone, and what it knew is this machine's.
    other = next(name for name in made.objects("binder-node-uses/") if "bids-2" in name)
    record = json.loads(client(made.endpoint).get_object(bucket_name="registry", object_name=other).data)
    text = json.dumps({**record, "noted": record["noted"] - 90_000}).encode()
    client(made.endpoint).put_object(bucket_name="registry", object_name=other, data=io.BytesIO(text), length=len(text))
    done, _ = made.collect()
    assert done[-1].startswith("gone in a pause of ")
    assert len(made.objects("binder-node-uses/")) == 1
    assert made.objects() == []


def test_a_pause_that_is_too_short_leaves_the_rest_whole_for_the_next(made: Lab) -> None:
    for number in range(5):
        gone = image(f"binder/gone-{number}", layer())
        made.push(gone)
        made.delete(gone)
    kept = image("binder/kept", layer())
    made.push(kept)
    said, _ = made.collect(seconds=-1)
    assert "objects are left for the next run" in said[1]
    assert made.pulls(kept)
    said, _ = made.collect()
    assert "left" not in said[1]
    assert made.pulls(kept)
    assert len([name for name in made.objects() if "/blobs/" in name]) == 3


@pytest.mark.parametrize("runs", [10, pytest.param(100, marks=pytest.mark.soak)])
def test_a_push_at_any_moment_of_a_collection_survives(made: Lab, runs: int) -> None:
    """Each re-uses a layer to which nothing refers at the mark: by a HEAD that finds it, or mounted from elsewhere."""
    draw, pushed, pauses, refused = random.Random(7), list[Image](), list[float](), list[str]()
    for number in range(runs):
        loose = image("binder/loose", layer(), layer())
        made.push(loose)
        made.delete(loose)
        same = draw.random() < 0.5
        one = image("binder/loose" if same else f"binder/new-{number}", loose.layers[0], layer(), tag=f"t{number}")
        mount, hesitates, begins = "" if same else "binder/loose", draw.uniform(0, 1.5), draw.uniform(0, 1.5)
        outcome: dict[str, Any] = {}

        def push(
            one: Image = one, mount: str = mount, hesitates: float = hesitates, begins: float = begins,
            outcome: dict[str, Any] = outcome,
        ) -> None:  # fmt: skip
            time.sleep(begins)
            outcome["refused"] = made.push_until_taken(one, hesitates, mount)

        pushing = threading.Thread(target=push)
        pushing.start()
        _, seconds = made.collect()
        pushing.join(90)
        pauses.append(seconds)
        refused += outcome["refused"]
        pushed.append(one)
        assert made.pulls(one), (number, mount, hesitates, begins, outcome)
    assert all(made.pulls(one) for one in pushed)
    print(f"{runs} runs: pause at most {max(pauses):.1f} s, {len(refused)} tries refused: {sorted(set(refused))}")
    assert max(pauses) < 15
    made.collect()
    assert all(made.pulls(one) for one in pushed)
    wanted = {made.blob(data) for one in pushed for data in (*one.layers, one.manifest)}
    assert {name for name in made.objects() if "/blobs/" in name} == wanted


def test_before_its_bucket_is_made_a_node_has_nothing_to_write_into_and_later_that_is_a_failure(made: Lab) -> None:
    assert words([made.run("note", bucket="not-yet")]) == ["there is nothing to write into yet: NoSuchBucket"]
    assert words([made.run("note")]) == ["0 images in the record"]
    gone = made.run("note", bucket="not-yet")
    assert gone.returncode == 1
    assert "HTTP 404 NoSuchBucket" in gone.stderr


def test_a_push_that_is_refused_says_so(made: Lab) -> None:
    made.restart(read_only=True)
    with pytest.raises(Refused, match="begin an upload: 405"):
        made.push(image("binder/a", layer()))
