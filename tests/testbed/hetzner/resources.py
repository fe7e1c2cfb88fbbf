"""What a project holds: plain records. What belongs to what is kept once, on the side that Hetzner keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass
class Resource:
    """A thing with a name of its own, labels, and a time of birth."""

    id: int
    name: str
    labels: dict[str, str]
    created: datetime


@dataclass
class SshKey(Resource):
    public_key: str
    fingerprint: str


@dataclass
class PlacementGroup(Resource):
    type: str = "spread"


@dataclass
class Server(Resource):
    type: str
    location: str
    image: int | None
    disk: int
    user_data: str = ""
    ssh_keys: tuple[str, ...] = ()  # public keys, as cloud-init gets them
    status: str = "initializing"
    keep: bool = False  # protection: delete
    keep_disk: bool = False  # protection: rebuild
    placement_group: int | None = None

    @property
    def off(self) -> bool:
        return self.status == "off"


@dataclass
class PrimaryIp(Resource):
    type: str
    ip: str
    location: str
    server: int | None = None
    auto_delete: bool = False
    keep: bool = False
    pointers: dict[str, str] = field(default_factory=dict)


@dataclass
class Volume(Resource):
    size: int  # GB
    location: str
    format: str | None = None
    server: int | None = None
    status: str = "creating"
    keep: bool = False

    @property
    def device(self) -> str:
        return f"/dev/disk/by-id/scsi-0HC_Volume_{self.id}"


@dataclass
class Firewall(Resource):
    rules: list[dict[str, Any]] = field(default_factory=list)
    servers: list[int] = field(default_factory=list)
    selectors: list[str] = field(default_factory=list)
    pending: set[int] = field(default_factory=set)  # servers where it is not applied yet


@dataclass
class RRSet:
    """Records of one name (relative to the zone, ``@`` for itself) and type."""

    name: str
    type: str
    ttl: int | None
    labels: dict[str, str]
    records: list[dict[str, str]]  # value, comment
    created: datetime
    fixed: bool = False  # protection: change


@dataclass
class Zone(Resource):
    ttl: int = 3600
    keep: bool = False
    serial: int = 0
    sets: dict[tuple[str, str], RRSet] = field(default_factory=dict)
