"""The Spec: one node, described whole, validated and frozen. Everything downstream takes a Spec, never a dict.

Fields without a default here are either for the operator to say, or computed from the machine's size by
:mod:`binder_node.spec.sizing`; the loader merges those under what the inventory says before validation, so
that a Spec is always complete. A field's ``description`` is the reference's text.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from binder_node.spec.abuse import Abuse
from binder_node.spec.backup import Backup
from binder_node.spec.cost import Cost
from binder_node.spec.eventlog import Events
from binder_node.spec.metrics import Alerts, Metrics
from binder_node.spec.public import (
    Dns,
    Names,
    NoDns,
    Tls,
)
from binder_node.spec.quantity import Quantity
from binder_node.spec.registry import Registry
from binder_node.spec.types import (
    BUCKET,
    DATA_DISK,
    FINGERPRINT,
    IMAGE,
    LOGIN,
    MEMBER,
    PLACEMENT,
    PREDECESSOR,
    SPONSOR,
    Model,
    NodeName,
    OperatorName,
    Percent,
    PublicKey,
    ServerLocation,
    ServerType,
    Url,
)
from binder_node.spec.window import WINDOW

AGENT = Path("agent")


class Machine(Model):
    """The machine's size, said so that every default can be computed, and checked against the real one."""

    cpus: int = Field(ge=1, le=1024, description="Cores.", examples=[8])
    memory: Quantity = Field(description="RAM, as the seller writes it: 192G.", examples=["32G"])
    disk: Quantity = Field(description="Size of the filesystem that `state` lies on: 960G.", examples=["240G"])
    arch: Literal["amd64", "arm64"] = Field("amd64", description="The processor's architecture, as Go names it.")
    state: Path = Field(
        Path("/var/lib/binder-node"),
        description="Folder for images, caches, buckets and databases; where `data_disk` is mounted.",
    )
    data_disk: str | None = Field(
        None,
        pattern=DATA_DISK,
        description="An extra disk for `state`, made XFS and mounted there: its stable name, or `auto`, the one empty "
        "disk. One with anything on it is refused. Then `disk` is its size. None: `state` is where it is.",
        examples=["/dev/disk/by-id/scsi-0HC_Volume_1234"],
    )


class LocalProvider(Model):
    """A systemd-nspawn machine on this computer, with its own network namespace."""

    kind: Literal["local"] = Field(description="Where the machine comes from.")
    suite: Literal["bookworm", "noble"] = Field("bookworm", description="Debian 12, or Ubuntu 24.04 where reachable.")
    network: IPv4Network = Field(
        IPv4Network("198.18.0.0/24"),
        description="Network of the bridge. The default is RFC 2544's test range: not private, so that what the "
        "firewall forbids towards private ranges is not forbidden here by accident, and never routed outside.",
    )
    address: IPv4Address = Field(IPv4Address("198.18.0.20"), description="The machine's own address in `network`.")
    disk_image: Quantity | None = Field(
        None, description="Size of the machine's disk, a sparse file on this computer. Default: `machine.disk`."
    )


class SshProvider(Model):
    """A machine that exists and answers ssh."""

    kind: Literal["ssh"] = Field(description="Where the machine comes from.")
    address: IPv4Address = Field(description="The machine's address.", examples=["203.0.113.10"])
    host_key: PublicKey | None = Field(
        None,
        description="Its public host key, as in /etc/ssh/ssh_host_ed25519_key.pub. None: the one that was confirmed "
        "by its fingerprint, from `known_hosts` beside this file.",
        examples=["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"],
    )
    fingerprint: str | None = Field(
        None,
        pattern=FINGERPRINT,
        description="The host key's fingerprint, as the machine's console or cloud-init's log shows it: confirms it.",
        examples=["SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"],
    )
    identity: Path | None = Field(
        None,
        description="What lets you in at first: a private key file of yours, or `agent`, your ssh-agent. From then on "
        "the node's own key does. None: that one is there already.",
    )

    @property
    def by_agent(self) -> bool:
        """Whether the first login is by ssh-agent. Any other path is absolute when it has been loaded."""
        return self.identity == AGENT


