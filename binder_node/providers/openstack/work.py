"""Doing what :mod:`plan` decides, one step at a time, looking at the cloud again after each: the cloud is the truth."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from binder_node.errors import DeadlineError, StepError
from binder_node.events import Event, Reporter
from binder_node.node import Node
from binder_node.providers.openstack.calls import MissingError, RefusedError, UnsureError
from binder_node.providers.openstack.cloud import Cloud
from binder_node.providers.openstack.market import lacking, openstack
from binder_node.providers.openstack.plan import elected, next_step, vanishing
from binder_node.providers.openstack.steps import (
    STAGE,
    Attach,
    Knock,
    MakeAddress,
    MakeGroup,
    MakePort,
    MakeServer,
    MakeVolume,
    Mark,
    Mount,
    Refuse,
    Remove,
    SetGroup,
    SetPort,
    SetRules,
    Start,
    Step,
    Wait,
    change,
    title,
)
from binder_node.providers.openstack.things import Candidate, Found, Market, Server, Thing, Volume, collected
from binder_node.providers.userdata import user_data

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 3.0
# Enough for every candidate and a few setbacks; more is a cloud that takes back what it gives.
MOST_STEPS = 100
# Answers lost, or things that vanished or clashed under our hands (a second operator), in one run.
MOST_SETBACKS = 8


class AgainError(Exception):
    """The machine that was waited for is not the one any more: look again."""


@dataclass
class Work:
    """One run of ``up``. ``knock`` waits until ssh lets us in (AgainError: the server is another one by now);
    ``mount`` has the volume at the state folder. ``answered`` and ``mounted`` are the ids of the servers of which that
    is true: another operator's server may take the place of ours meanwhile.
    """

    node: Node
    cloud: Cloud
    report: Reporter
    knock: Callable[[Server, str], None]
    mount: Callable[[Volume], None]
    markets: tuple[Market, ...] = ()
    tried: dict[Candidate, str] = field(default_factory=dict)
    attempted: set[Candidate] = field(default_factory=set)
    setbacks: int = 0
    answered: str = ""
    mounted: str = ""
    _since: dict[tuple[str, str, str], float] = field(default_factory=dict)
    _told: str = ""

    def run(self) -> None:
        """Until nothing is left to do.

        Raises:
            StepError, DeadlineError: it cannot go on; the same call goes on from here.
        """
        spec = self.node.spec
        for _ in range(MOST_STEPS):
            found = self.cloud.found(openstack(spec).regions, spec.name)
            step = self._next(found)
            while isinstance(step, Wait):
                self._wait(step)
                found = self._again(found, step.thing.region)
                step = self._next(found)
            if step is None:
                return
            self._tell(step)
            try:
                self._do(step)
            except UnsureError as error:
                self._setback(step, f"the answer was lost: {error.reason}")
            except (MissingError, AgainError) as error:
                self._setback(step, str(error))
        raise StepError(spec.name, "make the machine", "the cloud takes back what it gives", "look at its manager")

    def _next(self, found: Found) -> Step | None:
        live = [server for server in found.servers if not vanishing(server)]
        if all(server.status == "ERROR" for server in live) and not self.markets:
            self.markets = markets(self.cloud)
        chosen = elected(live)
        return next_step(
            self.node.spec,
            found,
            self.markets,
            self.tried,
            answered=chosen is not None and chosen.id == self.answered,
            mounted=chosen is not None and chosen.id == self.mounted,
        )

    def _again(self, found: Found, region: str) -> Found:
        """A new look at one region: while we wait, the others can wait too."""
        here = self.cloud.found([region], self.node.spec.name)
        return collected([*found.only(lambda thing: thing.region != region).all(), *here.all()])

    def _tell(self, step: Step) -> None:
        shown = change(step, self.node.spec.name)
        if not isinstance(step, Refuse):
            self.report(Event("progress", STAGE, f"{shown.action} {shown.what}"))

    def _setback(self, step: Step, reason: str) -> None:
        self.setbacks += 1
        shown = change(step, self.node.spec.name)
        what = f"{shown.action} {shown.what}"
        if self.setbacks > MOST_SETBACKS:
            raise StepError(self.node.spec.name, what, reason, "run the same command again; it goes on from here")
        self.report(Event("warn", STAGE, f"{what}: {reason}; looking again"))
        time.sleep(min(FIRST_PAUSE * 2**self.setbacks, LONGEST_PAUSE))

    def _wait(self, step: Wait) -> None:
        key = (step.thing.kind, step.thing.id, step.what)
        waited = time.monotonic() - self._since.setdefault(key, time.monotonic())
        seconds = self.cloud.patience.of(step.thing.kind)
        if waited > seconds:
            raise DeadlineError(self.node.spec.name, step.what, seconds, step.last, "look at it in the cloud's manager")
        if self._told != (told := f"wait for {step.what}: {step.last}"):
            self._told = told
            self.report(Event("progress", STAGE, told))
        time.sleep(min(max(waited / 4, FIRST_PAUSE), LONGEST_PAUSE))

    def _do(self, step: Step) -> None:
        cloud = self.cloud
        match step:
            case Refuse(what, reason, remedy):
                raise StepError(self.node.spec.name, what, reason, remedy)
            case Remove(thing, why):
                self._remove(thing, why)
            case MakeGroup(region):
                cloud.make_group(region)
            case SetRules(group, add, drop):
                for rule in add:
                    cloud.add_rule(group.region, group.id, rule)
                for id_ in drop:
                    cloud.drop_rule(group.region, id_)
            case MakePort(region, network, group):
                cloud.make_port(region, network, group.id)
            case SetGroup(port, group):
                cloud.set_group(port.region, port.id, group.id)
            case MakeAddress(region, network, port):
                network = network or cloud.network_id(region, openstack(self.node.spec).floating_from)
                cloud.make_address(region, network, port.id)
            case SetPort(address, port):
                cloud.set_port(address.region, address.id, port.id)
            case MakeVolume(region, size):
                cloud.make_volume(region, size)
            case MakeServer():
                self._make_server(step)
            case Start(server):
                cloud.start(server)
            case Knock(server, address):
                self.knock(server, address)
                self.answered = server.id
            case Attach(volume, server):
                self._attach(volume, server)
            case Mount(volume):
                self.mount(volume)
                self.mounted = volume.server
            case Mark(things):
                for thing in things:
                    cloud.mark(thing)

    def _remove(self, thing: Thing, why: str) -> None:
        if isinstance(thing, Server) and thing.status == "ERROR":
            names = {one.id: one.name for market in self.markets for one in market.flavors}
            candidate = Candidate(thing.region, names.get(thing.flavor, thing.flavor))
            if candidate in self.attempted:  # not one that failed in a run long ago: it may be had now
                self.tried[candidate] = thing.fault or "it failed"
            self.report(Event("warn", STAGE, f"{title(thing)}: {why}"))
        try:
            self.cloud.remove(thing)
        except RefusedError as error:
            if error.code != 409:
                raise
            raise MissingError(error.reason) from error  # in use after all: what is there now decides anew

    def _attach(self, volume: Volume, server: Server) -> None:
        try:
            self.cloud.attach(volume, server)
        except RefusedError as error:
            if error.code not in (400, 409):
                raise
            raise MissingError(error.reason) from error  # attached by now, or on its way: look again

    def _make_server(self, step: MakeServer) -> None:
        region, text = step.candidate.region, user_data(self.node.spec, self.node.secrets)
        self.attempted.add(step.candidate)
        try:
            self.cloud.make_server(region, step.flavor, step.image, step.port.id, text)
        except MissingError as error:
            self._refused(step.candidate, str(error))
        except RefusedError as error:
            if (
                error.code == 409
            ):  # its port has just been taken: by a run whose answer was lost, or by another operator
                raise MissingError(error.reason) from error
            if error.code == 400:
                self._refused(step.candidate, error.reason)
                return
            if error.code not in (403, 413):
                raise
            # A full quota and missing rights are one code: ask for what is left.
            market = self.cloud.market(region)
            flavor = next((one for one in market.flavors if one.id == step.flavor), None)
            short = lacking(market, flavor, self.node.spec, volume=False) if flavor else ""
            if not short:
                raise
            self._refused(step.candidate, short)

    def _refused(self, candidate: Candidate, why: str) -> None:
        self.tried[candidate] = why
        self.report(Event("warn", STAGE, f"{candidate}: {why}"))


def markets(cloud: Cloud) -> tuple[Market, ...]:
    """What every region of the inventory offers."""
    return tuple(cloud.market(region) for region in cloud.provider.regions)


def still(cloud: Cloud, server: Server) -> None:
    """Raises AgainError when the server that is waited for is gone, going, or has failed."""
    found = cloud.found([server.region], server.node)
    now = next((one for one in found.servers if one.id == server.id), None)
    if now is None or vanishing(now) or now.status == "ERROR":
        raise AgainError(f"{title(server)} is {now.status if now else 'gone'}")
