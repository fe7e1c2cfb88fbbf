"""Versions that run, as programs say them."""

from __future__ import annotations

import json

import pytest

from binder_node.artifacts.pins import load_pins
from binder_node.upgrades.reported import NOTHING, Reported, buildkit, is_of, last_word, minio, question, read, wrong
from tests.unit.host_samples import central_spec, other_spec, sample_spec

PINS = load_pins().entries
MINIO = "exe version DEVELOPMENT.2026-02-12T20-18-48Z (commit-id=7aac2a2c5b7c)\nRuntime: go1.26.8 linux/amd64"
ANSWER = {
    "units": {
        "registry-push.service": "/proc/7/exe github.com/distribution/distribution/v3 v3.1.2",
        "registry-pull.service": "/proc/8/exe github.com/distribution/distribution/v3 v3.1.1",
        "minio.service": MINIO,
        "buildkit.service": "buildkitd github.com/moby/buildkit v0.33.1 ",
    },
    "kubelet": "v1.35.8+k3s1",
    "buildkitd": "BuildKit: github.com/moby/buildkit v0.33.1 0123abc",
    "chart": "1.0.0-0.dev.git.3983.h383374de",
}


def test_what_is_asked_follows_from_the_inventory() -> None:
    assert json.loads(question(sample_spec()))["units"] == [
        "registry-push.service", "registry-pull.service", "minio.service", "buildkit.service",
    ]  # fmt: skip
    # Its bucket is elsewhere: with a cache of Docker Hub.
    assert json.loads(question(other_spec()))["units"] == [
        "registry-push.service", "registry-pull.service", "registry-cache.service", "buildkit.service",
    ]  # fmt: skip
    assert json.loads(question(central_spec())) | {"buildkit": ""} == {
        "node": "bids-1", "units": [], "buildkit": "", "namespace": "binder", "release": "",
    }  # fmt: skip


def test_every_part_counts() -> None:
    found = read(sample_spec(), ANSWER)
    assert found.of("registry") == "v3.1.2, v3.1.1"
    assert wrong(found, "registry", PINS) == "registry-pull is v3.1.1; the pins say v3.1.2"
    assert [wrong(found, name, PINS) for name in ("k3s", "buildkit", "minio", "chart")] == ["", "", "", ""]


def test_what_does_not_answer_is_not_as_pinned() -> None:
    silent = read(sample_spec(), {**ANSWER, "kubelet": "", "buildkitd": "", "chart": ""})
    assert wrong(silent, "k3s", PINS) == "the kubelet is nothing; the pins say v1.35.8+k3s1"
    assert silent.of("buildkit") == silent.of("chart") == NOTHING


def test_of_a_central_deploy_k3s_alone_is_asked() -> None:
    assert set(read(central_spec(), {**ANSWER, "units": {}}).parts) == {"k3s"}
    assert Reported({}).of("registry") == NOTHING


@pytest.mark.parametrize("text", ["", "error: no such file", "BuildKit: other"])
def test_answers_of_another_form_are_nothing(text: str) -> None:
    assert buildkit(text) == minio(text) == NOTHING
    assert last_word("") == NOTHING


@pytest.mark.parametrize(
    ("reported", "name", "right"),
    [
        ("v3.1.2", "registry", True),
        ("v3.1.3", "registry", False),
        ("RELEASE.2025-09-07T16-13-09Z", "minio", True),
        ("DEVELOPMENT.2026-02-12T20-18-48Z", "minio", True),
        ("DEVELOPMENT.2026-02-12T20-18-49Z", "minio", False),
        (NOTHING, "minio", False),
    ],
)
def test_a_module_has_its_own_way_to_say_it(reported: str, name: str, right: bool) -> None:
    assert is_of(reported, PINS[name]) is right
