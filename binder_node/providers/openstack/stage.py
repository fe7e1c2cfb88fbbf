"""The OpenStack provider: a machine made, found, reached and removed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

from binder_node import remote
from binder_node.changes import Change
from binder_node.errors import DeadlineError, StepError
from binder_node.events import Event, Reporter
from binder_node.node import Access, Node
from binder_node.providers import volume as volumes
from binder_node.providers.base import KEEP, Kept, Leftover, access_to
from binder_node.providers.offers import Offer, Tariff, stated_tariff
from binder_node.providers.openstack import disk, removal
from binder_node.providers.openstack.calls import MissingError, Patience, RefusedError
from binder_node.providers.openstack.cloud import Cloud
from binder_node.providers.openstack.imagine import planned
from binder_node.providers.openstack.market import hoped, offered, openstack
from binder_node.providers.openstack.plan import choice, elected, next_step, vanishing
from binder_node.providers.openstack.steps import STAGE, Refuse, Wait, title
from binder_node.providers.openstack.things import Candidate, Found, Market, Server, Thing, Volume, collected
from binder_node.providers.openstack.work import FIRST_PAUSE, LONGEST_PAUSE, Work, markets, still
from binder_node.secrets.tokens import token

ALIVE_SECONDS = 10
CONSOLE_LINES = 5
# OVH has some fifteen regions; each is a log-in and five lists.
REGIONS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class OpenStackSeen:
    """All that carries the node's labels. ``markets`` are read only where a server has to be made.

    ``hindrance``: what keeps us from logging in to the server that is up; empty: nothing, or there is none.
    ``mounted``: the state folder lies on the volume.
    """

    found: Found
    markets: tuple[Market, ...] = ()
    hindrance: str = ""
    mounted: bool = False

    @property
    def server(self) -> Server | None:
        """The one that is up."""
        chosen = elected(server for server in self.found.servers if not vanishing(server))
        return chosen if chosen is not None and chosen.status == "ACTIVE" else None

    @property
    def answered(self) -> bool:
        return self.server is not None and not self.hindrance


class OpenStackMachine:
    """Provider of kind ``openstack``."""

    name: str = STAGE

    def __init__(self, node: Node, patience: Patience | None = None) -> None:
        self.node, self.patience = node, patience or Patience()
        # Once: a command may ask for a passphrase.
        secret = cache(lambda: token(node, "openstack"))
        self.cloud = Cloud(node.spec.name, openstack(node.spec), secret, self.patience)

    def nothing(self) -> OpenStackSeen:
        """As if everything that the inventory names were to be had."""
        return OpenStackSeen(Found(), hoped(self.node.spec))

    def inspect(self, report: Reporter) -> OpenStackSeen:
        """Raises StepError when another host key answers, or when no flavor of the inventory can be had."""
        spec = self.node.spec
        found = self.cloud.found(openstack(spec).regions, spec.name)
        if not any(not vanishing(server) for server in found.servers):
            self._not_elsewhere(report)
            offered = markets(self.cloud)
            step = next_step(spec, found, offered, {}, answered=False)
            if isinstance(step, Refuse):
                raise StepError(spec.name, step.step, step.reason, step.remedy)
            return OpenStackSeen(found, offered)
        seen = OpenStackSeen(found)
        if seen.server is None:
            return seen
        if not (address := self.address(seen)):
            return OpenStackSeen(found, (), "it has no public address")
        access = self._access(address)
        hindrance = remote.hindrance(access)
        return OpenStackSeen(found, (), hindrance, not hindrance and self._mounted(access, found, seen.server))

    def _mounted(self, access: Access, found: Found, server: Server) -> bool:
        volume = elected(one for one in found.volumes if one.server == server.id)
        if volume is None or not openstack(self.node.spec).volume:
            return False
        device = disk.device(access, volume.id, wait=False)
        return bool(device) and volumes.mounted(access, device, self.node.spec.machine.state)

    def changes(self, seen: OpenStackSeen) -> list[Change]:
        return planned(self.node.spec, seen.found, seen.markets, answered=seen.answered, mounted=seen.mounted)

    def apply(self, seen: OpenStackSeen, report: Reporter) -> None:
        """Raises StepError or DeadlineError; killed anywhere, the next call goes on from what carries the labels."""
        work = Work(self.node, self.cloud, report, self._knock, self._mount, seen.markets)
        if seen.server is not None:
            work.answered = seen.server.id if seen.answered else ""
            work.mounted = seen.server.id if seen.mounted else ""
        work.run()

    def access(self, seen: OpenStackSeen) -> Access | None:
        address = self.address(seen)
        return self._access(address) if seen.server is not None and address and not seen.hindrance else None

    def address(self, seen: OpenStackSeen) -> str:
        found, server = seen.found, seen.server
        port = elected(port for port in found.ports if server is None or port.device == server.id)
        if not openstack(self.node.spec).floating_from:
            return port.address if port else ""
        mine = elected(one for one in found.addresses if port is None or one.port in (port.id, ""))
        return mine.address if mine else ""

    def offers(self, report: Reporter) -> list[Offer]:
        """Every flavor whose price the inventory states. OpenStack tells no prices, and not what is in stock."""
        offers, unpriced = [], set[str]()
        for market in markets(self.cloud):
            for flavor in market.flavors:
                offer = offered(self.node.spec, market, flavor)
                if offer is None:
                    unpriced.add(flavor.name)
                else:
                    offers.append(offer)
        if unpriced:
            what = f"{len(unpriced)} flavors are left out: OpenStack tells no prices; write those you want to compare"
            report(Event("warn", STAGE, f"{what} to provider.prices"))
        return offers

    def own_offer(self, report: Reporter) -> Offer | None:
        """Of the server that is there, or of the one that would be made."""
        del report
        spec = self.node.spec
        found = self.cloud.found(openstack(spec).regions, spec.name)
        server = elected(server for server in found.servers if not vanishing(server))
        offering = (self.cloud.market(server.region),) if server else markets(self.cloud)
        here = None if server else choice(spec, found, offering, {})[0]
        for market in offering:
            for flavor in market.flavors:
                there = server is not None and server.flavor in (flavor.id, flavor.name)
                if there or here == Candidate(market.region, flavor.name):
                    return offered(spec, market, flavor)
        return None

    def tariff(self, report: Reporter) -> Tariff:
        del report
        return stated_tariff(self.node.spec)

    def doomed(self, report: Reporter, keep: frozenset[Kept] = KEEP) -> list[Change]:
        """Raises StepError when a server is locked."""
        found = self._everywhere(report)
        self._check_locks(found)
        return [
            Change(self.name, "delete", f"{title(thing)} ({thing.id})")
            for thing in removal.doomed(self.node.spec, found, keep)
        ]

    def _check_locks(self, found: Found) -> None:
        """A lock forbids all of it, before any of it is gone."""
        for server in found.servers:
            if server.locked:
                remedy = f"`openstack server unlock {server.id}`, if it is to go"
                raise StepError(self.node.spec.name, "destroy", f"{title(server)} is locked", remedy)

    def destroy(self, report: Reporter, keep: frozenset[Kept] = KEEP) -> None:
        """Server, then floating address, port, volume, security group: each only when it carries our labels."""
        spec, since, last = self.node.spec, dict[tuple[str, str, str], float](), ""
        remote.disconnect(self._access(""))
        found = self._everywhere(report)
        self._check_locks(found)
        regions = sorted({thing.region for thing in found.all()})
        while (step := removal.next_removal(spec, self._look(regions, spec.name, report), keep)) is not None:
            key = (type(step).__name__, step.thing.kind, step.thing.id)
            seconds = self.patience.of(step.thing.kind)
            waited = time.monotonic() - since.setdefault(key, time.monotonic())
            if waited > seconds:
                last = step.last if isinstance(step, Wait) else last
                raise DeadlineError(spec.name, f"{title(step.thing)} to be gone", seconds, last, "run it again")
            if not isinstance(step, Wait):
                report(Event("progress", self.name, f"delete {title(step.thing)}"))
                last = self._remove(step.thing)
            elif waited == 0:
                report(Event("progress", self.name, f"wait for {step.what}"))
            if waited:
                time.sleep(min(max(waited / 4, FIRST_PAUSE), LONGEST_PAUSE))
        for name in ("login_key", "known_hosts", "ssh_config", "control"):
            (self.node.runtime / name).unlink(missing_ok=True)

    def _remove(self, thing: Thing) -> str:
        """Ask for its removal; what the cloud says where it is in use, as a port is just after its server."""
        try:
            self.cloud.remove(thing)
        except RefusedError as error:
            if error.code not in (400, 409):
                raise
            return error.reason
        return "still there"

    def leftovers(self, report: Reporter) -> list[Leftover]:
        """Of every region in the cloud's catalog."""
        found = self._look(self.cloud.regions(), None, report)
        own = self.node.spec.name
        strays = removal.surplus(self.node.spec, found.only(lambda thing: thing.node == own))
        return [
            Leftover(thing.kind, thing.name, thing.id, thing.node, removal.note(thing))
            for thing in found.all()
            if thing.node != own or thing in strays
        ]

    def _everywhere(self, report: Reporter) -> Found:
        return self._look(self.cloud.regions(), self.node.spec.name, report)

    def _look(self, regions: Sequence[str], node: str | None, report: Reporter) -> Found:
        """A region that the inventory names must answer; another one that does not is said and left out."""

        def look(region: str) -> list[Thing]:
            try:
                return self.cloud.found([region], node).all()
            except (StepError, MissingError) as error:
                if region in openstack(self.node.spec).regions:
                    raise
                report(Event("warn", self.name, f"{region} was not looked at: {error}"))
                return []

        with ThreadPoolExecutor(REGIONS_AT_ONCE) as pool:
            return collected(thing for things in pool.map(look, regions) for thing in things)

    def _not_elsewhere(self, report: Reporter) -> None:
        """Before a server is made: none may be in a region that the inventory has been changed to leave out."""
        provider = openstack(self.node.spec)
        others = [region for region in self.cloud.regions() if region not in provider.regions]
        for thing in self._look(others, self.node.spec.name, report).all():
            if isinstance(thing, Server) or thing.used:
                reason = f"{title(thing)} is this node's, and {thing.region} is not in provider.regions"
                raise StepError(
                    self.node.spec.name, "look for the machine", reason, "add it there, or destroy the node"
                )

    def _access(self, address: str) -> Access:
        access, secrets = access_to(self.node, address), self.node.secrets
        if address:
            remote.write_access(access, secrets.login_key.reveal(), secrets.host_key_public)
        return access

    def _knock(self, server: Server, address: str) -> None:
        access, last = self._access(address), time.monotonic()

        def alive() -> None:
            nonlocal last
            if time.monotonic() - last > ALIVE_SECONDS:
                last = time.monotonic()
                still(self.cloud, server)

        try:
            remote.wait_for_ssh(access, self.patience.ssh, alive)
        except DeadlineError as error:
            lines = self.cloud.console(server, CONSOLE_LINES)
            said = f"{error.last}; its console ends with:\n{lines}" if lines else error.last
            raise DeadlineError(self.node.spec.name, error.what, self.patience.ssh, said, error.remedy) from error

    def _mount(self, volume: Volume) -> None:
        access = self._access(self.address(OpenStackSeen(self.cloud.found([volume.region], self.node.spec.name))))
        volumes.mount(access, disk.device(access, volume.id, wait=True), self.node.spec.machine.state)
