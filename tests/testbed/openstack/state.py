"""What the cloud holds: per region its servers, networks, images and volumes; who may do what."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Network
from typing import Any

from tests.testbed.hetzner.faults import Faults
from tests.testbed.hetzner.machines import Machines, NoMachines

Row = dict[str, Any]
PROJECT = "7f5a4c1d9e3b4f6a8c2d1e0f9a8b7c6d"
USER = "user-4711"
NO_HOST = "No valid host was found. There are not enough hosts available."


def gigabytes(gib: int) -> int:
    """OpenStack counts in GiB, the machines behind in GB."""
    return -(-gib * 2**30 // 10**9)


def new_id() -> str:
    return str(uuid.uuid4())


def now(form: str = "%Y-%m-%dT%H:%M:%SZ") -> str:
    """Whole seconds, as Nova and Neutron tell them."""
    return datetime.now(UTC).strftime(form)


@dataclass(frozen=True, slots=True)
class Login:
    """Who may log in: by name and password, or by an application credential's id and secret. ``roles``: its rights."""

    name: str
    secret: str
    roles: tuple[str, ...] = ("member", "reader")


def flavor(name: str, vcpus: int, ram: int, disk: int) -> Row:
    """``ram`` in MiB, ``disk`` in GiB."""
    return {
        "id": new_id(), "name": name, "vcpus": vcpus, "ram": ram, "disk": disk, "swap": "", "rxtx_factor": 1.0,
        "OS-FLV-EXT-DATA:ephemeral": 0, "OS-FLV-DISABLED:disabled": False, "os-flavor-access:is_public": True,
    }  # fmt: skip


def image(name: str) -> Row:
    return {
        "id": new_id(), "name": name, "status": "active", "visibility": "public", "min_disk": 0, "min_ram": 0,
        "disk_format": "raw", "container_format": "bare", "size": 2**31, "created_at": now(), "updated_at": now(),
        "protected": False, "tags": [], "checksum": None, "owner": "provider", "os_hidden": False, "file": "",
    }  # fmt: skip


@dataclass
class Region:
    """One region. ``addresses``: the public network's; ``sold_out``: flavors that no host has room for."""

    name: str
    addresses: IPv4Network
    flavors: dict[str, Row] = field(default_factory=dict)
    images: dict[str, Row] = field(default_factory=dict)
    networks: dict[str, Row] = field(default_factory=dict)
    subnets: dict[str, Row] = field(default_factory=dict)
    ports: dict[str, Row] = field(default_factory=dict)
    groups: dict[str, Row] = field(default_factory=dict)
    ips: dict[str, Row] = field(default_factory=dict)
    servers: dict[str, Row] = field(default_factory=dict)
    volumes: dict[str, Row] = field(default_factory=dict)
    sold_out: set[str] = field(default_factory=set)
    quota: dict[str, int] = field(
        default_factory=lambda: {
            "instances": 20, "cores": 100, "ram": 512_000, "ports": 100, "groups": 50, "ips": 10, "volumes": 20,
            "gigabytes": 10_000,
        }
    )  # fmt: skip

    def table(self, name: str) -> dict[str, Row]:
        found: dict[str, Row] = getattr(self, name)
        return found


@dataclass
class State:
    """The whole cloud. ``page``: rows of a page; ``build_seconds``: what a server takes before its machine starts."""

    regions: dict[str, Region] = field(default_factory=dict)
    logins: list[Login] = field(default_factory=lambda: [Login("operator", "correct horse")])
    credentials: list[Login] = field(default_factory=lambda: [Login("app-1", "battery staple")])
    tokens: dict[str, Login] = field(default_factory=dict)
    machines: Machines = field(default_factory=NoMachines)
    faults: Faults = field(default_factory=Faults)
    log: list[tuple[str, str, int]] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    page: int = 1000
    build_seconds: float = 0.05
    delete_seconds: float = 0.05
    url: str = ""
    numbers: dict[str, int] = field(default_factory=dict)
    threads: list[threading.Thread] = field(default_factory=list)

    def number(self, id_: str) -> int:
        """A machine's number: the machines behind are counted, OpenStack's ids are texts."""
        return self.numbers.setdefault(id_, len(self.numbers) + 1)

    def disk_names(self, number: int) -> list[str]:
        """What a volume's machine calls it below ``/dev/disk/by-id``, as virtio-blk does: 20 characters of its id."""
        return [f"virtio-{id_[:20]}" for id_, known in self.numbers.items() if known == number]

    def later(self, work: Callable[[], None]) -> None:
        """Do it in a thread of its own."""
        thread = threading.Thread(target=work, daemon=True)
        self.threads.append(thread)
        thread.start()

    def quiet(self, seconds: float = 20) -> None:
        """Wait until nothing is under way."""
        for thread in list(self.threads):
            thread.join(seconds)


def region(name: str, addresses: str, private: str = "10.77.0.0/24") -> Region:
    """A region with what OVH's have: a public network that gives addresses itself; and a private one."""
    made = Region(name, IPv4Network(addresses))
    for row in (
        flavor("b3-8", 2, 8_000, 50),
        flavor("b3-64", 16, 64_000, 400),
        flavor("r3-64", 8, 64_000, 200),
        flavor("b3-256", 64, 256_000, 400),
    ):
        made.flavors[row["id"]] = row
    for title in ("Debian 12", "Ubuntu 24.04"):
        row = image(title)
        made.images[row["id"]] = row
    for title, external, network in (("Ext-Net", True, addresses), ("private", False, private)):
        id_, subnet = new_id(), new_id()
        made.networks[id_] = {
            "id": id_, "name": title, "status": "ACTIVE", "admin_state_up": True, "shared": external,
            "router:external": external, "subnets": [subnet], "project_id": "provider" if external else PROJECT,
            "tenant_id": "provider" if external else PROJECT, "mtu": 1500, "description": "",
        }  # fmt: skip
        made.subnets[subnet] = {
            "id": subnet, "name": title, "network_id": id_, "cidr": network, "ip_version": 4, "enable_dhcp": True,
            "gateway_ip": str(IPv4Network(network)[1]), "project_id": PROJECT, "tenant_id": PROJECT,
        }  # fmt: skip
    return made