class HetznerProvider(Model):
    """A server that is made at Hetzner Cloud.

    The API token is a secret: `HCLOUD_TOKEN` in the environment, or what `token_command` prints.
    """

    kind: Literal["hetzner"] = Field(description="Where the machine comes from.")
    types: tuple[ServerType, ...] = Field(
        min_length=1,
        description="Server types, best first: the next is taken where one is sold out, withdrawn or too dear "
        "(`binder-node offers`). Each has to be as large as `machine` says.",
        examples=[["ccx63"]],
    )
    locations: tuple[ServerLocation, ...] = Field(
        ("fsn1", "nbg1", "hel1"),
        min_length=1,
        description="Where it may stand, best first; put the bucket into the first. The others are tried where a type "
        "is sold out.",
    )
    image: str = Field("debian-12", pattern=IMAGE, description="Image of the operating system.")
    volume: Quantity | None = Field(
        None,
        description="Size of a volume that `machine.state` lies on, 10G to 10T: it outlives the server. "
        "None: the server's own disk.",
    )
    keep_address: bool = Field(True, description="Whether the public IPv4 address outlives the server.")
    placement: str = Field(
        "", pattern=PLACEMENT, description="Spread placement group: servers in one stand on different hosts."
    )
    max_price: float | None = Field(
        None,
        gt=0,
        description="Server, address and volume may cost this much a month, in EUR without VAT; "
        "`up` makes no server above it.",
    )
    token_command: tuple[str, ...] = Field(
        (), description="Command that prints the API token, as a list: [pass, show, hetzner/bids]. Run without a shell."
    )
    endpoint: Url = Field("https://api.hetzner.cloud/v1", description="URL of the API.")


class OpenStackProvider(Model):
    """A server of an OpenStack cloud, like OVH Public Cloud.

    Who you are is no part of the inventory: the `OS_*` variables of your cloud's openrc file, or a clouds.yaml. The
    password, or the application credential's secret, may also come from `token_command` or the node's secrets.
    """

    kind: Literal["openstack"] = Field(description="Where the machine comes from.")
    cloud: str = Field("", description="The cloud's name in clouds.yaml; none: the `OS_*` variables.")
    regions: tuple[str, ...] = Field(
        min_length=1,
        description="Regions, the best first: the next one is tried when no flavor is to be had. Put the bucket there.",
        examples=[["GRA11"]],
    )
    flavors: tuple[str, ...] = Field(
        min_length=1,
        description="Flavors, the best first; none may be smaller than `machine`.",
        examples=[["b3-64", "r3-64"]],
    )
    image: str = Field("Debian 12", description="Name or id of the image: Debian 12 or Ubuntu 24.04.")
    network: str = Field("Ext-Net", description="Name or id of the network that the server's port is on.")
    floating_from: str = Field(
        "",
        description="External network that a floating address is taken from; none: `network` itself gives the public "
        "address, as OVH's Ext-Net does.",
    )
    zone: str = Field("", description="Availability zone of server and volume; none: the cloud's choice.")
    volume: Quantity | None = Field(
        None,
        description="Size of a volume that `machine.state` lies on: it outlives the server. "
        "None: the server's own disk.",
    )
    volume_type: str = Field("", description="The volume's type, like high-speed; none: the cloud's default.")
    prices: dict[str, float] = Field(
        default_factory=dict,
        description="A month of each flavor without VAT, in `cost.currency`: {b3-64: 150}. OpenStack tells no prices.",
    )
    token_command: tuple[str, ...] = Field(
        (),
        description="Command that prints the password or the application credential's secret, as a list: "
        "[pass, show, ovh/bids]. Run without a shell.",
    )
    max_price: float | None = Field(
        None,
        gt=0,
        description="Server, address and volume may cost this much a month, in `cost.currency` without VAT; `up` makes "
        "no server above it, nor one whose price is not known.",
    )


Provider = Annotated[LocalProvider | SshProvider | HetznerProvider | OpenStackProvider, Field(discriminator="kind")]


