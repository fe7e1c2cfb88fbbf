"""K3s by its binary, our own unit and its configuration files; never by the install script."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from binder_node.artifacts.model import Artifact
from binder_node.host.disk import mount_unit
from binder_node.host.hubcache import mirrors
from binder_node.host.state import MOUNTS
from binder_node.host.text import yaml_text
from binder_node.host.wanted import FOR_EVER, Component, File, Folder, Link, Unit, Upload, Wait, unit_file
from binder_node.layout import (
    BIN,
    CONTAINERD_SOCKET,
    K3S_CONFIG,
    K3S_DATA,
    K3S_IMAGES,
    K3S_KUBELET,
    K3S_MANIFESTS,
    K3S_REGISTRIES,
    PULL_PORT,
    PULL_USER,
    RANCHER_STATE,
    registry_name,
)
from binder_node.secrets.model import Secrets
from binder_node.spec.model import Spec

UNIT = "k3s.service"
TOKEN = str(K3S_CONFIG.parent / "config.yaml.d/token.yaml")
# Artifacts that are no tarballs of images for the node's store.
OTHERS = (
    "k3s", "buildkitd", "buildctl", "cni-bridge", "cni-host-local", "cni-loopback", "registry", "minio", "mc", "age",
    "prometheus", "alertmanager", "node-exporter", "helm", "binderhub-chart", "cryptnono-chart",
)  # fmt: skip
# K3s looks at a file's ending before it reads it.
ENDINGS = (".tar.zst", ".tar.gz", ".tar.lz4", ".tar.bz2", ".tgz", ".tar")
# The cache keeps an artifact under its pin's name, which has no ending: then its first bytes say.
MAGIC = {b"\x28\xb5\x2f\xfd": ".tar.zst", b"\x1f\x8b": ".tar.gz", b"\x04\x22\x4d\x18": ".tar.lz4", b"BZh": ".tar.bz2"}
# Kubernetes gives a node a /24: 254 addresses. More pods than that need a larger share, and as many again for those
# that are going while others come.
POD_MASK = 24
# The hub's database is a file in the state folder; nothing claims volumes, and nobody asks for metrics.
DISABLED = ["local-storage", "metrics-server"]
# The federation's chart brings a Traefik of its own; Prometheus, Grafana and Harbor claim volumes.
DISABLED_FOR_A_CENTRAL_DEPLOY = ["traefik", "metrics-server"]


def k3s(spec: Spec, secrets: Secrets, artifacts: Mapping[str, Artifact], address: str, manifests: str) -> Component:
    """``manifests`` is what K3s applies by itself at its start, as one YAML stream."""
    binary, link = Upload(artifacts["k3s"]), str(BIN / "k3s")
    images = [artifact for name, artifact in artifacts.items() if name not in OTHERS]
    files = (
        File(str(K3S_CONFIG), yaml_text(_config(spec, address)), 0o600),
        File(TOKEN, yaml_text({"token": secrets.k3s_token.reveal()}), 0o600, secret=True),
        File(str(K3S_REGISTRIES), yaml_text(_registries(spec, secrets)), 0o600, secret=True),
        File(on_disk(spec, str(K3S_KUBELET)), yaml_text(kubelet(spec)), 0o600),
    )
    restart_on = (link, *(file.path for file in files))
    # K3s watches this folder: no restart for a change here.
    applied = File(on_disk(spec, f"{K3S_MANIFESTS}/binder-node.yaml"), manifests.encode(), 0o600)
    return Component(
        "k3s",
        folders=(
            Folder(str(K3S_CONFIG.parent)),
            Folder(str(K3S_CONFIG.parent / "config.yaml.d"), 0o700),
            *(Folder(on_disk(spec, str(path)), mode) for path, mode in _folders()),
        ),
        uploads=(binary, *(Upload(image, 0o644) for image in images)),
        files=(*files, *([] if spec.central else [applied])),
        links=(
            Link(link, binary.path),
            *(Link(str(BIN / name), "k3s") for name in ("kubectl", "crictl", "ctr")),
            *(Link(on_disk(spec, f"{K3S_IMAGES}/{_image_file(image)}"), Upload(image).path) for image in images),
        ),
        units=(
            Unit(
                UNIT,
                _unit(spec, link),
                restart_on=restart_on,
                waits=(
                    Wait("unix", str(CONTAINERD_SOCKET)),
                    Wait("command", f"{link} kubectl get --raw /readyz"),
                ),
                deadline=180.0,
            ),
        ),
    )


def on_disk(spec: Spec, path: str) -> str:
    """Where a path below K3s's data folder lies on the state disk: there before the bind mount is."""
    mounted = "/var/lib/rancher"
    assert path.startswith(f"{mounted}/"), path
    return f"{spec.machine.state}/{RANCHER_STATE}{path.removeprefix(mounted)}"


