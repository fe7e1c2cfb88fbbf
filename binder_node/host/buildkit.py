"""BuildKit on K3s's containerd (what it builds is at once in the kubelet's image store), or with a store of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from binder_node.artifacts.model import Artifact
from binder_node.host.firewall import BRIDGE
from binder_node.host.hubcache import mirrors as mirrors_of
from binder_node.host.wanted import FOR_EVER, Component, File, Folder, Link, Unit, Upload, Wait, unit_file
from binder_node.layout import (
    BIN,
    BUILD_GROUP,
    BUILD_GUARD,
    BUILDKIT_CNI_CONFIG,
    BUILDKIT_CONFIG,
    BUILDKIT_SOCKET,
    BUILDKIT_STATE,
    CNI_BIN,
    CONTAINERD_SOCKET,
    ENGINE_STATE,
    registry_name,
)
from binder_node.spec.model import Spec

UNIT, GUARD_UNIT = "buildkit.service", "binder-node-guard.service"
CNI = ("bridge", "host-local", "loopback")
# Seconds that it waits for K3s's containerd at its start.
CONTAINERD_WAIT = 120
# K3s's own runc, then the distribution's.
PATH = "/var/lib/rancher/k3s/data/current/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def buildkit(spec: Spec, artifacts: Mapping[str, Artifact]) -> Component:
    """buildkitd with its bridge, collector and limits."""
    binary, link = Upload(artifacts["buildkitd"]), str(BIN / "buildkitd")
    plugins = {name: Upload(artifacts[f"cni-{name}"]) for name in CNI}
    files = (
        File(str(BUILDKIT_CONFIG), _config(spec).encode()),
        File(str(BUILDKIT_CNI_CONFIG), (json.dumps(_network(spec), indent=2) + "\n").encode()),
    )
    links = (Link(link, binary.path), *(Link(f"{CNI_BIN}/{name}", upload.path) for name, upload in plugins.items()))
    return Component(
        "buildkit",
        folders=(Folder(str(BUILDKIT_CONFIG.parent)), Folder(str(CNI_BIN))),
        uploads=(binary, *plugins.values()),
        files=files,
        links=links,
        units=(
            Unit(
                UNIT,
                _unit(spec, link),
                restart_on=(link, *(file.path for file in files)),
                waits=(Wait("unix", str(BUILDKIT_SOCKET)),),
                deadline=CONTAINERD_WAIT + 30.0,
            ),
            Unit(GUARD_UNIT, _guard_unit(spec), restart_on=(_guard(spec),)),
        ),
    )


def _config(spec: Spec) -> str:
    own = spec.buildkit.worker
    lines = [
        "# Made by binder-node; changes here are undone by the next `up`.",
        f"root = {_quoted(f'{spec.machine.state}/{BUILDKIT_STATE}')}",
        "",
        "[grpc]",
        f"address = [{_quoted(f'unix://{BUILDKIT_SOCKET}')}]",
        "",
        "[worker.oci]",
        f"enabled = {_truth(own == 'oci')}",
        *(_worker(spec) if own == "oci" else []),
        "",
        "[worker.containerd]",
        f"enabled = {_truth(own == 'containerd')}",
    ]
    if own == "containerd":
        lines += [f"address = {_quoted(str(CONTAINERD_SOCKET))}", 'namespace = "k8s.io"', *_worker(spec)]
    return "\n".join([*lines, *_collector(spec), *_registries(spec)]) + "\n"


def _worker(spec: Spec) -> list[str]:
    return [
        'snapshotter = "overlayfs"',
        f"max-parallelism = {spec.buildkit.parallelism}",
        # Without this a step runs in the host's own network.
        'networkMode = "cni"',
        f"cniConfigPath = {_quoted(str(BUILDKIT_CNI_CONFIG))}",
        f"cniBinaryPath = {_quoted(str(CNI_BIN))}",
        # Where the guard finds the steps.
        f"defaultCgroupParent = {_quoted(BUILD_GROUP)}",
        "gc = true",
    ]


def _collector(spec: Spec) -> list[str]:
    """BuildKit's own default policy, with our limits (spec/sizing.py says how they fit the kubelet's)."""
    limit, free = int(spec.buildkit.cache), spec.buildkit.keep_free
    limits = [f"maxUsedSpace = {_quoted(str(limit))}", f'minFreeSpace = "{free}%"']
    table = f"[[worker.{spec.buildkit.worker}.gcpolicy]]"
    return [
        "",
        "# What is made again most easily goes first.",
        table,
        'filters = ["type==source.local", "type==exec.cachemount", "type==source.git.checkout"]',
        'keepDuration = "48h"',
        f"maxUsedSpace = {_quoted(str(limit // 10))}",
        "",
        table,
        *limits,
        "",
        table,
        "all = true",
        *limits,
    ]


def _registries(spec: Spec) -> list[str]:
    """The node's own registry, and mirrors: BuildKit names a mirror without its scheme."""
    lines = ["", f"[registry.{_quoted(registry_name(spec.names.registry))}]", "http = true"]
    plain: list[str] = []
    for name, endpoints in sorted(mirrors_of(spec).items()):
        mirrors = [endpoint.partition("://")[2].rstrip("/") for endpoint in endpoints]
        lines += ["", f"[registry.{_quoted(name)}]", f"mirrors = [{', '.join(map(_quoted, mirrors))}]"]
        plain += [
            mirror.partition("/")[0] for mirror, url in zip(mirrors, endpoints, strict=True) if "http:" in url[:5]
        ]
    for host in dict.fromkeys(plain):
        lines += ["", f"[registry.{_quoted(host)}]", "http = true"]
    return lines


