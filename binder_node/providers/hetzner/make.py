"""The steps carried out: each is one or a few calls, and what a killed one leaves is seen by the next look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from binder_node import remote
from binder_node.errors import StepError
from binder_node.events import Event, Reporter
from binder_node.node import Access, Node
from binder_node.providers import volume as volumes
from binder_node.providers.hetzner.api import Api
from binder_node.providers.hetzner.market import choose, describe, nothing_left
from binder_node.providers.hetzner.model import Project, Seen, Server, of_node
from binder_node.providers.hetzner.plan import STAGE, Step, gigabytes, hetzner, pinned, rules
from binder_node.providers.hetzner.transport import SOLD_OUT, ActionFailed, Refused
from binder_node.providers.offers import Offer
from binder_node.providers.userdata import user_data


@dataclass
class Making:
    """One ``apply``. ``project`` is what was seen; what a step makes, the later ones find by looking again."""

    node: Node
    api: Api
    seen: Seen
    access: Callable[[str], Access]
    report: Reporter
    project: Project = field(init=False)

    def __post_init__(self) -> None:
        self.project = self.seen.project

    def run(self, steps: list[Step]) -> None:
        """Carry out ``steps`` in order. Raises StepError or DeadlineError."""
        for step in steps:
            self.report(Event("progress", STAGE, step.what))
            getattr(self, f"_{step.kind}")()

    @property
    def _name(self) -> str:
        return self.node.spec.name

    def _look(self) -> Project:
        self.project = self.api.look(hetzner(self.node.spec).placement)
        return self.project

    def _running(self) -> Server:
        """The server, which an earlier step has made."""
        server = of_node(self.project.servers, self._name) or of_node(self._look().servers, self._name)
        if server is None:
            raise StepError(self._name, "look for the server", "it is gone", "run the same command again")
        return server

    def _key(self) -> None:
        if old := of_node(self.project.keys, self._name):
            self.api.delete("ssh key", old)
        self.api.create_key(self.node.secrets.login_key_public)

    def _firewall(self) -> None:
        if old := of_node(self.project.firewalls, self._name):
            self.api.set_rules(old, rules(self.node.spec))
        else:
            self.api.create_firewall(rules(self.node.spec))

    def _group(self) -> None:
        self.api.create_group(hetzner(self.node.spec).placement)

    def _broken(self) -> None:
        server = of_node(self.project.servers, self._name)
        if server is not None and server.status == "deleting":
            self.api.wait_gone(server.id)
        elif server is not None:
            self.api.delete("server", server)

    def _server(self) -> None:
        """The first offer that can be had. Raises StepError with all that was tried."""
        project = self._look()
        market = self.api.market()
        spec = self.node.spec
        choice = choose(spec, market, self.api.transport.now().date(), pinned(spec, project))
        tried: list[str] = list(choice.rejected)
        for offer in choice.offers:
            self.report(Event("progress", STAGE, f"create server {self._name}: {describe(spec, market, offer)}"))
            try:
                self._make(offer, project)
            except Refused as error:
                if error.code not in SOLD_OUT:
                    raise
                tried.append(f"{offer.type} in {offer.location}: {error.code}")
                self.report(Event("warn", STAGE, f"{offer.type} cannot be had in {offer.location} ({error.code})"))
                continue
            self._look()
            return
        raise nothing_left(spec, tried)

    def _make(self, offer: Offer, project: Project) -> Server:
        """One try. A server whose creation fails holds nothing and is taken away again."""
        server, actions = self.api.create_server(self._request(offer, project))
        try:
            self.api.wait(actions, f"create server {self._name}", self.report)
            return self.api.wait_running(server.id, self.report)
        except ActionFailed:
            self.api.delete("server", server)
            raise

    def _request(self, offer: Offer, project: Project) -> dict[str, Any]:
        from hcloud.firewalls import Firewall
        from hcloud.images import Image
        from hcloud.locations import Location
        from hcloud.placement_groups import PlacementGroup
        from hcloud.primary_ips import PrimaryIP
        from hcloud.server_types import ServerType
        from hcloud.servers import ServerCreatePublicNetwork
        from hcloud.ssh_keys import SSHKey
        from hcloud.volumes import Volume

        spec, name = self.node.spec, self._name
        address, old = of_node(project.addresses, name), of_node(project.volumes, name)
        volume = old if gigabytes(spec) else None
        group = next((one for one in project.groups if one.name == hetzner(spec).placement), None)
        # No IPv6: names, firewall and networks of a node are IPv4's.
        net = ServerCreatePublicNetwork(
            ipv4=PrimaryIP(id=address.id) if address else None, enable_ipv4=True, enable_ipv6=False
        )
        return {
            "server_type": ServerType(name=offer.type),
            "image": Image(name=hetzner(spec).image),
            "location": Location(name=offer.location),
            "ssh_keys": [SSHKey(id=one.id) for one in project.keys if one.node == name],
            "firewalls": [Firewall(id=one.id) for one in project.firewalls if one.node == name],
            "volumes": [Volume(id=volume.id)] if volume else None,
            "placement_group": PlacementGroup(id=group.id) if group else None,
            "public_net": net,
            "user_data": user_data(spec, self.node.secrets),
            "automount": False if volume else None,
        }

    def _wait(self) -> None:
        self.api.wait_running(self._running().id, self.report)
        self._look()

    def _start(self) -> None:
        server = self._running()
        self.api.start(server)
        self.api.wait_running(server.id, self.report)
        self._look()

    def _address(self) -> None:
        server, keep = self._running(), hetzner(self.node.spec).keep_address
        own = of_node(self.project.addresses, self._name)
        number = own.id if own is not None else server.address
        if number is None:
            raise StepError(self._name, "keep the address", "the server has none", "look at it in the console")
        self.api.keep_address(number, keep=keep)

    def _volume(self) -> None:
        size, old = gigabytes(self.node.spec), of_node(self.project.volumes, self._name)
        if old is None:
            self.api.create_volume(size, self._running().id)
        elif old.size < size:  # else another operator was here since the plan
            self.api.resize(old, size)
        self._look()

    def _attach(self) -> None:
        volume = of_node(self.project.volumes, self._name)
        assert volume is not None
        self.api.attach(volume, self._running())
        self._look()

    def _guard(self) -> None:
        firewall = of_node(self._look().firewalls, self._name)
        assert firewall is not None
        self.api.guard(firewall, self._running())

    def _ssh(self) -> None:
        server = self._running()
        self.report(Event("progress", STAGE, f"wait for ssh at {server.ip}"))
        remote.wait_for_ssh(self.access(server.ip), self.api.patience.boot)

    def _mount(self) -> None:
        volume = of_node(self.project.volumes, self._name) or of_node(self._look().volumes, self._name)
        assert volume is not None
        volumes.mount(self.access(self._running().ip), volume.device, self.node.spec.machine.state)
