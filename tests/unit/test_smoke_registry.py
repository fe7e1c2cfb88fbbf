"""What the registries' answers mean to an operator; and the images that the checks push."""

from __future__ import annotations

import io
import json
import socket
import tarfile
import threading
from pathlib import Path
from typing import Any

import pytest

from binder_node import remote
from binder_node.node import Node
from binder_node.smoke import judge_registry as judge
from binder_node.smoke import registry
from binder_node.smoke.on_node import registry as on_node
from binder_node.smoke.registry import INDEX, MANIFEST, Answer, Answers, digest, fresh_image
from tests.unit.host_samples import sample_secrets, sample_spec

SPEC = sample_spec()
GOOD = {
    "push as push": 200,
    "push as pull": 401,
    "push as nobody": 401,
    "push without a login": 401,
    "pull as pull": 200,
    "pull as nobody": 401,
    "pull without a login": 401,
    "no such image": 404,
    "upload to pull": 405,
}


def answers(*addresses: str, changed: dict[str, int] | None = None) -> Answers:
    """A healthy node's answers, but for the ``changed`` statuses."""
    statuses = GOOD | (changed or {})
    return Answers(addresses, {name: Answer(status, reason="") for name, status in statuses.items()})


def test_every_question_that_writes_nothing_is_judged() -> None:
    assert {ask.name for ask in judge.SHALLOW} == set(GOOD)


def test_a_healthy_node_has_no_trouble() -> None:
    found = answers("127.0.0.1")
    assert judge.name(found, SPEC) is None
    assert judge.push_rights(found, SPEC) is None
    assert list(judge.pull_rights(found, SPEC)) == []
    assert list(judge.refusals(found, SPEC)) == []


@pytest.mark.parametrize(
    ("statuses", "said"),
    [
        ((200, 405, 404), []),
        ((0, 0, 0), ["port 5002 is no cache of Docker Hub", "gets no answer from Docker Hub"]),
        ((200, 202, 404), ["the cache takes what is pushed"]),
        ((200, 405, 500), ["the cache gets no answer from Docker Hub (HTTP 500)"]),
    ],
)
def test_the_cache_of_docker_hub(statuses: tuple[int, ...], said: list[str]) -> None:
    found = Answers((), {ask.name: Answer(status, "") for ask, status in zip(judge.CACHE, statuses, strict=True)})
    troubles = [*judge.cache(found, SPEC), *filter(None, [judge.hub(found, SPEC)])]
    assert len(troubles) == len(said)
    for trouble, words in zip(troubles, said, strict=True):
        assert words in trouble.reason
        assert "registry" in trouble.remedy or "binder-node" in trouble.remedy


@pytest.mark.parametrize(("addresses", "word"), [((), "nowhere"), (("192.0.2.7",), "192.0.2.7")])
def test_a_name_that_leads_elsewhere_is_told_with_where(addresses: tuple[str, ...], word: str) -> None:
    trouble = judge.name(answers(*addresses), SPEC)
    assert trouble is not None
    assert word in trouble.reason
    assert "binder-node up bids-1" in trouble.remedy


def test_who_may_push_and_does_not_get_in() -> None:
    found = Answers(("127.0.0.1",), {"push as push": Answer(0, "Connection refused")})
    trouble = judge.push_rights(found, SPEC)
    assert trouble is not None
    assert trouble.reason.endswith("no answer: Connection refused")


def test_a_bucket_that_does_not_answer_shows_in_the_answer_for_no_image() -> None:
    assert [t.remedy for t in judge.pull_rights(answers(changed={"no such image": 503}), SPEC)] == [
        "the bucket behind it: `binder-node probe bids-1`"
    ]
    assert "let in who may pull" in next(judge.pull_rights(answers(changed={"pull as pull": 401}), SPEC)).reason


@pytest.mark.parametrize("what", judge.REFUSED)
def test_each_thing_that_is_let_in_is_told(what: str) -> None:
    found = answers(changed={what: 202})
    assert [trouble.reason.split(":")[0] for trouble in judge.refusals(found, SPEC)] == [what]


@pytest.mark.parametrize(
    ("code", "said", "good"),
    [
        (1, "rpc error: code = NotFound desc = ... not found", True),
        (1, 'FATA[0000] pulling image: failed to resolve reference "x:y": x:y: not found\n', True),
        (1, "rpc error: code = Unknown desc = ... 401 Unauthorized", False),
        (0, "", False),
    ],
)
def test_containerd_has_to_be_told_that_there_is_none(code: int, said: str, good: bool) -> None:
    trouble = judge.containerd(code, said, "registry.example.org:5000/x:y", SPEC)
    assert (trouble is None) == good


