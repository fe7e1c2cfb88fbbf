"""Looking at a project: what a node has there, what all nodes have, what is sold. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from binder_node.providers.hetzner import convert
from binder_node.providers.hetzner.market import Market, market
from binder_node.providers.hetzner.model import Address, Project, Server, of_node, selector
from binder_node.providers.hetzner.transport import Patience, Refused, Transport
from binder_node.secrets.masked import Masked


class Looks:
    """One project at Hetzner, for the node ``name``; its methods raise StepError."""

    def __init__(self, name: str, endpoint: str, token: Masked, patience: Patience | None = None) -> None:
        self.name, self.patience = name, patience or Patience()
        self.transport = Transport(name, endpoint, token, self.patience)
        self.client = self.transport.client

    def look(self, placement: str = "") -> Project:
        """What carries the node's labels, and what has its name without them; some requests at once."""
        ours = self._all({kind: {"selector": selector(self.name)} for kind in self._lists()})
        names = {kind: placement if kind == "groups" else self.name for kind in ours}
        missing = {kind for kind, name in names.items() if name and name not in {one.name for one in ours[kind]}}
        named = self._all({kind: {"name": names[kind]} for kind in names if kind in missing})
        project = Project(**{kind: (*found, *named.get(kind, ())) for kind, found in ours.items()})
        server = of_node(project.servers, self.name)
        if server is None or server.status == "running":
            return project
        found = replace(server, failed=": ".join(self.failure(server) or ()))
        return replace(project, servers=tuple(found if one == server else one for one in project.servers))

    def everything(self) -> Project:
        """What carries the labels of any node."""
        return Project(**self._all({kind: {"selector": selector()} for kind in self._lists()}))

    def _all(self, asked: dict[str, dict[str, str]]) -> dict[str, Any]:
        """Lists of several kinds at once, each with its own filters."""
        with ThreadPoolExecutor(len(asked) or 1) as pool:
            lists = {kind: pool.submit(self.listed, kind, **filters) for kind, filters in asked.items()}
            return {kind: tuple(found.result()) for kind, found in lists.items()}

    def _lists(self) -> dict[str, tuple[Any, Callable[[Any], Any], str]]:
        client = self.client
        return {
            "servers": (client.servers, convert.server, "servers"),
            "keys": (client.ssh_keys, convert.key, "ssh keys"),
            "firewalls": (client.firewalls, convert.firewall, "firewalls"),
            "groups": (client.placement_groups, convert.group, "placement groups"),
            "addresses": (client.primary_ips, convert.address, "primary IPs"),
            "volumes": (client.volumes, convert.volume, "volumes"),
        }

    def listed(self, kind: str, *, name: str = "", selector: str = "") -> list[Any]:
        client, plain, words = self._lists()[kind]

        def ask() -> list[Any]:
            if not name:
                return list(client.get_all(label_selector=selector))
            one = client.get_by_name(name)  # a name is unique
            return [] if one is None else [one]

        found = [plain(one) for one in self.transport.call(f"list {words}", ask)]
        # IPv6 addresses are primary IPs too.
        return [one for one in found if not (isinstance(one, Address) and ":" in one.ip)]

    def failure(self, server: Server) -> tuple[str, str] | None:
        """Code and message of the server's failed creation; None where it did not fail."""
        from hcloud.servers import Server as Reference

        one = Reference(id=server.id)
        step = f"look at server {server.name}"
        actions = self.transport.call(step, lambda: self.client.servers.get_actions(one, status=["error"]))
        failed = (action.data_model for action in actions)
        return next((reason_of(action.error) for action in failed if action.command == "create_server"), None)

    def market(self) -> Market:
        """Types, prices and locations as they are now."""
        ask = self.transport.call
        with ThreadPoolExecutor(3) as pool:
            types = pool.submit(ask, "list server types", self.client.server_types.get_all)
            prices = pool.submit(ask, "ask for prices", lambda: self.client.request(method="GET", url="/pricing"))
            places = pool.submit(ask, "list locations", self.client.locations.get_all)
            zones = {str(one.data_model.name): str(one.data_model.network_zone) for one in places.result()}
            rows = [convert.type_row(one) for one in types.result()]
            return market(rows, prices.result()["pricing"], zones)

    def server(self, number: int) -> Server | None:
        """The server as it is; None when it is gone."""
        step = f"look at server {self.name}"
        try:
            return convert.server(self.transport.call(step, lambda: self.client.servers.get_by_id(number)))
        except Refused as error:
            if error.code != "not_found":
                raise
            return None


def reason_of(error: Any) -> tuple[str, str]:
    """Code and message of a failed action."""
    return (str(error["code"]), str(error["message"])) if error else ("unknown", "the action failed")
