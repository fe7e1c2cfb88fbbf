"""The program that asks what runs for its version, on programs that answer in its way."""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from binder_node.upgrades.reported import question, script
from tests.unit.host_samples import sample_spec


def program(folder: Path, name: str, text: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


def secret(number: int, version: str) -> dict[str, Any]:
    """A record of Helm's as Kubernetes gives it."""
    release = gzip.compress(json.dumps({"chart": {"metadata": {"name": "binderhub", "version": version}}}).encode())
    packed = base64.b64encode(base64.b64encode(release)).decode()
    return {"metadata": {"labels": {"version": str(number)}}, "data": {"release": packed}}


def asked(folder: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", script()],
        input=question(sample_spec()),
        env={"PATH": f"{folder}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return dict(json.loads(done.stdout))


def test_what_runs_is_asked_and_not_the_file_that_would_start_next(tmp_path: Path) -> None:
    # The unit's process is this one: it says which Python it is.
    program(tmp_path, "systemctl", f'[ "$5" = minio.service ] && echo 0 || echo {os.getpid()}')
    records = json.dumps({"items": [secret(9, "1.0-9"), secret(10, "1.0-10")]})
    (tmp_path / "records.json").write_text(records)
    program(
        tmp_path, "k3s", f'case "$*" in *secrets*) cat {tmp_path}/records.json;; *nodeInfo*) echo v1.35.8+k3s1;; esac'
    )
    program(tmp_path, "buildctl", "echo BuildKit: github.com/moby/buildkit v0.33.1 0123abc")
    found = asked(tmp_path)
    python = subprocess.run([sys.executable, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    assert found["units"]["registry-push.service"] == python
    assert found["units"]["minio.service"] == ""
    assert found["kubelet"] == "v1.35.8+k3s1"
    assert found["buildkitd"].startswith("BuildKit: ")
    assert found["chart"] == "1.0-10"


def test_what_does_not_answer_is_empty(tmp_path: Path) -> None:
    program(tmp_path, "systemctl", "exit 1")
    program(tmp_path, "k3s", "echo refused >&2; exit 1")
    found = asked(tmp_path)
    assert found == {"units": dict.fromkeys(found["units"], ""), "kubelet": "", "buildkitd": "", "chart": ""}