class Ssh(Model):
    """How the machine is reached."""

    user: str = Field("root", pattern=LOGIN, description="Login; anyone but root needs passwordless sudo.")
    port: int = Field(22, ge=1, le=65535, description="Port of sshd.")
    admins: tuple[PublicKey, ...] = Field((), description="Public keys of further operators.")
    admin_networks: tuple[IPv4Network, ...] = Field(
        (IPv4Network("0.0.0.0/0"),), description="Networks from which ssh is let in."
    )


class NodeStorage(Model):
    """MinIO on the node itself. Upstream is archived: an S3 endpoint of your provider's is the better home."""

    kind: Literal["node"] = Field(description="Where the registry's bucket is.")
    bucket: str = Field("registry", pattern=BUCKET, description="Bucket of the registry.")


class S3Storage(Model):
    """Any S3 endpoint: put the bucket where the machine is (mybinder.org-deploy #3182).

    Its keys are secrets: `BINDER_NODE_S3_ACCESS_KEY` and `BINDER_NODE_S3_SECRET_KEY` at the first `up`.
    """

    kind: Literal["s3"] = Field(description="Where the registry's bucket is.")
    endpoint: Url = Field(
        description="The endpoint's URL.",
        examples=["https://nbg1.your-objectstorage.com"],
    )
    region: str = Field("us-east-1", description="Region name that the endpoint signs with.")
    bucket: str = Field(pattern=BUCKET, description="Bucket of the registry: one a member.", examples=["bids-registry"])


Storage = Annotated[NodeStorage | S3Storage, Field(discriminator="kind")]


class Kubernetes(Model):
    """K3s. Its version is the pins' (`binder-node artifacts list`)."""

    max_pods: int = Field(ge=15, le=1000, description="The kubelet's limit, the node's own pods included.")
    pod_network: IPv4Network = Field(IPv4Network("10.42.0.0/16"), description="Addresses of pods.")
    service_network: IPv4Network = Field(IPv4Network("10.43.0.0/16"), description="Addresses of Services.")
    image_gc_high: Percent = Field(
        description="Kubelet begins to remove images above this use of the disk, in percent."
    )
    image_gc_low: Percent = Field(description="... and stops at this use, in percent.")
    evict_below: Percent = Field(description="Kubelet evicts pods when less than this is free, in percent.")
    api_from: tuple[IPv4Network, ...] = Field((), description="Networks let in to port 6443; none: through ssh only.")
    operators: tuple[OperatorName, ...] = Field(
        (),
        description="Who gets a kubeconfig of their own, with all rights in the cluster "
        "(`binder-node kubeconfig NODE --operator NAME`); a name that goes takes its rights with it.",
    )
    upgrade_window: str = Field(
        "",
        pattern=WINDOW,
        description="When `binder-node upgrade` may restart K3s, in UTC: Sun 00:00-02:00. None: at any time.",
    )


class BuildKit(Model):
    """The image builder."""

    worker: Literal["containerd", "oci"] = Field(
        "containerd",
        description="`containerd`: K3s's own image store, no pull after a build; `oci`: a store of its own.",
    )
    cache: Quantity = Field(description="Limit of the build cache.")
    keep_free: Percent = Field(description="BuildKit prunes its cache while less than this is free, in percent.")
    wait_below: Percent = Field(description="A build waits while less than this is free, in percent.")
    parallelism: int = Field(ge=1, le=64, description="Build steps at once.")
    memory: Quantity = Field(Quantity("2G"), description="Memory limit of one build (mybinder.org-deploy #3680).")
    disk: Quantity = Field(Quantity("2G"), description="Disk limit of one build.")
    mtu: int = Field(1450, ge=1280, le=9000, description="Of the build network; 1500 broke some sites (#3235).")
    network: IPv4Network = Field(IPv4Network("10.10.0.0/16"), description="Addresses of build steps.")


class Session(Model):
    """What one user's server gets; the federation's own numbers."""

    memory_guarantee: Quantity = Field(Quantity("450M"), description="Memory reserved.")
    memory_limit: Quantity = Field(Quantity("2G"), description="Memory above which it is killed.")
    cpu_guarantee: float = Field(0.01, gt=0, description="Cores reserved.")
    cpu_limit: float = Field(1, gt=0, description="Cores at most.")


