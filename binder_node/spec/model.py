"""The Spec: one node, described whole, validated and frozen. Everything downstream takes a Spec, never a dict.

Fields without a default here are either for the operator to say, or computed from the machine's size by
:mod:`binder_node.spec.sizing`; the loader merges those under what the inventory says before validation, so
that a Spec is always complete. A field's ``description`` is the reference's text.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from binder_node.spec.quantity import Quantity

# RFC 1123 labels; the node's name ends up in host names, unit names and Kubernetes objects.
NODE_NAME = r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$"
HOST_NAME = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+$"
URL = r"^https?://[^\s/]+(/[^\s]*)?$"
# OpenSSH's one-line form: type, base64, comment.
PUBLIC_KEY = r"^(ssh-(ed25519|rsa)|ecdsa-sha2-nistp(256|384|521)|sk-\S+@openssh\.com) [A-Za-z0-9+/]+={0,3}( [^\n]*)?$"
LOGIN = r"^[a-z_][a-z0-9_-]*$"
BUCKET = r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"
PREFIX = r"^[a-z0-9]+([._/-][a-z0-9]+)*$"
# The links of udev that do not change with the order in which disks are found; some clouds' disks have no by-id.
DATA_DISK = r"^(auto|/dev/disk/by-(id|path)/[A-Za-z0-9._:+=@#-]+)$"
AGENT = Path("agent")
FINGERPRINT = r"^SHA256:[A-Za-z0-9+/]{43}$"
# Hetzner's names, as in its OpenAPI document; a placement group's and an image's are as free as a label's value.
SERVER_TYPE = r"^[a-z0-9]+$"
LOCATION = r"^[a-z0-9-]+$"
IMAGE = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
PLACEMENT = r"^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$"
CURRENCY = r"^[A-Z]{3}$"
MEMBER = r"^([a-z0-9]([a-z0-9-]*[a-z0-9])?)?$"
MAIL = r"^[^@\s]+@[^@\s]+\.[^@\s]+$"
KEY = r"^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$"
SERVER = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?$"

# What the patterns above ask for, in words: for messages and for the reference.
PATTERNS = {
    NODE_NAME: "a name of at most 40 lower-case letters, digits and dashes that begins with a letter, like bids-1",
    HOST_NAME: "a full host name in lower case, like bids.mybinder.org",
    URL: "a URL, like https://mirror.example.org",
    PUBLIC_KEY: "a public key in OpenSSH's one-line form, like ssh-ed25519 AAAA... comment",
    LOGIN: "a login name, like root or debian",
    BUCKET: "a bucket's name of 3 to 63 lower-case letters, digits, dots and dashes, like bids-registry",
    PREFIX: "a repository prefix in lower case, like binder or bids/builds",
    DATA_DISK: "auto, or a stable name of a disk, like /dev/disk/by-id/scsi-0HC_Volume_1234",
    FINGERPRINT: "a fingerprint as `ssh-keygen -l` writes it, like SHA256: and 43 letters",
    SERVER_TYPE: "a server type, like ccx63",
    LOCATION: "a location, like nbg1",
    IMAGE: "an image's name, like debian-12",
    PLACEMENT: "a name of letters, digits, dots, dashes and underscores, like members",
    CURRENCY: "a currency's three letters, like EUR",
    MEMBER: "a name of lower-case letters, digits and dashes, like bids-ovh",
    MAIL: "a mail address, like ops@example.org",
    KEY: "a key's name, as its server has it, like binder-node",
    SERVER: "a server's name or address, with its port where that is not 53, like 203.0.113.53:5353",
}

NodeName = Annotated[str, StringConstraints(pattern=NODE_NAME)]
HostName = Annotated[str, StringConstraints(pattern=HOST_NAME, max_length=253)]
Percent = Annotated[int, Field(ge=1, le=99)]
Url = Annotated[str, StringConstraints(pattern=URL)]
ServerType = Annotated[str, StringConstraints(pattern=SERVER_TYPE)]
ServerLocation = Annotated[str, StringConstraints(pattern=LOCATION)]
PublicKey = Annotated[str, StringConstraints(pattern=PUBLIC_KEY)]
Server = Annotated[str, StringConstraints(pattern=SERVER)]


class Model(BaseModel):
    """Strict and frozen: an unknown key is an error (a mis-cased one once cost the federation a day)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


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


