"""One project: its resources, its actions, its limits. Everything is done with :attr:`Project.lock` held."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network
from typing import Any, TypeVar

from tests.testbed.hetzner.actions import Action, Actions, nothing
from tests.testbed.hetzner.catalogue import Catalogue
from tests.testbed.hetzner.errors import ApiError, not_found, taken
from tests.testbed.hetzner.faults import Faults
from tests.testbed.hetzner.machines import Machines, NoMachines
from tests.testbed.hetzner.query import selected
from tests.testbed.hetzner.resources import Firewall, PlacementGroup, PrimaryIp, Resource, Server, SshKey, Volume, Zone

R = TypeVar("R", bound=Resource)

FIRST_ID = 42_000_001
FIRST_ACTION = 561_584_150_000_001  # more than 32 bits, as Hetzner's are
FIRST_HOST = 20  # of the network: below are the gateway and the testbed's world
# What a new account may have (https://docs.hetzner.com/cloud/general/faq): small enough to reach in a test.
LIMITS = {"servers": 10, "dedicated_cores": 96, "primary_ips": 20, "volumes": 20}


@dataclass
class Project:
    """``network``: where the servers' IPv4 addresses come from."""

    catalogue: Catalogue
    network: IPv4Network
    machines: Machines = field(default_factory=NoMachines)
    pace: float = 1.0
    limits: dict[str, int] = field(default_factory=LIMITS.copy)
    skew: timedelta = timedelta(0)
    faults: Faults = field(default_factory=Faults)
    lock: threading.RLock = field(default_factory=threading.RLock)
    ssh_keys: dict[int, SshKey] = field(default_factory=dict)
    servers: dict[int, Server] = field(default_factory=dict)
    primary_ips: dict[int, PrimaryIp] = field(default_factory=dict)
    volumes: dict[int, Volume] = field(default_factory=dict)
    firewalls: dict[int, Firewall] = field(default_factory=dict)
    placement_groups: dict[int, PlacementGroup] = field(default_factory=dict)
    zones: dict[int, Zone] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._ids = itertools.count(FIRST_ID)
        self._action_ids = itertools.count(FIRST_ACTION)
        self.actions = Actions(self.now, time.monotonic, self.pace)

    def now(self) -> datetime:
        """The API's own time, which a test may set wrong."""
        return datetime.now(UTC) + self.skew

    def new_id(self) -> int:
        return next(self._ids)

    def action(
        self,
        command: str,
        *resources: tuple[str, int],
        after: Action | None = None,
        work: Callable[[], None] | None = None,
        effect: Callable[[], None] = nothing,
        undo: Callable[[], None] = nothing,
    ) -> Action:
        """Begin an action, as the faults will have it."""
        number, seconds = next(self._action_ids), self.actions.seconds(command)
        made = Action(number, command, resources, self.now(), seconds, after, work, effect, undo)
        if fault := self.faults.take_action(command):
            made.stuck, made.failure = fault.kind == "stick", fault.failure
        return self.actions.start(made)

    def get(self, table: Mapping[int, R], what: str, number: int) -> R:
        if (found := table.get(number)) is None:
            raise not_found(what, number)
        return found

    def check_name(self, table: Mapping[int, Resource], what: str, name: str, but: int = 0) -> None:
        """Raises ApiError ``uniqueness_error`` where another has the name."""
        if any(row.name == name and row.id != but for row in table.values()):
            raise taken(what)

    def check_limit(self, what: str, count: int) -> None:
        if count > self.limits.get(what, count):
            raise ApiError(
                "resource_limit_exceeded", f"{what.replace('_', ' ').removesuffix('s')} limit exceeded", {"limits": []}
            )

    # What belongs to a server.

    def volumes_of(self, server: int) -> list[Volume]:
        return [row for row in self.volumes.values() if row.server == server]

    def ip_of(self, server: int, kind: str) -> PrimaryIp | None:
        return next((row for row in self.primary_ips.values() if (row.server, row.type) == (server, kind)), None)

    def members(self, group: int) -> list[int]:
        return [row.id for row in self.servers.values() if row.placement_group == group]

    def selected_by(self, selector: str) -> list[int]:
        return [row.id for row in self.servers.values() if selected(row.labels, selector)]

    def firewalls_of(self, server: Server) -> list[Firewall]:
        return [
            row
            for row in self.firewalls.values()
            if server.id in row.servers or any(selected(server.labels, selector) for selector in row.selectors)
        ]

    # Addresses.

    def free_address(self, kind: str) -> str:
        """A fresh address of the network, or an IPv6 /64 of the documentation range."""
        used = {row.ip for row in self.primary_ips.values()}
        if kind == "ipv6":
            return next(ip for ip in (f"2001:db8:{n:x}::/64" for n in itertools.count(1)) if ip not in used)
        for host in range(FIRST_HOST, self.network.num_addresses - 1):
            if (ip := str(self.network[host])) not in used:
                return ip
        raise ApiError("resource_unavailable", "no address is left")

    def new_ip(self, kind: str, location: str, name: str = "", **more: Any) -> PrimaryIp:
        number = self.new_id()
        made = PrimaryIp(
            id=number,
            name=name or f"primary_ip-{number}",
            labels=more.pop("labels", {}),
            created=self.now(),
            type=kind,
            ip=self.free_address(kind),
            location=location,
            **more,
        )
        self.primary_ips[number] = made
        return made
