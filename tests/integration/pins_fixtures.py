"""Feeds of the pinned versions, and ``pins`` run against them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pytest_httpserver import HTTPServer
from typer.testing import CliRunner, Result

from binder_node.cli.main import app
from tests.testbed.vendors import Vendors, digest

K3S = ("k3s", "k3s-airgap-images-amd64.tar.zst")
K3S_ARM = ("k3s-arm64", "k3s-airgap-images-arm64.tar.zst")
CHART = "1.0.0-0.dev.git.3983.h383374de"
NEXT_CHART, LAST_CHART = "1.0.0-0.dev.git.3990.h0123abcd", "1.0.0-0.dev.git.4001.hfeedbee5"
IMAGE = "quay.io/jupyterhub/repo2docker:2026.4.1.dev44-g97bb4e45a"
NEXT_IMAGE = "quay.io/jupyterhub/repo2docker:2026.10.0.dev3-gabcdef012"


def k3s(vendors: Vendors, tag: str, **more: Any) -> None:
    lists = {"sha256sum-amd64.txt": K3S, "sha256sum-arm64.txt": K3S_ARM}
    vendors.release("k3s-io/k3s", tag, *K3S, *K3S_ARM, lists=lists, **more)


def buildkit(vendors: Vendors, tag: str, **more: Any) -> None:
    files = [f"buildkit-{tag}.linux-{arch}.tar.gz" for arch in ("amd64", "arm64")]
    vendors.release("moby/buildkit", tag, *files, **more)


def cni(vendors: Vendors, tag: str) -> None:
    files = [f"cni-plugins-linux-{arch}-{tag}.tgz" for arch in ("amd64", "arm64")]
    vendors.release("containernetworking/plugins", tag, *files, lists={f"{file}.sha256": (file,) for file in files})


def registry(vendors: Vendors, tag: str) -> None:
    files = [f"registry_{tag.removeprefix('v')}_linux_{arch}.tar.gz" for arch in ("amd64", "arm64")]
    vendors.release("distribution/distribution", tag, *files)


def numbers(vendors: Vendors, name: str, tag: str) -> None:
    files = [f"{name}-{tag.removeprefix('v')}.linux-{arch}.tar.gz" for arch in ("amd64", "arm64")]
    vendors.release(f"prometheus/{name}", tag, *files, lists={"sha256sums.txt": tuple(files)})


def helm(vendors: Vendors, tag: str) -> None:
    vendors.release("helm/helm", tag, f"helm-{tag}-linux-amd64.tar.gz.asc")
    for arch in ("amd64", "arm64"):
        file = f"helm-{tag}-linux-{arch}.tar.gz"
        vendors.lists[f"/helm/{file}.sha256sum"] = f"{digest(tag, file)}  {file}\n"


def played(server: HTTPServer) -> Vendors:
    """The pinned versions, and newer ones of some."""
    made = Vendors(server)
    made.channels = {
        "stable": "v1.36.4+k3s1",
        "latest": "v1.37.0+k3s1",
        "v1.34": "v1.34.9+k3s1",
        "v1.35": "v1.35.8+k3s1",
        "v1.36": "v1.36.4+k3s1",
        "v1.37": "v1.37.0+k3s1",
        "v1.37-testing": "v1.37.1-rc1+k3s1",
    }
    for tag in ("v1.35.8+k3s1", "v1.36.4+k3s1", "v1.37.0+k3s1"):
        k3s(made, tag)
    buildkit(made, "v0.33.1")
    cni(made, "v1.9.1")
    registry(made, "v3.1.2")
    for name, tag in (("prometheus", "v3.13.5"), ("alertmanager", "v0.31.1"), ("node_exporter", "v1.12.1")):
        numbers(made, name, tag)
    for name, tag in (("minio", "RELEASE.2025-09-07T16-13-09Z"), ("mc", "RELEASE.2025-08-13T08-35-41Z")):
        made.release(f"minio/{name}", tag, *(f"{name}.linux-{arch}.{tag}" for arch in ("amd64", "arm64")), shown=False)
    made.release("FiloSottile/age", "v1.2.1", "age-v1.2.1-linux-amd64.tar.gz", "age-v1.2.1-linux-arm64.tar.gz")
    helm(made, "v4.3.0")
    for version in ("0.1.0-fd778a3", CHART, NEXT_CHART, LAST_CHART):
        made.chart("binderhub", version)
    made.chart("jupyterhub", "4.3.5")
    made.chart("cryptnono", "0.3.2-0.dev.git.267.h766bf8f")
    made.tags = {"jupyterhub/repo2docker": ["latest", "main", IMAGE.rpartition(":")[2], "2026.4.0", "2025.12.0"]}
    made.versions = {"binderhub": CHART, "builder_info": {"build_image": IMAGE}}
    return made


def run(vendors: Vendors, file: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["pins", *words, "--pins", str(file), *vendors.options])


def parsed(vendors: Vendors, file: Path, *words: str, code: int) -> dict[str, Any]:
    done = run(vendors, file, *words, "-o", "json")
    assert done.exit_code == code, done.stderr + done.stdout
    found = json.loads(done.stdout)
    return {**found, "components": {row["name"]: row for row in found["components"]}}


def states(found: dict[str, Any]) -> dict[str, str]:
    return {name: row["state"] for name, row in found["components"].items()}
