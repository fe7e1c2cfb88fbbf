"""Actions that are asked of a server."""

from __future__ import annotations

import secrets

from tests.testbed.hetzner import power
from tests.testbed.hetzner.api import Answer, Body, Call, Route, acted
from tests.testbed.hetzner.errors import ApiError, invalid
from tests.testbed.hetzner.resources import Server
from tests.testbed.hetzner.routes_servers import GROUP_SERVERS, USER_DATA_BYTES, find_image, find_type


class Protect(Body):
    delete: bool | None = None
    rebuild: bool | None = None


class Rebuild(Body):
    image: str | int
    user_data: str | None = None


class ChangeType(Body):
    server_type: str | int
    upgrade_disk: bool


class Join(Body):
    placement_group: int


class Pointer(Body):
    ip: str
    dns_ptr: str | None


def free(call: Call) -> Server:
    """The server, where no action of it runs."""
    row = call.project.get(call.project.servers, "server", call.id)
    call.project.actions.check_free("server", row.id)
    return row


def poweron(call: Call) -> Answer:
    return acted(power.start(call.project, free(call)))


def reboot(call: Call) -> Answer:
    row = free(call)
    if row.off:
        raise ApiError("invalid_input", "server is off")
    return acted(power.start(call.project, row, "reboot_server"))


def reset(call: Call) -> Answer:
    return acted(power.start(call.project, free(call), "reset_server"))


def poweroff(call: Call) -> Answer:
    return acted(power.stop(call.project, free(call), "stop_server"))


def shutdown(call: Call) -> Answer:
    return acted(power.stop(call.project, free(call), "shutdown_server"))


def rebuild(call: Call) -> Answer:
    project, body, row = call.project, call.parse(Rebuild), free(call)
    if row.keep_disk:
        raise ApiError("protected", "server rebuild is protected")
    row.image = find_image(project, str(body.image), project.catalogue.types[row.type].arch).id
    if body.user_data is not None:
        if len(body.user_data.encode()) > USER_DATA_BYTES:
            raise invalid("user_data", f"must not be larger than {USER_DATA_BYTES} bytes")
        row.user_data = body.user_data
    action = power.rebuild(project, row)
    return Answer(201, {"action": action.json(), "root_password": None if row.ssh_keys else secrets.token_urlsafe(15)})


def change_protection(call: Call) -> Answer:
    body, row = call.parse(Protect), free(call)
    wanted = (row.keep if body.delete is None else body.delete, row.keep_disk if body.rebuild is None else body.rebuild)
    if wanted[0] is not wanted[1]:
        raise invalid("rebuild", "delete and rebuild protection must be the same")
    row.keep, row.keep_disk = wanted
    return acted(call.project.action("change_protection", ("server", row.id)))


def change_type(call: Call) -> Answer:
    project, body, row = call.project, call.parse(ChangeType), free(call)
    if not row.off:
        raise ApiError("server_not_stopped", "server must be stopped")
    old, new = project.catalogue.types[row.type], find_type(project, str(body.server_type))
    if new.arch != old.arch or row.location not in new.monthly or new.disk < row.disk or new == old:
        raise ApiError("invalid_server_type", "the server type does not fit the server")
    if not project.catalogue.in_stock(new.name, row.location):
        raise ApiError("resource_unavailable", "error during placement")

    def changed() -> None:
        row.type, row.disk = new.name, new.disk if body.upgrade_disk else row.disk

    return acted(project.action("change_server_type", ("server", row.id), effect=changed))


def join(call: Call) -> Answer:
    project, body, row = call.project, call.parse(Join), free(call)
    group = project.get(project.placement_groups, "placement group", body.placement_group)
    if not row.off:
        raise ApiError("server_not_stopped", "server must be stopped")
    if row.placement_group is not None:
        raise ApiError("invalid_input", "server is already in a placement group")
    if len(project.members(group.id)) >= GROUP_SERVERS:
        raise ApiError("placement_error", "placement group is full")
    row.placement_group = group.id
    return acted(project.action("add_to_placement_group", ("server", row.id), ("placement_group", group.id)))


def leave(call: Call) -> Answer:
    row = free(call)
    if row.placement_group is None:
        raise ApiError("invalid_input", "server is in no placement group")
    row.placement_group = None
    return acted(call.project.action("remove_from_placement_group", ("server", row.id)))


def change_dns_ptr(call: Call) -> Answer:
    project, body, row = call.project, call.parse(Pointer), free(call)
    ip = project.ip_of(row.id, "ipv6" if ":" in body.ip else "ipv4")
    if ip is None or (ip.type == "ipv4" and ip.ip != body.ip):
        raise ApiError("not_found", f"ip {body.ip} does not belong to the server")
    ip.pointers = {key: value for key, value in ip.pointers.items() if key != body.ip}
    if body.dns_ptr:
        ip.pointers[body.ip] = body.dns_ptr
    return acted(project.action("change_dns_ptr", ("server", row.id)))


ROUTES = [
    Route("POST", f"/servers/{{id}}/actions/{name}", handler)
    for name, handler in {
        "poweron": poweron,
        "poweroff": poweroff,
        "shutdown": shutdown,
        "reboot": reboot,
        "reset": reset,
        "rebuild": rebuild,
        "change_protection": change_protection,
        "change_type": change_type,
        "change_dns_ptr": change_dns_ptr,
        "add_to_placement_group": join,
        "remove_from_placement_group": leave,
    }.items()
]
