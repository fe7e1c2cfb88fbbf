"""What buildctl is told, and what its trace is taken to mean."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from binder_node.cluster.engine.site.binder_node_engine import command, trace
from binder_node.cluster.engine.site.binder_node_engine.command import Limits, Output, Request


def test_the_whole_command() -> None:
    request = Request(
        tag="registry.example.org:5000/binder/r:abc",
        context=Path("/checkout"),
        dockerfile="binder/Dockerfile",
        output=Output(push=True, insecure=True),
        limits=Limits(memory=2_000_000_000, file=1_000_000),
        platform="linux/amd64",
        build_args={"NB_USER": "jovyan"},
        labels={"repo2docker.ref": "abc"},
        cache_from=("other:1",),
    )
    assert command.arguments("/bin/buildctl", request, Path("/t/trace"), Path("/t/metadata")) == [
        *("/bin/buildctl", "build", "--frontend=dockerfile.v0", "--progress=plain"),
        *("--trace=/t/trace", "--metadata-file=/t/metadata"),
        *("--local=context=/checkout", "--local=dockerfile=/checkout"),
        *("--opt", "filename=binder/Dockerfile"),
        *("--opt", "hostname=buildkitsandbox"),
        *("--opt", "platform=linux/amd64"),
        *("--opt", "cmdline=docker/dockerfile"),
        *("--opt", "memory=2000000000"),
        *("--opt", "memswap=2000000000"),
        *("--opt", "ulimit=fsize=1000000:1000000"),
        *("--opt", "build-arg:NB_USER=jovyan"),
        *("--opt", "label:repo2docker.ref=abc"),
        *("--import-cache", "type=registry,ref=other:1"),
        "--output",
        "type=image,name=registry.example.org:5000/binder/r:abc,push=true,oci-mediatypes=true,compression=zstd,"
        "force-compression=true,compression-level=1,unpack=true,registry.insecure=true",
    ]


def test_without_limits_nothing_is_said_of_them() -> None:
    request = Request(tag="t", context=Path("/c"), built_in_frontend=False, output=Output(unpack=False, level=0))
    assert command.options(request) == {"filename": "Dockerfile", "hostname": "buildkitsandbox"}
    assert command.output("t", request.output) == (
        "type=image,name=t,push=false,oci-mediatypes=true,compression=zstd,force-compression=true"
    )


@pytest.mark.parametrize(
    ("dockerfile", "other"),
    [
        ("FROM x\n# syntax=ghcr.io/some/frontend\n", False),  # a comment by now
        ("# syntax=docker/dockerfile:1\nFROM x", False),
        ("# syntax=docker/dockerfile\nFROM x", False),
        ("#syntax = docker.io/docker/dockerfile:1.7\nFROM x", False),
        ("# escape=`\n# SYNTAX=docker/dockerfile:1-labs\nFROM x", True),
        ("#!/usr/bin/env buildctl\n# syntax=ghcr.io/some/frontend:2 --flag\nFROM x", True),
        ("\ufeff# syntax=docker/dockerfile-upstream:master\nFROM x", True),
        ("", False),
    ],
)
def test_only_a_frontend_that_buildkit_lacks_is_fetched(dockerfile: str, other: bool) -> None:
    assert command.wants_other_frontend(dockerfile) is other


def traced(folder: Path, *vertexes: dict[str, str]) -> trace.Verdict:
    lines = [json.dumps({"vertexes": [vertex]}) for vertex in vertexes]
    (folder / "trace").write_text("\n".join([*lines, '{"vertexes": [{"digest": "sha256:h', ""]))
    return trace.read(folder / "trace")


def test_a_failed_step_is_told_from_a_failed_push(tmp_path: Path) -> None:
    step = {"digest": "a", "name": "[2/2] RUN make", "error": 'process "make" did not complete: exit code: 137'}
    verdict = traced(tmp_path, {"digest": "a", "name": "[2/2] RUN make"}, step)
    assert (verdict.failed, verdict.exporting, verdict.exit_code) == ("[2/2] RUN make", False, 137)

    push = {"digest": "b", "name": "exporting to image", "error": "failed to push: 503 Service Unavailable"}
    verdict = traced(tmp_path, push)
    assert (verdict.exporting, verdict.exit_code) == (True, None)


def test_no_failed_step_and_no_trace_at_all(tmp_path: Path) -> None:
    assert traced(tmp_path, {"digest": "a", "name": "[1/2] FROM x"}) == trace.Verdict()
    assert trace.read(tmp_path / "never") == trace.Verdict()
