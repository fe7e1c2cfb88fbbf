"""Where things lie on a node: the paths, ports and names that more than one room must agree on."""

from __future__ import annotations

from pathlib import PurePosixPath

BIN = PurePosixPath("/usr/local/bin")  # links to STORE
STORE = PurePosixPath("/opt/binder-node/store")  # <name>-<first 16 of sha256>: a file here was verified
ETC = PurePosixPath("/etc/binder-node")
PINS = ETC / "pins.toml"  # what the node was made of: versions, places and digests
LIB = PurePosixPath("/opt/binder-node/lib")  # our own programs that stay on the node

K3S_CONFIG = PurePosixPath("/etc/rancher/k3s/config.yaml")
K3S_REGISTRIES = PurePosixPath("/etc/rancher/k3s/registries.yaml")
K3S_KUBECONFIG = PurePosixPath("/etc/rancher/k3s/k3s.yaml")
K3S_DATA = PurePosixPath("/var/lib/rancher/k3s")  # K3s's own default; bind-mounted from the state folder
K3S_KUBELET = K3S_DATA / "agent/etc/kubelet.conf.d/99-binder-node.conf"
K3S_MANIFESTS = K3S_DATA / "server/manifests"
K3S_IMAGES = K3S_DATA / "agent/images"
CONTAINERD_SOCKET = PurePosixPath("/run/k3s/containerd/containerd.sock")

BUILDKIT_SOCKET = PurePosixPath("/run/buildkit/buildkitd.sock")
BUILDKIT_CONFIG = PurePosixPath("/etc/buildkit/buildkitd.toml")
BUILDKIT_CNI_CONFIG = PurePosixPath("/etc/buildkit/cni.conflist")
CNI_BIN = PurePosixPath("/opt/binder-node/cni")  # links to STORE

# Subfolders of Spec.machine.state
RANCHER_STATE, BUILDKIT_STATE, MINIO_STATE, HUB_STATE, ENGINE_STATE = "rancher", "buildkit", "minio", "hub", "engine"
RETENTION_STATE = "retention"  # what is to go of the registry, between looking and removing
USES = "binder-node-uses/"  # in the bucket: when each image was used last, an object a machine
JOBS_STATE = "jobs"  # how what timers start has ended, a file each
ACME_STATE = "acme"  # Traefik's account and certificates
BACKUP_STATE = "backup"  # room for a backup that is being made
# What a bucket keeps of nodes; below it a folder for each.
BACKUPS = "binder-node-backup/"
RESTORED = ETC / "restored.json"  # which backup this machine was made from
EVENTS_STATE = "events"  # launches, a file a day
EVENTS = "events/"  # their archive in the bucket
HUB_CACHE = "docker-hub/"  # in the bucket: what the cache of Docker Hub keeps, a registry's root of its own

BANNED_STATE = "banned"  # repositories that are not launched, a file a source: the inventory, the list at a URL
BANNED_OWN, BANNED_FETCHED = "inventory", "fetched"
METRICS_STATE = "metrics"  # what was measured, and which alerts were told

ABUSE_STATE = "abuse"  # who asked for what, was cut, ran: a file a day
BUILD_LOGS = PurePosixPath("/var/log/binder-node/builds")  # links beside the kubelet's own, which go with their pods

# Around our lines in files that are not ours.
MARKERS = ("# binder-node: begin", "# binder-node: end")

API_PORT = 6443  # K3s's own
MINIO_PORT = 9000  # loopback only
MINIO_REGION = "us-east-1"  # what MinIO signs with unless told otherwise
PUSH_PORT = 5000  # registry, push rights, loopback only; the port in every image's name
PULL_PORT = 5001  # the same bucket, read only; for containerd, and for BinderHub through a Service
CACHE_PORT = 5002  # cache of Docker Hub, loopback only; for buildkitd and containerd
# What tells numbers, on loopback; the registries' beside their own ports.
PUSH_NUMBERS, PULL_NUMBERS, EXPORTER_PORT = 5003, 5004, 9100
PROMETHEUS_PORT, ALERTMANAGER_PORT = 9090, 9093
NAMESPACE = "binder"
RELEASE = "binder"
REGISTRY_SERVICE = "registry"  # Service in NAMESPACE, port 80 -> node's PULL_PORT
PUSH_USER, PULL_USER = "push", "pull"
HUB_UID = 1000
METRICS_ACCOUNT = "metrics"  # ServiceAccount in NAMESPACE that may read the kubelet's numbers
TRAEFIK_UID = 65532  # whom K3s's chart of Traefik runs it as
# buildkitd's `defaultCgroupParent`, for both workers: where build steps run, and where the build guard looks.
BUILD_GROUP = "binder-node-builds"
BUILD_GUARD = "bin/guard.py"  # below ENGINE_STATE

# Where users' code must not connect to, whether a pod's (NetworkPolicy) or a build step's (firewall).
# IANA's special-purpose registry, but for 198.18.0.0/15 (benchmarking): test machines live there, and nobody else.
RESERVED = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4",
    "240.0.0.0/4",
)  # fmt: skip
# TCP ports that the federation lets user and build pods reach (mybinder.org-deploy, NetworkPolicy): web, git, rsync,
# XRootD, and what IPFS uses.
OUTWARD = (80, 443, 873, 1094, 1095, 4001, 9418, 16286)
# SMTP and submission (IANA): no pod and no build has mail to send.
MAIL = (25, 465, 587)


def stored(name: str, sha256: str) -> PurePosixPath:
    """The path of an artifact on the node."""
    return STORE / f"{name}-{sha256[:16]}"


def registry_name(registry: str) -> str:
    """Host and port as they stand in image names: ``registry.example.org:5000``."""
    return f"{registry}:{PUSH_PORT}"
