"""What is ordered from the API, one method an order. Nothing here decides."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from binder_node.errors import DeadlineError, StepError
from binder_node.events import Event, Reporter
from binder_node.providers.hetzner import convert
from binder_node.providers.hetzner.looks import Looks, reason_of
from binder_node.providers.hetzner.model import (
    Firewall,
    Rule,
    Server,
    Thing,
    Volume,
    labels,
    of_node,
)
from binder_node.providers.hetzner.transport import (
    IN_USE,
    LATER,
    UNCERTAIN,
    ActionFailed,
    Refused,
    explain,
)

if TYPE_CHECKING:
    from hcloud.actions import BoundAction

STAGE = "machine"


class Api(Looks):
    """What changes a project; its methods raise StepError and DeadlineError."""

    def create_key(self, public_key: str) -> None:
        self.transport.create(
            f"create ssh key {self.name}",
            lambda: convert.key(
                self.client.ssh_keys.create(name=self.name, public_key=public_key, labels=labels(self.name))
            ),
            lambda: self._named("keys"),
        )

    def create_firewall(self, rules: Iterable[Rule]) -> None:
        wanted = [_rule(rule) for rule in rules]
        self.transport.create(
            f"create firewall {self.name}",
            lambda: convert.firewall(
                self.client.firewalls.create(name=self.name, rules=wanted, labels=labels(self.name)).firewall  # type: ignore[arg-type]
            ),
            lambda: self._named("firewalls"),
        )

    def create_group(self, group: str) -> None:
        self.transport.create(
            f"create placement group {group}",
            lambda: convert.group(
                self.client.placement_groups.create(
                    name=group,
                    type="spread",
                    labels=labels(self.name),
                ).placement_group
            ),
            lambda: next(iter(self.listed("groups", name=group)), None),
        )

    def create_server(self, request: dict[str, Any]) -> tuple[Server, list[BoundAction]]:
        """The server and the actions that make it; none where the answer was lost and the server found.

        ``request``: arguments of hcloud's ``servers.create`` besides name and labels.
        """

        def make() -> tuple[Server, list[BoundAction]]:
            made = self.client.servers.create(name=self.name, labels=labels(self.name), **request)
            return convert.server(made.server), [made.action, *made.next_actions]

        def find() -> tuple[Server, list[BoundAction]] | None:
            server = self._named("servers")
            return None if server is None else (server, [])

        return self.transport.create(f"create server {self.name}", make, find)

    def create_volume(self, size: int, server: int) -> Volume:
        from hcloud.servers import Server as Reference

        def make() -> tuple[Volume, list[BoundAction]]:
            made = self.client.volumes.create(
                size=size,
                name=self.name,
                labels=labels(self.name),  # type: ignore[arg-type]
                server=Reference(id=server),
                automount=False,
                format="xfs",
            )
            return convert.volume(made.volume), [made.action, *made.next_actions]

        def find() -> tuple[Volume, list[BoundAction]] | None:
            volume = self._named("volumes")
            return None if volume is None else (volume, [])

        volume, actions = self.transport.create(f"create volume {self.name}", make, find)
        self.wait(actions, f"volume {self.name}")
        return volume

    def _named(self, kind: str) -> Any:
        """The thing of the node's name, where it is the node's own."""
        return of_node(self.listed(kind, name=self.name), self.name)

    # Changing

    def set_rules(self, firewall: Firewall, rules: Iterable[Rule]) -> None:
        from hcloud.firewalls import Firewall as Reference

        wanted, one = [_rule(rule) for rule in rules], Reference(id=firewall.id)
        self._act(f"set the rules of firewall {self.name}", lambda: self.client.firewalls.set_rules(one, wanted))

    def guard(self, firewall: Firewall, server: Server) -> None:
        """Put the firewall before the server; that it is there already is no error."""
        from hcloud.firewalls import Firewall as Reference
        from hcloud.firewalls import FirewallResource
        from hcloud.servers import Server as ServerReference

        to = [FirewallResource(type="server", server=ServerReference(id=server.id))]
        self._act(
            f"put firewall {self.name} before the server",
            lambda: self.client.firewalls.apply_to_resources(Reference(id=firewall.id), to),
            done="firewall_already_applied",
        )

    def keep_address(self, number: int, *, keep: bool) -> None:
        """Give a primary IP the node's name and labels, and let it outlive its server, or not."""
        from hcloud.primary_ips import PrimaryIP

        step = f"keep primary IP {self.name}" if keep else f"let primary IP {self.name} go with the server"
        one = PrimaryIP(id=number)
        self.transport.call(
            step,
            lambda: self.client.primary_ips.update(one, auto_delete=not keep, labels=labels(self.name), name=self.name),
        )

    def attach(self, volume: Volume, server: Server) -> None:
        from hcloud.servers import Server as ServerReference
        from hcloud.volumes import Volume as Reference

        one, to = Reference(id=volume.id), ServerReference(id=server.id)
        self._act_on_volume(
            f"attach volume {volume.name}",
            lambda: self.client.volumes.attach(one, to, automount=False),
            lambda now: now.server == server.id,
        )

    def resize(self, volume: Volume, size: int) -> None:
        from hcloud.volumes import Volume as Reference

        one = Reference(id=volume.id)
        self._act_on_volume(
            f"resize volume {volume.name}",
            lambda: self.client.volumes.resize(one, size),
            lambda now: now.size >= size,
        )

    def _act_on_volume(self, step: str, ask: Callable[[], BoundAction], done: Callable[[Volume], bool]) -> None:
        """An action that is refused the second time; where the answer to the first is lost, the volume tells."""

        def find() -> list[BoundAction] | None:
            now = self._named("volumes")
            return [] if now is not None and done(now) else None

        self.wait(self.transport.create(step, lambda: [ask()], find), step)

    def start(self, server: Server) -> None:
        from hcloud.servers import Server as Reference

        one = Reference(id=server.id)
        self._act(f"start server {server.name}", lambda: [self.client.servers.power_on(one)])

    def _act(self, step: str, ask: Callable[[], list[BoundAction]], done: str = "") -> None:
        """An action that may be asked for twice; ``done``: the code of a refusal that means it was done already."""
        try:
            actions = self.transport.call(step, ask)
        except Refused as error:
            if error.code != done:
                raise
            return
        self.wait(actions, step)

    # Taking away

    def delete(self, kind: str, thing: Thing) -> None:
        """Delete one thing and wait until it is gone; that it is gone already is no error."""
        from hcloud.firewalls import Firewall as FirewallReference
        from hcloud.placement_groups import PlacementGroup
        from hcloud.primary_ips import PrimaryIP
        from hcloud.servers import Server as ServerReference
        from hcloud.ssh_keys import SSHKey
        from hcloud.volumes import Volume as VolumeReference

        client = self.client
        deletes: dict[str, Callable[[], Any]] = {
            "server": lambda: client.servers.delete(ServerReference(id=thing.id)),
            "volume": lambda: client.volumes.delete(VolumeReference(id=thing.id)),
            "primary IP": lambda: client.primary_ips.delete(PrimaryIP(id=thing.id)),
            "firewall": lambda: client.firewalls.delete(FirewallReference(id=thing.id)),
            "placement group": lambda: client.placement_groups.delete(PlacementGroup(id=thing.id)),
            "ssh key": lambda: client.ssh_keys.delete(SSHKey(id=thing.id)),
        }
        step = f"delete {kind} {thing.name}"
        try:
            answer = self.transport.call(step, deletes[kind], LATER | UNCERTAIN | IN_USE)
        except Refused as error:
            if error.code != "not_found":
                raise
            return
        if kind == "server":
            self.wait([answer], step)
            self.wait_gone(thing.id)

    # Waiting

    def wait(self, actions: Iterable[BoundAction], what: str, report: Reporter | None = None) -> None:
        """Wait for actions, one after another, each with the same patience.

        Raises:
            ActionFailed: one failed; its code is the action's.
            DeadlineError: one did not end.
        """
        for action in actions:
            self._wait(action, what, report)

    def _wait(self, action: BoundAction, what: str, report: Reporter | None) -> None:
        began, current, number = time.monotonic(), action, action.data_model.id
        while True:
            raw = current.data_model
            if raw.status == "error":
                raise explain(self.name, what, *reason_of(raw.error), kind=ActionFailed)
            if raw.status == "success":
                return
            if time.monotonic() - began > self.patience.action:
                last = f"{raw.command} is at {raw.progress} % (action {raw.id})"
                remedy = "it may still end: run the same command again; https://status.hetzner.com"
                raise DeadlineError(self.name, what, self.patience.action, last, remedy)
            if report is not None:
                report(Event("progress", STAGE, f"{what}: {raw.command} {raw.progress} %"))
            time.sleep(self.patience.poll)
            current = self.transport.call(what, lambda: self.client.actions.get_by_id(number))

    def wait_running(self, number: int, report: Reporter) -> Server:
        """Wait until the server runs.

        Raises:
            ActionFailed: its creation failed.
            StepError: it is gone.
            DeadlineError: it did not run in time.
        """
        began = time.monotonic()
        while True:
            server = self.server(number)
            if server is None:
                raise StepError(self.name, f"wait for server {self.name}", "it is gone", "run the same command again")
            if server.status == "running" and not server.locked:
                return server
            if failed := self.failure(server):
                raise explain(self.name, f"create server {self.name}", *failed, kind=ActionFailed)
            if time.monotonic() - began > self.patience.action:
                last = f"it is {server.status}{', locked' if server.locked else ''}"
                raise DeadlineError(self.name, f"server {self.name} to run", self.patience.action, last)
            report(Event("progress", STAGE, f"server {self.name} is {server.status}"))
            time.sleep(self.patience.poll)

    def wait_gone(self, number: int) -> None:
        """Wait until the server is gone. Raises DeadlineError."""
        began = time.monotonic()
        while (server := self.server(number)) is not None:
            if time.monotonic() - began > self.patience.action:
                last = f"it is {server.status}"
                raise DeadlineError(self.name, f"server {server.name} to be gone", self.patience.action, last)
            time.sleep(self.patience.poll)


def _rule(rule: Rule) -> Any:
    from hcloud.firewalls import FirewallRule

    return FirewallRule(
        direction="in",
        protocol=rule.protocol,
        source_ips=list(rule.sources),
        port=rule.port or None,
        description=rule.description or None,
    )