def _folders() -> list[tuple[Any, int]]:
    return [
        (K3S_DATA, 0o755),
        (K3S_DATA / "agent", 0o755),
        (K3S_IMAGES, 0o755),
        (K3S_DATA / "agent/etc", 0o755),
        (K3S_KUBELET.parent, 0o755),
        (K3S_DATA / "server", 0o755),
        (K3S_MANIFESTS, 0o700),
    ]


def _image_file(image: Artifact) -> str:
    ending = next((ending for ending in ENDINGS if image.path.name.endswith(ending)), None) or _packed(image)
    return f"{image.name}{ending}"


def _packed(image: Artifact) -> str:
    try:
        with image.path.open("rb") as file:
            head = file.read(4)
    except FileNotFoundError:  # a plan for artifacts that are not here
        head = b""
    return next((ending for magic, ending in MAGIC.items() if head.startswith(magic)), ".tar")


def _config(spec: Spec, address: str) -> dict[str, Any]:
    config: dict[str, Any] = {
        "node-name": spec.name,
        "node-ip": address,
        "write-kubeconfig-mode": "0600",
        "cluster-cidr": str(spec.kubernetes.pod_network),
        "service-cidr": str(spec.kubernetes.service_network),
        "tls-san": [address, spec.names.binder],
        "secrets-encryption": True,
        "disable": DISABLED_FOR_A_CENTRAL_DEPLOY if spec.central else DISABLED,
    }
    mask = min(POD_MASK, 32 - math.ceil(math.log2(2 * spec.kubernetes.max_pods)))
    if mask < POD_MASK:
        config["kube-controller-manager-arg"] = [f"node-cidr-mask-size={mask}"]
    return config


def _registries(spec: Spec, secrets: Secrets) -> dict[str, Any]:
    own, pull = registry_name(spec.names.registry), f"127.0.0.1:{PULL_PORT}"
    others = {name: {"endpoint": list(endpoints)} for name, endpoints in sorted(mirrors(spec).items())}
    if spec.central:
        return {"mirrors": others}
    all_of_them = {own: {"endpoint": [f"http://{pull}"]}, **others}
    auth = {"username": PULL_USER, "password": secrets.registry_pull_password.reveal()}
    return {"mirrors": all_of_them, "configs": {pull: {"auth": auth}}}


def kubelet(spec: Spec) -> dict[str, Any]:
    """The kubelet's configuration beside K3s's own."""
    limits = spec.kubernetes
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "maxPods": limits.max_pods,
        "imageGCHighThresholdPercent": limits.image_gc_high,
        "imageGCLowThresholdPercent": limits.image_gc_low,
        # Said whole: a list here replaces the defaults.
        "evictionHard": {
            "memory.available": "200Mi",
            "nodefs.available": f"{limits.evict_below}%",
            "nodefs.inodesFree": "5%",
            "imagefs.available": f"{limits.evict_below}%",
            "imagefs.inodesFree": "5%",
        },
        # One pull at a time made launches wait 28 minutes for one second's work (mybinder.org-deploy #3080).
        "serializeImagePulls": False,
        "maxParallelImagePulls": 4,
        "registryPullQPS": 20,
        "registryBurst": 40,
        "containerLogMaxSize": "10Mi",
        "containerLogMaxFiles": 3,
    }


def _unit(spec: Spec, binary: str) -> str:
    # BuildKit lives in its containerd: it ends with it (PartOf), and has to come back with it, too.
    beside = not spec.central and spec.buildkit.worker == "containerd"
    mounts = " ".join(mount_unit(where) for where in MOUNTS)
    return unit_file(
        Unit=[
            ("Description", "K3s (binder-node)"),
            # After it where something else wants it: to want it here has cost two minutes on a machine whose
            # network is not networkd's. K3s restarts until its address is there.
            ("After", f"network-online.target binder-node-firewall.service binder-node-swapoff.service {mounts}"),
            ("Requires", mounts),
            *([("Wants", "buildkit.service")] if beside else []),
            FOR_EVER,
        ],
        Service=[
            ("Type", "notify"),
            ("ExecStartPre", "-/sbin/modprobe br_netfilter"),
            ("ExecStartPre", "-/sbin/modprobe overlay"),
            ("ExecStart", f"{binary} server"),
            # Pods outlive a restart of K3s.
            ("KillMode", "process"),
            ("Delegate", "yes"),
            ("LimitNOFILE", "1048576"),
            ("LimitNPROC", "infinity"),
            ("LimitCORE", "infinity"),
            ("TasksMax", "infinity"),
            ("TimeoutStartSec", "180"),
            ("Restart", "always"),
            ("RestartSec", "2"),
        ],
        Install=[("WantedBy", "multi-user.target")],
    )
