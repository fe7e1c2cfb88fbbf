"""Servers: made, listed, changed and removed."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from tests.testbed.hetzner import power, render
from tests.testbed.hetzner.actions import Action
from tests.testbed.hetzner.api import Answer, Body, Call, Route, acted, action_routes, listing
from tests.testbed.hetzner.catalogue import Image, Location, ServerType
from tests.testbed.hetzner.errors import ApiError, invalid, not_found
from tests.testbed.hetzner.project import Project
from tests.testbed.hetzner.query import check_labels
from tests.testbed.hetzner.resources import Firewall, PrimaryIp, Server, Volume

# RFC 1123, as the API asks of a server's name.
HOST_NAME = r"^[a-zA-Z0-9]([a-zA-Z0-9.-]{0,61}[a-zA-Z0-9])?$"
USER_DATA_BYTES = 32 * 1024
GROUP_SERVERS = 10  # https://docs.hetzner.com/cloud/placement-groups/overview
Name = Annotated[str, Field(pattern=HOST_NAME)]


class FirewallOf(Body):
    firewall: int


class PublicNet(Body):
    enable_ipv4: bool = True
    enable_ipv6: bool = True
    ipv4: int | None = None
    ipv6: int | None = None


class CreateServer(Body):
    name: Name
    server_type: str | int
    image: str | int
    location: str | int | None = None
    datacenter: str | int | None = None
    ssh_keys: list[str | int] = Field(default_factory=list)
    volumes: list[int] = Field(default_factory=list)
    firewalls: list[FirewallOf] = Field(default_factory=list)
    networks: list[int] = Field(default_factory=list)
    user_data: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    automount: bool = False
    start_after_create: bool = True
    placement_group: int | None = None
    public_net: PublicNet = Field(default_factory=PublicNet)


class ReplaceServer(Body):
    name: Name | None = None
    labels: dict[str, str] | None = None


def find_type(project: Project, which: str) -> ServerType:
    """Raises ApiError ``invalid_input`` where it is unknown or withdrawn."""
    found = project.catalogue.find_type(which)
    if found is None:
        raise invalid("server_type", f"server type '{which}' not found")
    if project.catalogue.is_gone(found):
        raise ApiError("invalid_input", f"server type {found.id} is deprecated", {"fields": [{"name": "server_type"}]})
    return found


def find_place(project: Project, body: CreateServer, type_: ServerType) -> Location:
    """Where it is to be: as named, else where the type is sold and in stock."""
    catalogue = project.catalogue
    if body.location is not None and body.datacenter is not None:
        raise invalid("datacenter", "location and datacenter cannot both be given")
    if body.location is not None:
        place = catalogue.find_location(str(body.location))
        what = f"location '{body.location}'"
    elif body.datacenter is not None:
        place = catalogue.find_datacenter(str(body.datacenter))
        what = f"datacenter '{body.datacenter}'"
    else:
        free = [name for name in type_.monthly if catalogue.in_stock(type_.name, name)] or list(type_.monthly)
        return catalogue.locations[free[0]]
    if place is None:
        raise invalid("location", f"{what} not found")
    if place.name not in type_.monthly:
        raise ApiError("invalid_input", "unsupported location for server type", {"fields": [{"name": "location"}]})
    return place


def find_image(project: Project, which: str, arch: str) -> Image:
    image = project.catalogue.find_image(which, arch)
    if image is None:
        raise invalid("image", f"image '{which}' not found")
    if image.arch != arch:
        raise invalid("image", f"image is for {image.arch}, the server type is {arch}")
    return image


def find_keys(project: Project, body: CreateServer) -> tuple[str, ...]:
    found = []
    for which in map(str, body.ssh_keys):
        key = next((row for row in project.ssh_keys.values() if which in (str(row.id), row.name)), None)
        if key is None:
            raise ApiError("not_found", f"SSH key not found: {which}")
        found.append(key.public_key)
    return tuple(found)


def find_ip(project: Project, number: int, kind: str, place: Location) -> PrimaryIp:
    """An address that a new server is to have. Raises ApiError where it cannot."""
    row = project.primary_ips.get(number)
    if row is None:
        raise not_found("primary ip", number)
    if row.type != kind:
        raise ApiError("primary_ip_version_mismatch", f"primary ip is of type {row.type}")
    if row.location != place.name:
        raise ApiError("primary_ip_datacenter_mismatch", "primary ip is in a different location")
    if row.server is not None:
        raise ApiError("primary_ip_assigned", "primary ip is already assigned")
    return row


def find_volume(project: Project, number: int, place: Location) -> Volume:
    row = project.get(project.volumes, "volume", number)
    if row.location != place.name:
        raise invalid("volumes", f"volume {number} is in another location")
    if row.server is not None:
        raise ApiError("invalid_input", f"volume {number} is already attached to a server")
    project.actions.check_free("volume", number)
    return row


def check_room(project: Project, type_: ServerType, place: Location, group: int | None) -> None:
    """Raises ApiError where the account may not have another, or there is none to be had."""
    project.check_limit("servers", len(project.servers) + 1)
    if type_.cpu == "dedicated":
        types = [project.catalogue.types[row.type] for row in project.servers.values()]
        project.check_limit("dedicated_cores", type_.cores + sum(row.cores for row in types if row.cpu == "dedicated"))
    if group is not None and len(project.members(group)) >= GROUP_SERVERS:
        raise ApiError("placement_error", "placement group is full")
    if not project.catalogue.in_stock(type_.name, place.name):
        raise ApiError("resource_unavailable", "error during placement")


@dataclass(frozen=True, slots=True)
class Parts:
    """What a new server is made of: found and free. ``fresh``: kinds of addresses that are made for it."""

    type: ServerType
    place: Location
    image: Image
    keys: tuple[str, ...]
    ips: list[PrimaryIp]
    volumes: list[Volume]
    walls: list[Firewall]
    fresh: list[str]


def parts_of(project: Project, body: CreateServer) -> Parts:
    """Raises ApiError where one of them is not to be had; nothing is made yet."""
    type_ = find_type(project, str(body.server_type))
    place = find_place(project, body, type_)
    net = body.public_net
    asked = [("ipv4", net.enable_ipv4, net.ipv4), ("ipv6", net.enable_ipv6, net.ipv6)]
    found = Parts(
        type=type_,
        place=place,
        image=find_image(project, str(body.image), type_.arch),
        keys=find_keys(project, body),
        ips=[find_ip(project, number, kind, place) for kind, _, number in asked if number is not None],
        volumes=[find_volume(project, number, place) for number in body.volumes],
        walls=[project.get(project.firewalls, "firewall", row.firewall) for row in body.firewalls],
        fresh=[kind for kind, enabled, number in asked if enabled and number is None],
    )
    if body.placement_group is not None:
        project.get(project.placement_groups, "placement group", body.placement_group)
    check_room(project, type_, place, body.placement_group)
    project.check_limit("primary_ips", len(project.primary_ips) + len(found.fresh))
    return found


def create(call: Call) -> Answer:
    project, body = call.project, call.parse(CreateServer)
    labels = check_labels(body.labels)
    if len(body.user_data.encode()) > USER_DATA_BYTES:
        raise invalid("user_data", f"must not be larger than {USER_DATA_BYTES} bytes")
    if body.networks:
        raise ApiError("unsupported_error", "this stand-in has no networks")
    project.check_name(project.servers, "server", body.name)
    parts = parts_of(project, body)

    made = Server(
        id=project.new_id(),
        name=body.name,
        labels=labels,
        created=project.now(),
        type=parts.type.name,
        location=parts.place.name,
        image=parts.image.id,
        disk=parts.type.disk,
        user_data=body.user_data,
        ssh_keys=parts.keys,
        placement_group=body.placement_group,
    )
    project.servers[made.id] = made
    for row in [*parts.ips, *(project.new_ip(kind, parts.place.name, auto_delete=True) for kind in parts.fresh)]:
        row.server = made.id
    for wall in parts.walls:
        wall.servers.append(made.id)
    for volume in parts.volumes:
        volume.server = made.id
    actions = begin(project, made, parts.volumes, body.start_after_create)
    answer = {
        "server": render.server(project, made),
        "action": actions[0].json(),
        "next_actions": [action.json() for action in actions[1:]],
        "root_password": None if parts.keys else secrets.token_urlsafe(15),
    }
    return Answer(201, answer)


def begin(project: Project, server: Server, volumes: list[Volume], start: bool) -> list[Action]:
    """``create_server``, and what comes after it by itself."""
    me = ("server", server.id)

    def made() -> None:
        server.status = "off"

    actions = [project.action("create_server", me, effect=made, undo=made)]
    if start:
        actions.append(power.start(project, server, after=actions[0]))
    for volume in volumes:
        actions.append(power.attach(project, volume, server, after=actions[-1]))
    return actions


def delete(call: Call) -> Answer:
    """The server is gone from the lists at once; what it had is let go when the action ends."""
    project = call.project
    row = project.get(project.servers, "server", call.id)
    if row.keep:
        raise ApiError("protected", "server deletion is protected")
    project.actions.check_free("server", row.id)
    row.status = "deleting"
    del project.servers[row.id]

    def gone() -> None:
        for volume in project.volumes_of(row.id):
            volume.server = None
        for ip in [ip for ip in project.primary_ips.values() if ip.server == row.id]:
            ip.server = None
            if ip.auto_delete:
                del project.primary_ips[ip.id]
        for wall in project.firewalls.values():
            wall.servers = [number for number in wall.servers if number != row.id]

    def back() -> None:
        row.status = "off"
        project.servers[row.id] = row

    work = power.removal(project, row)
    return acted(project.action("delete_server", ("server", row.id), work=work, effect=gone, undo=back), 200)


def replace(call: Call) -> Answer:
    project, body = call.project, call.parse(ReplaceServer)
    row = project.get(project.servers, "server", call.id)
    labels = check_labels(body.labels) if body.labels is not None else row.labels
    if body.name is not None:
        project.check_name(project.servers, "server", body.name, row.id)
        row.name = body.name
    row.labels = labels
    return one(call)


def one(call: Call) -> Answer:
    project = call.project
    return Answer(200, {"server": render.server(project, project.get(project.servers, "server", call.id))})


def every(call: Call) -> Answer:
    rows = [render.server(call.project, row) for row in call.project.servers.values()]
    return listing(call, "servers", rows, "status", sorts=("id", "name", "created"))


def exists(call: Call) -> int:
    return call.project.get(call.project.servers, "server", call.id).id


ROUTES = [
    Route("GET", "/servers", every),
    Route("POST", "/servers", create),
    Route("GET", "/servers/{id}", one),
    Route("PUT", "/servers/{id}", replace),
    Route("DELETE", "/servers/{id}", delete),
    *action_routes("servers", "server", exists),
]
