"""Primary IPs: addresses that may outlive their servers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tests.testbed.hetzner import render
from tests.testbed.hetzner.api import Answer, Body, Call, Rename, Route, acted, action_routes, listing, rename
from tests.testbed.hetzner.errors import ApiError, invalid
from tests.testbed.hetzner.project import Project
from tests.testbed.hetzner.query import check_labels
from tests.testbed.hetzner.resources import PrimaryIp, Server


class CreateIp(Body):
    name: str = Field(min_length=1)
    type: Literal["ipv4", "ipv6"]
    assignee_type: Literal["server"] = "server"
    assignee_id: int | None = None
    auto_delete: bool = False
    location: str | int | None = None
    datacenter: str | int | None = None
    labels: dict[str, str] = Field(default_factory=dict)


class ReplaceIp(Rename):
    auto_delete: bool | None = None


class Assign(Body):
    assignee_id: int
    assignee_type: Literal["server"]


class Protect(Body):
    delete: bool


class Pointer(Body):
    ip: str
    dns_ptr: str | None


def find(call: Call) -> PrimaryIp:
    return call.project.get(call.project.primary_ips, "primary ip", call.id)


def check_takes(project: Project, server: Server, kind: str) -> None:
    """Raises ApiError where the server cannot have an address of this kind now."""
    project.actions.check_free("server", server.id)
    if not server.off:
        raise ApiError("server_not_stopped", "server must be stopped")
    if project.ip_of(server.id, kind):
        raise ApiError(f"server_has_{kind}", f"server already has an {kind} address")


def create(call: Call) -> Answer:
    project, body = call.project, call.parse(CreateIp)
    labels = check_labels(body.labels)
    project.check_name(project.primary_ips, "primary ip", body.name)
    project.check_limit("primary_ips", len(project.primary_ips) + 1)
    if body.assignee_id is not None:
        if body.location is not None or body.datacenter is not None:
            raise invalid("location", "cannot be given together with assignee_id")
        server = project.get(project.servers, "server", body.assignee_id)
        check_takes(project, server, body.type)
        place = project.catalogue.locations[server.location]
    else:
        found = (
            project.catalogue.find_location(str(body.location))
            if body.location is not None
            else project.catalogue.find_datacenter(str(body.datacenter))
        )
        if found is None:
            raise invalid("location", f"location '{body.location or body.datacenter}' not found")
        place = found
    made = project.new_ip(body.type, place.name, body.name, labels=labels, auto_delete=body.auto_delete)
    answer = {"primary_ip": render.primary_ip(project, made)}
    if body.assignee_id is not None:
        made.server = body.assignee_id
        action = project.action("assign_primary_ip", ("server", body.assignee_id), ("primary_ip", made.id))
        answer = {"primary_ip": render.primary_ip(project, made), "action": action.json()}
    return Answer(201, answer)


def every(call: Call) -> Answer:
    rows = [render.primary_ip(call.project, row) for row in call.project.primary_ips.values()]
    return listing(call, "primary_ips", rows, "ip", sorts=("id", "created"))


def one(call: Call) -> Answer:
    return Answer(200, {"primary_ip": render.primary_ip(call.project, find(call))})


def replace(call: Call) -> Answer:
    body, row = call.parse(ReplaceIp), find(call)
    rename(call, row, call.project.primary_ips, "primary ip", body)
    if body.auto_delete is not None:
        row.auto_delete = body.auto_delete
    return one(call)


def delete(call: Call) -> Answer:
    row = find(call)
    if row.keep:
        raise ApiError("protected", "primary ip deletion is protected")
    if row.server is not None:
        raise ApiError("must_be_unassigned", "primary ip must be unassigned before it can be deleted")
    call.project.actions.check_free("primary_ip", row.id)
    del call.project.primary_ips[row.id]
    return Answer(204)


def assign(call: Call) -> Answer:
    project, body, row = call.project, call.parse(Assign), find(call)
    server = project.get(project.servers, "server", body.assignee_id)
    if row.server is not None:
        raise ApiError("primary_ip_already_assigned", "primary ip is already assigned")
    if row.location != server.location:
        raise ApiError("invalid_input", "primary ip and server are in different locations")
    check_takes(project, server, row.type)
    row.server = server.id
    return acted(project.action("assign_primary_ip", ("server", server.id), ("primary_ip", row.id)))


def unassign(call: Call) -> Answer:
    project, row = call.project, find(call)
    if row.server is None:
        raise ApiError("invalid_input", "primary ip is not assigned")
    server = project.get(project.servers, "server", row.server)
    project.actions.check_free("server", server.id)
    if not server.off:
        raise ApiError("server_not_stopped", "server must be stopped")
    row.server = None
    return acted(project.action("unassign_primary_ip", ("server", server.id), ("primary_ip", row.id)))


def change_protection(call: Call) -> Answer:
    body, row = call.parse(Protect), find(call)
    row.keep = body.delete
    return acted(call.project.action("change_protection", ("primary_ip", row.id)))


def change_dns_ptr(call: Call) -> Answer:
    body, row = call.parse(Pointer), find(call)
    if row.type == "ipv4" and body.ip != row.ip:
        raise invalid("ip", "does not belong to the primary ip")
    row.pointers = {key: value for key, value in row.pointers.items() if key != body.ip}
    if body.dns_ptr:
        row.pointers[body.ip] = body.dns_ptr
    return acted(call.project.action("change_dns_ptr", ("primary_ip", row.id)))


ROUTES = [
    Route("GET", "/primary_ips", every),
    Route("POST", "/primary_ips", create),
    Route("GET", "/primary_ips/{id}", one),
    Route("PUT", "/primary_ips/{id}", replace),
    Route("DELETE", "/primary_ips/{id}", delete),
    Route("POST", "/primary_ips/{id}/actions/assign", assign),
    Route("POST", "/primary_ips/{id}/actions/unassign", unassign),
    Route("POST", "/primary_ips/{id}/actions/change_protection", change_protection),
    Route("POST", "/primary_ips/{id}/actions/change_dns_ptr", change_dns_ptr),
    *action_routes("primary_ips", "primary_ip", lambda call: find(call).id),
]