def _quoted(text: str) -> str:
    return json.dumps(text)  # a JSON string is a TOML basic string


def _truth(value: bool) -> str:
    return "true" if value else "false"


def _network(spec: Spec) -> dict[str, Any]:
    return {
        "cniVersion": "1.0.0",
        "name": "buildkit",
        "plugins": [
            {
                "type": "bridge",
                "bridge": BRIDGE,
                "isDefaultGateway": True,
                "ipMasq": False,  # the firewall's table does it, once for all
                "portIsolation": True,  # no step sees another
                "mtu": spec.buildkit.mtu,
                "ipam": {"type": "host-local", "ranges": [[{"subnet": str(spec.buildkit.network)}]]},
            }
        ],
    }


def _unit(spec: Spec, binary: str) -> str:
    shared = spec.buildkit.worker == "containerd"
    socket = CONTAINERD_SOCKET
    wait = (
        f"/usr/bin/timeout {CONTAINERD_WAIT} /bin/sh -c "
        f"'until {BIN}/ctr --address {socket} version >/dev/null 2>&1; do sleep 0.2; done'"
    )
    return unit_file(
        Unit=[
            ("Description", "BuildKit (binder-node)"),
            ("After", "network.target binder-node-firewall.service" + (" k3s.service" if shared else "")),
            # Its containerd goes and comes with K3s: start anew with it.
            *([("PartOf", "k3s.service")] if shared else []),
            FOR_EVER,
            ("RequiresMountsFor", f"{spec.machine.state}/{BUILDKIT_STATE}"),
        ],
        Service=[
            ("Type", "notify"),
            ("Environment", f"PATH={PATH}"),
            # containerd keeps the steps of a buildkitd that was killed, and nothing else ever ends them.
            ("ExecStartPre", f"-/usr/bin/python3 {_guard(spec)} --parent {BUILD_GROUP} --sweep"),
            *([("ExecStartPre", wait)] if shared else []),
            ("ExecStart", f"{binary} --config {BUILDKIT_CONFIG}"),
            ("Delegate", "yes"),
            ("LimitNOFILE", "1048576"),
            ("LimitNPROC", "infinity"),
            ("LimitCORE", "infinity"),
            ("TasksMax", "infinity"),
            ("TimeoutStartSec", f"{CONTAINERD_WAIT + 30}"),
            # While it waits for a build to end nothing else is built; the engine begins one anew that was broken off.
            ("TimeoutStopSec", "10"),
            ("Restart", "always"),
            ("RestartSec", "1"),
        ],
        Install=[("WantedBy", "multi-user.target")],
    )


def _guard(spec: Spec) -> str:
    return f"{spec.machine.state}/{ENGINE_STATE}/{BUILD_GUARD}"


def _guard_unit(spec: Spec) -> str:
    """Ends a step that writes more than a build may (cluster/engine/guard.py)."""
    limit = int(spec.buildkit.disk)
    return unit_file(
        Unit=[
            ("Description", "Guard of what builds write (binder-node)"),
            ("RequiresMountsFor", f"{spec.machine.state}/{ENGINE_STATE}"),
            FOR_EVER,
        ],
        Service=[
            ("ExecStart", f"/usr/bin/python3 {_guard(spec)} --parent {BUILD_GROUP} --limit {limit}"),
            ("Nice", "10"),
            ("Restart", "always"),
            ("RestartSec", "2"),
        ],
        Install=[("WantedBy", "multi-user.target")],
    )
