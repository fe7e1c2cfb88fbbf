"""OpenStack's SDK at the edge: what carries our labels read into :mod:`things`, and one function for each call.

openstacksdk takes a second to import: inside functions only. Every request has a timeout, and neither the SDK nor
keystoneauth repeats one by itself: a create whose answer was lost must not be sent twice.
"""

from __future__ import annotations

import base64
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from binder_node.errors import StepError
from binder_node.providers.openstack import reading
from binder_node.providers.openstack.calls import MissingError, Patience, RefusedError, call
from binder_node.providers.openstack.things import (
    Found,
    Market,
    Rule,
    Server,
    Thing,
    Volume,
    collected,
    description,
    labels,
)
from binder_node.secrets.masked import Masked
from binder_node.spec.model import OpenStackProvider

if TYPE_CHECKING:
    from openstack.connection import Connection

# Nova's API version: what we need (`locked`) came with 2.9; a fixed one gives the same answers in every cloud.
COMPUTE_VERSION = "2.9"
# A list is of one kind in one region; more at once only makes a rate limit angry.
AT_ONCE = 5

# keystoneauth's names of the ways to log in that take one (keystoneauth1.loading).
WITH_SECRET = ("password", "v3password", "v3applicationcredential")

T = TypeVar("T")


@dataclass(frozen=True)
class Cloud:
    """The provider's regions, each a connection that is opened when it is first asked.

    ``node`` for messages; ``secret``: the password or the application credential's, where neither the environment nor
    clouds.yaml has one.
    """

    node: str
    provider: OpenStackProvider
    secret: Callable[[], Masked]
    patience: Patience = field(default_factory=Patience)
    _open: dict[str, Connection] = field(default_factory=dict)

    def found(self, regions: Iterable[str], node: str | None = None) -> Found:
        """All that carries labels of ours in ``regions``, each kind the oldest first; of one ``node`` or of all.

        Raises:
            StepError, DeadlineError: it could not be read.
        """
        asks: list[Callable[[], list[Any]]] = []
        for region in regions:
            asks += self._lists(region)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            things = [thing for part in pool.map(lambda ask: ask(), asks) for thing in part]
        return collected(thing for thing in things if thing.node and node in (None, thing.node))

    def _lists(self, region: str) -> list[Callable[[], list[Any]]]:
        cloud = self._connection(region)

        def ask(what: str, lister: Callable[[], Iterable[Any]], read: Callable[[str, Any], Any]) -> Any:
            return lambda: [read(region, one) for one in self._read(f"list {what} in {region}", lambda: list(lister()))]

        compute, network, volumes = cloud.compute, cloud.network, self._block_storage(region)
        asks = [
            ask("servers", lambda: compute.servers(details=True), reading.server),
            ask("floating addresses", network.ips, reading.address),
            ask("ports", network.ports, reading.port),
            ask("security groups", network.security_groups, reading.group),
        ]
        if volumes is not None:
            asks.append(ask("volumes", lambda: volumes.volumes(details=True), reading.volume))
        return asks

    def _block_storage(self, region: str) -> Any:
        """Cinder; None in a cloud that has none."""
        from keystoneauth1.exceptions import EndpointNotFound

        try:
            return self._connection(region).block_storage
        except EndpointNotFound:
            return None

    def regions(self) -> list[str]:
        """Every region of the catalog that has servers, those of the inventory first."""
        from_catalog = self._read("read the catalog", lambda: self._catalog_regions())
        return list(dict.fromkeys([*self.provider.regions, *sorted(from_catalog)]))

    def _catalog_regions(self) -> set[str]:
        session = self._connection(self.provider.regions[0]).session
        access = session.auth.get_access(session)  # type: ignore[union-attr]
        urls = access.service_catalog.get_endpoints(service_type="compute", interface="public")
        return {str(one["region_id"] or one["region"]) for entries in urls.values() for one in entries}

    def market(self, region: str) -> Market:
        """What the region has of what the inventory names, and the quota that is left."""
        provider, cloud = self.provider, self._connection(region)
        compute, network, storage = cloud.compute, cloud.network, self._block_storage(region)

        def networks() -> list[Any]:
            return list(network.networks())

        asks: dict[str, Callable[[], Any]] = {
            "flavors": lambda: list(compute.flavors(details=True, get_extra_specs=False)),
            "image": lambda: self._image(cloud),
            "networks": networks,
            "limits": lambda: compute.get_limits().absolute,
            "volumes": lambda: storage.get_limits().absolute if storage is not None else None,
        }
        with ThreadPoolExecutor(AT_ONCE) as pool:
            running = {
                what: pool.submit(self._read, f"read {what} in {region}", function) for what, function in asks.items()
            }
            got = {what: future.result() for what, future in running.items()}
        return Market(
            region,
            tuple(reading.flavor(one) for one in got["flavors"]),
            got["image"],
            reading.named(got["networks"], provider.network),
            reading.named(got["networks"], provider.floating_from),
            reading.quota(got["limits"], got["volumes"]),
        )

    def _image(self, cloud: Connection) -> str:
        """By name, the newest that is active: providers renew images under one name. Or by id."""
        wanted = self.provider.image
        images = [one for one in cloud.image.images(name=wanted) if one.status == "active"]
        if images:
            return str(max(images, key=lambda one: one.created_at or "").id)
        found = cloud.image.find_image(wanted, ignore_missing=True)
        return str(found.id) if found is not None else ""

    # Making: a lost answer raises UnsureError, and whoever calls looks again.

    def make_group(self, region: str) -> None:
        name = self.node
        network = self._connection(region).network
        self._make(
            f"make the security group in {region}",
            lambda: network.create_security_group(name=name, description=description(name)),
        )

    def add_rule(self, region: str, group: str, rule: Rule) -> None:
        network = self._connection(region).network
        try:
            self._make(
                f"open port {rule.port} in {region}",
                lambda: network.create_security_group_rule(
                    security_group_id=group,
                    direction="ingress",
                    ether_type="IPv4",
                    protocol="tcp",
                    port_range_min=rule.port,
                    port_range_max=rule.port,
                    remote_ip_prefix=rule.network,
                ),
            )
        except RefusedError as error:
            if error.code != 409:  # there already: of a run whose answer was lost, or of another operator's
                raise

    def drop_rule(self, region: str, rule: str) -> None:
        network = self._connection(region).network
        self._change("close a port", lambda: network.delete_security_group_rule(rule, ignore_missing=True))

    def make_port(self, region: str, network_id: str, group: str) -> None:
        name, network = self.node, self._connection(region).network
        self._make(
            f"make the port in {region}",
            lambda: network.create_port(
                name=name, description=description(name), network_id=network_id, security_group_ids=[group]
            ),
        )

    def set_group(self, region: str, port: str, group: str) -> None:
        network = self._connection(region).network
        self._change("guard the port", lambda: network.update_port(port, security_group_ids=[group]))

    def make_address(self, region: str, network_id: str, port: str) -> None:
        name, network = self.node, self._connection(region).network
        self._make(
            f"take a floating address in {region}",
            lambda: network.create_ip(description=description(name), floating_network_id=network_id, port_id=port),
        )

    def set_port(self, region: str, address: str, port: str | None) -> None:
        network = self._connection(region).network
        self._change("lead the floating address to the port", lambda: network.update_ip(address, port_id=port))

    def network_id(self, region: str, name: str) -> str:
        """The id of a network by its name or id.

        Raises:
            StepError: there is none.
        """
        network = self._connection(region).network
        found = reading.named(self._read(f"list networks in {region}", lambda: list(network.networks())), name)
        if not found:
            raise StepError(self.node, f"look for network {name}", f"{region} has none", "`openstack network list`")
        return found

    def make_volume(self, region: str, size: int) -> None:
        name, storage = self.node, self._connection(region).block_storage
        given = {"volume_type": self.provider.volume_type, "availability_zone": self.provider.zone}
        self._make(
            f"make the volume in {region}",
            lambda: storage.create_volume(
                name=name, size=size, metadata=labels(name), **{key: value for key, value in given.items() if value}
            ),
        )

    def make_server(self, region: str, flavor: str, image: str, port: str, user_data: str) -> None:
        name, compute = self.node, self._connection(region).compute
        given = {"availability_zone": self.provider.zone} if self.provider.zone else {}
        self._make(
            f"make the server in {region}",
            lambda: compute.create_server(
                name=name,
                flavor_id=flavor,
                image_id=image,
                networks=[{"port": port}],
                metadata=labels(name),
                config_drive=True,
                user_data=base64.b64encode(user_data.encode()).decode(),
                **given,
            ),
        )

    def attach(self, volume: Volume, server: Server) -> None:
        compute = self._connection(server.region).compute
        self._make("attach the volume", lambda: compute.create_volume_attachment(server.id, volume_id=volume.id))

    def start(self, server: Server) -> None:
        compute = self._connection(server.region).compute
        try:
            self._change("start the server", lambda: compute.start_server(server.id))
        except RefusedError as error:
            if error.code != 409:  # it is being started already
                raise

    def mark(self, thing: Thing) -> None:
        """Write down that it has been in use."""
        cloud, text = self._connection(thing.region), description(thing.node, used=True)
        new = labels(thing.node, used=True)
        functions: dict[str, Callable[[], Any]] = {
            "server": lambda: cloud.compute.set_server_metadata(thing.id, **new),
            "volume": lambda: cloud.block_storage.set_volume_metadata(thing.id, **new),
            "port": lambda: cloud.network.update_port(thing.id, description=text),
            "address": lambda: cloud.network.update_ip(thing.id, description=text),
        }
        self._change(f"note that the {thing.kind} is in use", functions[thing.kind])

    def remove(self, thing: Thing) -> None:
        """Ask for its removal; no error when it is gone already."""
        cloud = self._connection(thing.region)
        functions: dict[str, Callable[[], Any]] = {
            "server": lambda: cloud.compute.delete_server(thing.id, ignore_missing=True),
            "volume": lambda: cloud.block_storage.delete_volume(thing.id, ignore_missing=True),
            "port": lambda: cloud.network.delete_port(thing.id, ignore_missing=True),
            "address": lambda: cloud.network.delete_ip(thing.id, ignore_missing=True),
            "group": lambda: cloud.network.delete_security_group(thing.id, ignore_missing=True),
        }
        self._change(f"delete {thing.kind} {thing.name or thing.id} in {thing.region}", functions[thing.kind])

    def console(self, server: Server, lines: int) -> str:
        """The last lines of the server's console; empty where the cloud shows none."""
        compute = self._connection(server.region).compute
        try:
            got = self._read("read the console", lambda: compute.get_server_console_output(server.id, length=lines))
        except (StepError, MissingError):
            return ""
        return str(got.get("output", "") if isinstance(got, Mapping) else got or "").strip()

    def _connection(self, region: str) -> Connection:
        if region not in self._open:
            self._open[region] = call(
                self.node,
                f"log in to {region}",
                lambda: self._connect(region),
                again=True,
                seconds=self.patience.call,
                renewals=0,  # a wrong password stays wrong, and a third try may lock it
            )
        return self._open[region]

    def _connect(self, region: str) -> Connection:
        from keystoneauth1.exceptions import EndpointNotFound
        from openstack.config import OpenStackConfig
        from openstack.connection import Connection

        # What goes wrong is ours to say: without a handler its warnings would go to the operator's screen.
        logging.getLogger("keystoneauth").addHandler(logging.NullHandler())
        config = OpenStackConfig(app_name="binder-node")
        # An openrc names one region, and the SDK would take no other.
        entry = config.cloud_config.get("clouds", {}).get(self.provider.cloud or config.default_cloud or "", {})
        if entry.get("region_name") != region:
            entry.pop("region_name", None)
        self._complete(entry)
        one = config.get_one(
            cloud=self.provider.cloud or None,
            region_name=region,
            api_timeout=self.patience.request,
            connect_retries=0,
            status_code_retries=0,
            compute_default_microversion=COMPUTE_VERSION,
        )
        cloud = Connection(config=one, strict_proxies=True)
        cloud.session.get_token()
        # Proxies are made when they are first looked at, which is no thing to do from several threads.
        for service in (cloud.compute, cloud.network, cloud.image):
            service.get_endpoint()
        with contextlib.suppress(EndpointNotFound):  # volumes are not everywhere, nor wanted by everybody
            cloud.block_storage.get_endpoint()
        return cloud

    def _complete(self, entry: dict[str, Any]) -> None:
        """Put the secret into a cloud's ``entry`` that says who we are and how we log in, and has all but it."""
        auth = entry.setdefault("auth", {})
        given = {**entry, **auth}
        by_name = any(given.get(name) for name in ("application_credential_id", "username", "user_id"))
        field = "application_credential_secret" if given.get("application_credential_id") else "password"
        if by_name and given.get("auth_type", "password") in WITH_SECRET and not given.get(field):
            auth[field] = self.secret().reveal()

    def _read(self, step: str, function: Callable[[], T]) -> T:
        return call(self.node, step, function, again=True, seconds=self.patience.call)

    def _change(self, step: str, function: Callable[[], T]) -> T:
        return call(self.node, step, function, again=True, seconds=self.patience.call)

    def _make(self, step: str, function: Callable[[], T]) -> T:
        return call(self.node, step, function, again=False, seconds=self.patience.call)