Provider = Annotated[LocalProvider | SshProvider | HetznerProvider, Field(discriminator="kind")]


class Ssh(Model):
    """How the machine is reached."""

    user: str = Field("root", pattern=LOGIN, description="Login; anyone but root needs passwordless sudo.")
    port: int = Field(22, ge=1, le=65535, description="Port of sshd.")
    admins: tuple[PublicKey, ...] = Field((), description="Public keys of further operators.")
    admin_networks: tuple[IPv4Network, ...] = Field(
        (IPv4Network("0.0.0.0/0"),), description="Networks from which ssh is let in."
    )


class Names(Model):
    """Public host names; DNS for `binder` and `*.binder` points at the machine."""

    binder: HostName = Field(description="BinderHub's own name: bids.mybinder.org.", examples=["bids.mybinder.org"])
    hub: HostName = Field(description="JupyterHub's name.")
    registry: HostName = Field(description="The image registry's name: it outlives machines, images carry it.")


class NoDns(Model):
    """Names are somebody else's work, and nobody looks whether they lead to the node."""

    kind: Literal["none"] = Field("none", description="Who makes the names lead to the machine.")


# Of every way that has records; the tests of this project name their own servers here.
NAMESERVERS: Any = Field(
    (), description="Servers to ask whether the names lead to the machine; none: all those of the zone."
)


class ManualDns(Model):
    """A person: `up` prints the records and waits until the zone's name servers have them."""

    kind: Literal["manual"] = Field(description="Who makes the names lead to the machine.")
    ttl: int = Field(300, ge=60, le=86400, description="Seconds for which others may remember a record.")
    nameservers: tuple[Server, ...] = NAMESERVERS
    wait: int = Field(1800, ge=1, le=86400, description="Seconds to wait until all name servers have the records.")


class ZoneDns(Model):
    """What every way that writes the records has in common."""

    kind: str
    zone: HostName = Field(description="The zone that holds the names.", examples=["mybinder.org"])
    ttl: int = Field(300, ge=60, le=86400, description="Seconds for which others may remember a record.")
    adopt: bool = Field(False, description="Write over records that lead elsewhere and are not this node's.")
    nameservers: tuple[Server, ...] = NAMESERVERS
    wait: int = Field(600, ge=1, le=86400, description="Seconds to wait until all name servers have the records.")


class CloudflareDns(ZoneDns):
    """Cloudflare's API, with `CLOUDFLARE_API_TOKEN` (permission: DNS, edit, of the zone)."""

    kind: Literal["cloudflare"] = Field(description="Who makes the names lead to the machine.")
    endpoint: Url = Field("https://api.cloudflare.com/client/v4", description="The API.")


class Rfc2136Dns(ZoneDns):
    """Any name server that takes updates (BIND, Knot, PowerDNS), with the key's secret in `RFC2136_TSIG_SECRET`."""

    kind: Literal["rfc2136"] = Field(description="Who makes the names lead to the machine.")
    server: Server = Field(description="The zone's primary server.", examples=["ns1.example.org"])
    key: str = Field(pattern=KEY, description="The TSIG key's name.", examples=["binder-node"])
    algorithm: Literal["hmac-sha256", "hmac-sha384", "hmac-sha512"] = Field(
        "hmac-sha256", description="The key's algorithm."
    )


Dns = Annotated[NoDns | ManualDns | CloudflareDns | Rfc2136Dns, Field(discriminator="kind")]


class NoTls(Model):
    """Plain http: for tests."""

    mode: Literal["none"] = Field(description="Where certificates come from.")