class BinderHub(Model):
    """BinderHub, and the JupyterHub that it brings."""

    quota: int = Field(ge=0, description="Sessions and builds at once; 0 drains the node.")
    per_repo_quota: int = Field(100, ge=1, description="Sessions at once of one repository.")
    build_limit: int = Field(ge=1, description="Builds at once.")
    replicas: int = Field(1, ge=1, le=5, description="BinderHub processes; the big members run 2.")
    session: Session = Field(default_factory=lambda: Session())
    sweep: int = Field(
        10,
        ge=0,
        le=1440,
        description="Minutes after its end that a pod is removed, since the quota counts it (mybinder.org-deploy "
        "#3391); servers that the hub does not know go too. 0: none are.",
    )
    banner: str = Field("", description="HTML above the form.")
    values: tuple[Path, ...] = Field(
        (), description="Further Helm values files, the last wins. Relative to the inventory."
    )


class Federation(Model):
    """Membership of the federation; nothing here for a node on its own."""

    member: str = Field("", pattern=MEMBER, description="Name in the federation's config: bids-ovh.")
    weight: int = Field(0, ge=0, le=100, description="Target weight; begin at 20 or less.")
    sponsor: str = Field("", pattern=SPONSOR, description="Whom the federation's banner and pages thank: BIDS.")
    sponsor_url: Url | None = Field(None, description="The sponsor's page.")
    logo: Url | None = Field(None, description="The sponsor's logo, for the user guide.")


class Spec(Model):
    """One node: ``inventories/NODE.yaml``."""

    name: NodeName = Field(
        description="The node's name; the inventory is called so too, with .yaml.", examples=["bids-1"]
    )
    replaces: str = Field(
        "",
        pattern=PREDECESSOR,
        description="The node whose place this one takes, while both are there: `binder-node rotate` writes it and "
        "takes it out. Until the names are moved they stay that node's.",
        examples=["bids-0"],
    )
    provider: Provider
    machine: Machine
    ssh: Ssh = Field(default_factory=lambda: Ssh())
    names: Names
    dns: Dns = Field(default_factory=lambda: NoDns())
    tls: Tls
    storage: Storage
    registry: Registry = Field(default_factory=lambda: Registry())
    kubernetes: Kubernetes
    buildkit: BuildKit
    binderhub: BinderHub
    deploy: Literal["here", "federation"] = Field(
        "here",
        description="Who makes the release: `here`, `up` does. `federation`: the federation's central deploy does, "
        "with its own chart, from the files of `federation export`; `up` ends with host, bucket and operators' access.",
    )
    federation: Federation = Field(default_factory=lambda: Federation())
    backup: Backup = Field(default_factory=lambda: Backup())
    abuse: Abuse = Field(default_factory=lambda: Abuse())
    cost: Cost = Field(default_factory=lambda: Cost())
    events: Events = Field(default_factory=lambda: Events())
    metrics: Metrics
    alerts: Alerts = Field(default_factory=lambda: Alerts())

    @property
    def central(self) -> bool:
        """Whether the federation's central deploy makes the release."""
        return self.deploy == "federation"

    @property
    def measured(self) -> bool:
        """Whether the node has a Prometheus of ours."""
        return self.metrics.enabled and not self.central

    def url(self, name: str) -> str:
        """The public address of one of the node's names, without a slash at its end."""
        return f"{'http' if self.tls.mode == 'none' else 'https'}://{name}"

    @property
    def hub_days(self) -> int:
        """Days that the cache of Docker Hub keeps things; 0: there is none. 7, as Distribution's own (`proxy.ttl`)."""
        if self.central:
            return 0
        if self.registry.cache_days is not None:
            return self.registry.cache_days
        return 0 if isinstance(self.storage, NodeStorage) else 7

    @property
    def state_disk(self) -> int:
        """Bytes of the filesystem that `machine.state` lies on: the image's or the volume's where there is one."""
        if isinstance(self.provider, LocalProvider) and self.provider.disk_image is not None:
            return int(self.provider.disk_image)
        if isinstance(self.provider, HetznerProvider | OpenStackProvider) and self.provider.volume is not None:
            return int(self.provider.volume)
        return int(self.machine.disk)
