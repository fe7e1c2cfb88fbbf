"""``docs/reference/host.md``: what a node has, from the same functions that make it.

``python -m binder_node.host.describe`` prints it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from binder_node import layout
from binder_node.artifacts.model import Artifact
from binder_node.host.render import render
from binder_node.host.wanted import Component, Wanted
from binder_node.secrets.masked import Masked
from binder_node.secrets.model import Secrets
from binder_node.spec.model import Machine, Spec
from binder_node.spec.sizing import defaults

NODE = "bids-1"
# Port, who listens where, who gets in.
PORTS = (
    ("22", "sshd", "`ssh.admin_networks`"),
    ("80, 443", "ingress", "everybody but builds"),
    (str(layout.API_PORT), "Kubernetes API", "pods, `kubernetes.api_from`; else through ssh"),
    (str(layout.PUSH_PORT), "registry that takes pushes, on loopback", "the node itself (buildkitd)"),
    (str(layout.PULL_PORT), "registry, read-only", "the node itself (containerd), pods (BinderHub)"),
    (
        str(layout.CACHE_PORT),
        "cache of Docker Hub, on loopback, where `registry.cache_days` is not 0",
        "the node itself",
    ),
    (str(layout.MINIO_PORT), "MinIO, on loopback, with `storage.kind: node`", "the node itself"),
    ("10250", "kubelet", "the node itself"),
    (
        f"{layout.PROMETHEUS_PORT}, {layout.ALERTMANAGER_PORT}, {layout.EXPORTER_PORT}, {layout.PUSH_NUMBERS}, "
        f"{layout.PULL_NUMBERS}",
        "Prometheus, Alertmanager, node exporter, the registries' numbers, on loopback",
        "the node itself; you through ssh",
    ),
)
ABOUT = {
    "kernel": "limits, modules, no swap, a clock that is kept",
    "hosts": "names that resolve here whatever DNS says",
    "login": "who may log in by ssh: lines of ours beside those of others",
    "disk": "the data disk, where `machine.data_disk` names one",
    "state": "the state folder, and K3s's and the kubelet's own folders as bind mounts from there",
    "firewall": "one nftables table; see [the firewall](../explanation/firewall.md)",
    "engine": "the folder that build pods mount read-only",
    "minio": "the bucket, with `storage.kind: node`",
    "registry": "CNCF Distribution twice on one bucket: one takes pushes, one only reads",
    "hubcache": "Distribution once more, as a cache of Docker Hub, where `registry.cache_days` is not 0",
    "k3s": "Kubernetes, by its binary and our own unit",
    "buildkit": "the image builder",
    "recording": "writes down how what timers start has ended; `binder-node status` shows it",
    "programs": "how programs of ours talk to a bucket",
    "banned": "repositories that are not launched, and the reading of `abuse.banned_url` on a timer",
    "events": "the log of launches, archived in the bucket on a timer",
    "watch": "remembers who asked for what and was cut, longer than pods live; see `binder-node abuse`",
    "retention": "the record of which images are used, and the removal of those that are not",
    "pods": "removes pods that serve nobody",
    "backup": "what is not in the bucket, encrypted into a bucket on a timer",
    "metrics": "Prometheus with a store that stays small, Alertmanager, node exporter, and a program of ours for "
    "what these do not know; see [alerts](alerts.md)",
    "pins": "what all of it was made of: versions, places, digests; what `binder-node upgrade` goes back to",
}


def reference() -> str:
    """The page, in Markdown."""
    wanted = _example()
    lines = [
        "# What a node has",
        "",
        f"Made from the code by `python -m binder_node.host.describe`, for an inventory called `{NODE}` that says no",
        "more than it must, `machine.data_disk: auto` and `registry.cache_days: 7`. `binder-node plan` shows the same",
        "for yours, with differences. What is listed here is removed again when a later version no longer wants it:",
        f"`{layout.ETC}/manifest.json` remembers it.",
        "",
        "## Ports",
        "",
        "| Port | What | Let in |",
        "|---|---|---|",
        *(f"| {port} | {what} | {who} |" for port, what, who in PORTS),
        "",
        "Builds reach none of them. Outward they have ports "
        f"{', '.join(map(str, layout.OUTWARD))} and DNS, towards public addresses.",
    ]
    for component in wanted.components:
        lines += [
            "",
            f"## {component.name}",
            "",
            ABOUT[component.name][0].upper() + ABOUT[component.name][1:] + ".",
            "",
        ]
        lines += list(_rows(component))
    return "\n".join(lines) + "\n"


def _rows(component: Component) -> Iterator[str]:
    yield "| | Path or name | |"
    yield "|---|---|---|"
    for package in component.packages:
        yield f"| package | `{package}` | |"
    for user in component.users:
        yield f"| user | `{user.name}` | no login |"
    for folder in component.folders:
        yield f"| folder | `{folder.path}` | {folder.mode:04o} {folder.owner}:{folder.group} |"
    for file in component.all_files():
        secret = ", secret" if file.secret else ""
        yield f"| file | `{file.path}` | {file.mode:04o} {file.owner}:{file.group}{secret} |"
    for link in component.links:
        target = link.target.replace("0" * 16, "DIGEST")
        yield f"| link | `{link.path}` | `{target}` |"
    for copy in component.copies:
        yield f"| copy | `{copy.path}` | of `{copy.artifact.name}` |"
    for block in component.blocks:
        yield f"| lines in | `{block.path}` | {'; '.join(f'`{line}`' for line in block.lines)} |"
    for unit in component.units:
        again = f"restarts when {_these(unit.restart_on)} change" if unit.restart_on else ""
        yield f"| unit | `{unit.name}` | {again} |"


def _these(paths: tuple[str, ...]) -> str:
    return ", ".join(f"`{path.rpartition('/')[2]}`" for path in paths)


def _example() -> Wanted:
    size = {"cpus": 8, "memory": "32G", "disk": "240G"}
    machine, names = {**size, "data_disk": "auto"}, {"binder": "bids.mybinder.org"}
    computed = defaults(Machine.model_validate(machine), names)
    spec = Spec.model_validate(
        {
            "name": NODE,
            "provider": {"kind": "local"},
            "tls": {"mode": "none"},
            "storage": {"kind": "node"},
            "registry": {"cache_days": 7},
            **computed,
            "machine": machine,
            "names": {**names, **computed["names"]},
        }
    )
    fields = {name: field for name, field in Secrets.model_fields.items() if field.is_required()}
    blank = {name: Masked("-") if field.annotation is Masked else "-" for name, field in fields.items()}
    # The names of lifecycle.opened.wanted_artifacts; their digests are nothing.
    pins = ("k3s", "k3s-images", "buildkitd", "buildctl", "cni-bridge", "cni-host-local", "cni-loopback", "registry",
            "minio", "age", "prometheus", "alertmanager", "node-exporter")  # fmt: skip
    artifacts = {name: Artifact(name, "", Path(name), "0" * 64, 0) for name in pins}
    files = {"etc/repo2docker.py": b"", "site/...": b""}
    return render(spec, Secrets.model_validate(blank), artifacts, "203.0.113.10", "", files, made_of="-")


if __name__ == "__main__":
    sys.stdout.write(reference())