class FilesTls(Model):
    """A certificate of your own, for `names.binder` and `names.hub`."""

    mode: Literal["files"] = Field(description="Where certificates come from.")
    certificate: Path = Field(description="PEM chain.", examples=["tls/chain.pem"])
    key: Path = Field(description="PEM private key.", examples=["tls/key.pem"])


class AcmeTls(Model):
    """Certificates for `names.binder` and `names.hub` from Let's Encrypt or another authority that speaks ACME.

    The node's ingress orders and renews them. The names must lead to the machine, and port 80 be open to the world.
    """

    mode: Literal["acme"] = Field(description="Where certificates come from.")
    email: str = Field(
        pattern=MAIL, description="Whom the authority writes to about expiry.", examples=["ops@example.org"]
    )
    directory: Url = Field("https://acme-v02.api.letsencrypt.org/directory", description="The authority's directory.")
    challenge: Literal["http", "tls"] = Field(
        "http", description="How it asks whose the names are: on port 80 (`http`), or on 443 (`tls`)."
    )
    authority: Path | None = Field(
        None, description="PEM file to trust for the directory and its certificates, where the public ones do not do."
    )


Tls = Annotated[NoTls | FilesTls | AcmeTls, Field(discriminator="mode")]


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


class Registry(Model):
    """The image registry on the node, and where base images come from."""

    prefix: str = Field("binder", pattern=PREFIX, description="Repository prefix of built images.")
    mirrors: dict[HostName, tuple[Url, ...]] = Field(
        default_factory=dict, description="Pull-through mirrors by registry: {docker.io: [https://mirror.example.org]}."
    )


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
    banner: str = Field("", description="HTML above the form.")
    values: tuple[Path, ...] = Field(
        (), description="Further Helm values files, the last wins. Relative to the inventory."
    )


class Federation(Model):
    """Membership of the federation; nothing here for a node on its own."""

    member: str = Field("", pattern=MEMBER, description="Name in the federation's config: bids-ovh.")
    weight: int = Field(0, ge=0, le=100, description="Target weight; begin at 20 or less.")


class Cost(Model):
    """What a month of the node takes and costs, where no API tells: `binder-node cost` reckons with it.

    Prices are a month's, without VAT.
    """

    currency: str = Field("EUR", pattern=CURRENCY, description="Of the prices below; an API's own where it has prices.")
    machine: float | None = Field(None, ge=0, description="The machine. Default: the provider's live price.")
    address: float | None = Field(None, ge=0, description="A public IPv4 address. Default: the provider's live price.")
    volume: float | None = Field(None, ge=0, description="A GB of volume. Default: the provider's live price.")
    objects: float | None = Field(
        None, ge=0, description="A GB of object storage. Default: Hetzner's list price there, else unknown."
    )
    stored: Quantity = Field(Quantity("1T"), description="What the bucket is expected to hold.")
    traffic: Quantity = Field(Quantity("10T"), description="What is expected to leave the machine in a month.")
    traffic_included: Quantity | None = Field(
        None, description="Of that, what the machine's price includes. Default: the provider's live figure."
    )
    traffic_price: float | None = Field(
        None, ge=0, description="A TB beyond what is included. Default: the provider's live price."
    )


class Spec(Model):
    """One node: ``inventories/NODE.yaml``."""

    name: NodeName = Field(
        description="The node's name; the inventory is called so too, with .yaml.", examples=["bids-1"]
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
    federation: Federation = Field(default_factory=lambda: Federation())
    cost: Cost = Field(default_factory=lambda: Cost())

    @property
    def state_disk(self) -> int:
        """Bytes of the filesystem that `machine.state` lies on: the image's or the volume's where there is one."""
        if isinstance(self.provider, LocalProvider) and self.provider.disk_image is not None:
            return int(self.provider.disk_image)
        if isinstance(self.provider, HetznerProvider) and self.provider.volume is not None:
            return int(self.provider.volume)
        return int(self.machine.disk)
