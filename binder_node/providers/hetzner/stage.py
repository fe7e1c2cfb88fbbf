"""The Hetzner provider: a server looked at, made, reached and taken away."""

from __future__ import annotations

from dataclasses import dataclass, field

from binder_node import remote
from binder_node.changes import Change
from binder_node.events import Event, Reporter
from binder_node.node import Access, Node
from binder_node.providers import Shop
from binder_node.providers import volume as volumes
from binder_node.providers.base import KEEP, Kept, Leftover, access_to
from binder_node.providers.hetzner.api import Api
from binder_node.providers.hetzner.make import Making
from binder_node.providers.hetzner.market import Choice, Market, choose, describe, nothing_left
from binder_node.providers.hetzner.model import Project, Seen, Server, of_node
from binder_node.providers.hetzner.plan import (
    Step,
    check,
    doomed,
    drift,
    gigabytes,
    hetzner,
    leftovers,
    pinned,
    steps,
)
from binder_node.providers.hetzner.transport import Patience
from binder_node.providers.offers import Offer, Tariff, stated_tariff
from binder_node.secrets.tokens import token
from binder_node.spec.model import HetznerProvider


@dataclass
class HetznerMachine:
    """Provider of kind ``hetzner``. The token is asked for at the first call to the API."""

    node: Node
    name: str = "machine"
    patience: Patience = field(default_factory=Patience)
    _api: Api | None = None
    _market: Market | None = None
    _project: Project | None = None

    @property
    def api(self) -> Api:
        if self._api is None:
            spec = self.node.spec
            self._api = Api(spec.name, hetzner(spec).endpoint, token(self.node, "hcloud"), self.patience)
        return self._api

    def market(self) -> Market:
        """Live prices, asked for once."""
        if self._market is None:
            self._market = self.api.market()
        return self._market

    def nothing(self) -> Seen:
        return Seen()

    def inspect(self, report: Reporter) -> Seen:
        """One look at the project, and at the machine where there is one; where not, at what could be made.

        Raises:
            StepError: something of the node's name is somebody else's, no wanted server can be had, or another host
                key answers at the address.
        """
        spec = self.node.spec
        project = self._project = self.api.look(hetzner(spec).placement)
        check(spec, project)
        server = of_node(project.servers, spec.name)
        if server is None or server.failed or server.status == "deleting":
            return Seen(project, self._choice(project, report))
        seen = Seen(project, hindrance=f"the server is {server.status}")
        if server.status == "running":
            seen = self._reached(project, server)
        if text := drift(spec, seen):
            report(Event("warn", self.name, text))
        return seen

    def _choice(self, project: Project, report: Reporter) -> Choice:
        spec, market = self.node.spec, self.market()
        choice = choose(spec, market, self.api.transport.now().date(), pinned(spec, project))
        if not choice.offers:
            raise nothing_left(spec, choice.rejected)
        best = choice.offers[0]
        if best.deprecated is not None:
            end = f"{best.type} in {best.location} is withdrawn on {best.deprecated}"
            report(Event("warn", self.name, f"{end}: add another type to provider.types"))
        return choice

    def _reached(self, project: Project, server: Server) -> Seen:
        access, volume = self._access(server.ip), of_node(project.volumes, self.node.spec.name)
        hindrance = remote.hindrance(access)
        state = self.node.spec.machine.state
        wanted = bool(gigabytes(self.node.spec)) and volume is not None and not hindrance
        mounted = wanted and volume is not None and volumes.mounted(access, volume.device, state)
        return Seen(project, hindrance=hindrance, mounted=mounted)

    def steps(self, seen: Seen) -> list[Step]:
        offer = ""
        if seen.choice is not None and seen.choice.offers:
            offer = describe(self.node.spec, self.market(), seen.choice.offers[0])
        return steps(self.node.spec, self.node.secrets.login_key_public, seen, offer)

    def changes(self, seen: Seen) -> list[Change]:
        return [step.change() for step in self.steps(seen)]

    def apply(self, seen: Seen, report: Reporter) -> None:
        """Raises StepError or DeadlineError; killed anywhere, the next call goes on from what is there."""
        Making(self.node, self.api, seen, self._access, report).run(self.steps(seen))

    def access(self, seen: Seen) -> Access | None:
        server = of_node(seen.project.servers, self.node.spec.name)
        if server is None or server.status != "running" or seen.hindrance:
            return None
        return self._access(server.ip)

    def address(self, seen: Seen) -> str:
        """The server's, or the one that is kept for it."""
        server = of_node(seen.project.servers, self.node.spec.name)
        kept = of_node(seen.project.addresses, self.node.spec.name)
        return server.ip if server is not None else kept.ip if kept is not None else ""

    def offers(self, report: Reporter) -> list[Offer]:
        del report
        return list(self.market().offers)

    def own_offer(self, report: Reporter) -> Offer | None:
        """The server's; else the best that could be had now; else the best that is known, though not to be had."""
        del report
        spec, project, market = self.node.spec, self._looked(), self.market()
        server = of_node(project.servers, spec.name)
        if server is not None:
            return market.find(server.type, server.location)
        choice = choose(spec, market, self.api.transport.now().date(), pinned(spec, project))
        known = (market.find(name, place) for name in hetzner(spec).types for place in hetzner(spec).locations)
        return next(iter(choice.offers), None) or next((offer for offer in known if offer is not None), None)

    def tariff(self, report: Reporter) -> Tariff:
        del report
        spec, project = self.node.spec, self._looked()
        server = of_node(project.servers, spec.name)
        place = server.location if server else pinned(spec, project)
        return stated_tariff(spec, self.market().tariff(place or hetzner(spec).locations[0]))

    def _looked(self) -> Project:
        """The project as it was last seen."""
        if self._project is None:
            self._project = self.api.look(hetzner(self.node.spec).placement)
        return self._project

    def doomed(self, report: Reporter, keep: frozenset[Kept] = KEEP) -> list[Change]:
        del report
        project = self.api.look(hetzner(self.node.spec).placement)
        return [one.change() for one in doomed(self.node.spec, project, keep)]

    def destroy(self, report: Reporter, keep: frozenset[Kept] = KEEP) -> None:
        """In the order in which the API lets things go; address and volume stay while they are in ``keep``."""
        spec = self.node.spec
        project = self.api.look(hetzner(spec).placement)
        for one in doomed(spec, project, keep):
            report(Event("progress", self.name, f"delete {one.what}"))
            if isinstance(one.thing, Server):
                remote.disconnect(self._access(one.thing.ip))
                if one.thing.status == "deleting":
                    self.api.wait_gone(one.thing.id)
                    continue
            self.api.delete(one.kind, one.thing)
        for name in ("login_key", "known_hosts", "ssh_config", "control"):
            (self.node.runtime / name).unlink(missing_ok=True)

    def leftovers(self, report: Reporter) -> list[Leftover]:
        del report
        return leftovers(self.node.spec.name, bool(gigabytes(self.node.spec)), self.api.everything())

    def _access(self, ip: str) -> Access:
        access, secrets = access_to(self.node, ip), self.node.secrets
        remote.write_access(access, secrets.login_key.reveal(), secrets.host_key_public)
        return access


def shop(endpoint: str = "") -> Shop:
    """The market, and all labelled things of a project; the token is the environment's.

    Raises:
        InputError: there is no token.
        StepError: the API refused, or cannot be reached.
    """
    default = HetznerProvider.model_fields["endpoint"].default
    api = Api("hetzner", endpoint or default, token("", "hcloud"))
    market = api.market()
    return Shop(list(market.offers), market.tariff, lambda: leftovers("", False, api.everything()))