def test_an_image_is_new_each_time_and_whole() -> None:
    one, other = fresh_image("binder-node-smoke/a", "amd64"), fresh_image("binder-node-smoke/a", "amd64")
    assert one.digest != other.digest
    manifest = json.loads(one.manifest)
    assert registry.blobs_of(manifest) == {digest(blob): len(blob) for blob in one.blobs}
    config, layer = one.blobs
    assert json.loads(config)["rootfs"]["diff_ids"] == [digest(layer)]
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        assert tar.getnames() == ["binder-node-smoke"]


def test_what_comes_back_is_compared_byte_for_byte() -> None:
    image = fresh_image("binder-node-smoke/a", "arm64")
    right = judge.wanted_back(image)
    assert set(right) == {ask.name for ask in judge.pulls(image)}
    good = Answers((), {name: Answer(200, sha256=wanted) for name, wanted in right.items()})
    assert list(judge.same(good, image)) == []
    bad = Answers((), {**good.by_name, "blob 2": Answer(200, sha256=digest(b"other"))})
    assert [trouble.reason.split(":")[0] for trouble in judge.same(bad, image)] == ["blob 2"]
    gone = Answers((), {**good.by_name, "the manifest by its tag": Answer(404, "")})
    assert "cannot be pulled: HTTP 404" in next(judge.same(gone, image)).reason


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (Answer(200, type=MANIFEST), None),
        (Answer(200, type=f"{MANIFEST}; charset=utf-8"), None),
        (Answer(200, type=INDEX), "an index"),
        (Answer(404), "not in the registry"),
        (Answer(200, type="application/vnd.docker.distribution.manifest.v2+json"), "docker"),
    ],
)
def test_a_tag_has_to_be_one_oci_manifest(answer: Answer, word: str | None) -> None:
    trouble = judge.one_manifest(answer, "registry.example.org:5000/binder/x:1")
    assert (trouble is None) if word is None else (trouble is not None and word in trouble.reason)


def test_every_layer_has_to_be_there_at_its_size() -> None:
    manifest: dict[str, Any] = {
        "config": {"digest": "sha256:c", "size": 3},
        "layers": [{"digest": "sha256:a", "size": 5}, {"digest": "sha256:b", "size": 7}],
    }
    found = Answers((), {"sha256:c": Answer(200, size=3), "sha256:a": Answer(200, size=4)})
    reasons = [trouble.reason for trouble in judge.layers_there(found, json.dumps(manifest))]
    assert reasons == ["layer sha256:a: 4 of 5 bytes", "layer sha256:b: no answer: was not asked"]


def test_own_layers_are_those_of_our_own_step_alone() -> None:
    manifest = {"layers": [{"digest": "base"}, {"digest": "ours"}, {"digest": "empty"}]}
    history: list[dict[str, Any]] = [
        {"created_by": "debian"},
        {"created_by": "ENV binder_node_smoke.py", "empty_layer": True},
        {"created_by": "COPY binder_node_smoke.py /tmp # buildkit"},
        {"created_by": "RUN true"},
    ]
    assert registry.own_layers(manifest, {"history": history}, "COPY binder_node_smoke.py") == ["ours"]
    assert registry.own_layers(manifest, {"history": history[:2]}, "COPY") == []


@pytest.mark.parametrize(("status", "good"), [(401, True), (405, True), (201, False), (0, False)])
def test_a_push_without_the_right_has_to_be_refused_in_words(status: int, good: bool) -> None:
    assert (judge.write_refused(Answer(status), "the pull login") is None) == good


@pytest.mark.parametrize("said", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", b""])
def test_whatever_answers_in_a_registrys_place_is_no_answer(said: bytes) -> None:
    """What speaks no HTTP, breaks off, or hangs up: the check says so, and the program goes on to the next ask."""

    def serve() -> None:
        asked, _ = server.accept()
        with asked:
            asked.recv(4096)
            asked.sendall(said)

    with socket.create_server(("127.0.0.1", 0)) as server:
        serving = threading.Thread(target=serve)
        serving.start()
        told, _, _ = on_node.request("GET", f"http://127.0.0.1:{server.getsockname()[1]}/v2/", None)
        serving.join()
    assert told["status"] == 0
    assert told["reason"]


def test_a_password_is_never_in_the_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes in by stdin, and what comes out is read back whole."""
    seen: dict[str, Any] = {}

    def run(access: object, script: str, **more: Any) -> remote.Result:
        del access
        seen.update(more, script=script)
        return remote.Result(0, json.dumps({"addresses": ["127.0.0.1"], "x": {"status": 200, "size": 3}}), "")

    monkeypatch.setattr(remote, "run", run)
    secrets = sample_secrets()
    access: Any = None
    found = registry.ask(Node(SPEC, secrets, {}, {}, Path("/nonexistent")), access, [registry.Ask("x", "pull", "pull")])
    assert found["x"].status == 200
    for password in (secrets.registry_pull_password, secrets.registry_push_password):
        assert password.reveal() in seen["input"]
        assert password.reveal() not in seen["script"]
