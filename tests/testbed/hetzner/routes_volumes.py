"""Volumes: disks that outlive their servers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tests.testbed.hetzner import power, render
from tests.testbed.hetzner.api import Answer, Body, Call, Route, acted, action_routes, listing, rename
from tests.testbed.hetzner.errors import ApiError, invalid
from tests.testbed.hetzner.query import check_labels
from tests.testbed.hetzner.resources import Server, Volume

Gigabytes = Annotated[int, Field(ge=10, le=10240)]
NAME = r"^[a-zA-Z0-9]([a-zA-Z0-9._-]{0,62}[a-zA-Z0-9])?$"
SERVER_VOLUMES = 16  # https://docs.hetzner.com/cloud/volumes/overview


class CreateVolume(Body):
    name: str = Field(pattern=NAME)
    size: Gigabytes
    location: str | int | None = None
    server: int | None = None
    format: Literal["xfs", "ext4"] | None = None
    automount: bool = False
    labels: dict[str, str] = Field(default_factory=dict)


class Attach(Body):
    server: int
    automount: bool = False


class Resize(Body):
    size: Gigabytes


class Protect(Body):
    delete: bool = False


def find(call: Call) -> Volume:
    return call.project.get(call.project.volumes, "volume", call.id)


def check_takes(call: Call, number: int, location: str = "") -> Server:
    """The server, where it can have one more volume. Raises ApiError."""
    project = call.project
    server = project.get(project.servers, "server", number)
    if location and server.location != location:
        raise ApiError("invalid_input", "volume and server are in different locations")
    if len(project.volumes_of(server.id)) >= SERVER_VOLUMES:
        raise ApiError("resource_limit_exceeded", "volume limit of the server exceeded")
    project.actions.check_free("server", server.id)
    return server


def create(call: Call) -> Answer:
    project, body = call.project, call.parse(CreateVolume)
    labels = check_labels(body.labels)
    project.check_name(project.volumes, "volume", body.name)
    project.check_limit("volumes", len(project.volumes) + 1)
    if (body.location is None) is (body.server is None):
        raise invalid("location", "give a location or a server")
    if body.automount and (body.server is None or body.format is None):
        raise invalid("automount", "needs a server and a format")
    server = check_takes(call, body.server) if body.server is not None else None
    place = project.catalogue.find_location(server.location if server else str(body.location))
    if place is None:
        raise invalid("location", f"location '{body.location}' not found")
    if not project.catalogue.in_stock("volume", place.name):
        raise ApiError("no_space_left_in_location", "there is no volume space left in the location")
    made = Volume(project.new_id(), body.name, labels, project.now(), body.size, place.name, body.format)
    project.volumes[made.id] = made

    def ready() -> None:
        made.status = "available"

    def work() -> None:
        project.machines.create(made.id, made.size, made.format)

    action = project.action("create_volume", ("volume", made.id), work=work, effect=ready, undo=ready)
    then = [power.attach(project, made, server, after=action)] if server else []
    answer = {"volume": render.volume(project, made), "action": action.json()}
    return Answer(201, {**answer, "next_actions": [row.json() for row in then]})


def every(call: Call) -> Answer:
    rows = [render.volume(call.project, row) for row in call.project.volumes.values()]
    return listing(call, "volumes", rows, "status", sorts=("id", "name", "created"))


def one(call: Call) -> Answer:
    return Answer(200, {"volume": render.volume(call.project, find(call))})


def replace(call: Call) -> Answer:
    rename(call, find(call), call.project.volumes, "volume")
    return one(call)


def delete(call: Call) -> Answer:
    project, row = call.project, find(call)
    if row.keep:
        raise ApiError("protected", "volume deletion is protected")
    project.actions.check_free("volume", row.id)
    if row.server is not None:
        raise ApiError("invalid_input", "volume is still attached to a server")
    project.machines.drop(row.id)
    del project.volumes[row.id]
    return Answer(204)


def attach(call: Call) -> Answer:
    project, body, row = call.project, call.parse(Attach), find(call)
    if row.server is not None:
        raise ApiError("invalid_input", "volume is already attached to a server")
    server = check_takes(call, body.server, row.location)
    project.actions.check_free("volume", row.id)
    return acted(power.attach(project, row, server))


def detach(call: Call) -> Answer:
    project, row = call.project, find(call)
    project.actions.check_free("volume", row.id)
    if row.server is not None:
        project.actions.check_free("server", row.server)
    return acted(power.detach(project, row))


def resize(call: Call) -> Answer:
    project, body, row = call.project, call.parse(Resize), find(call)
    project.actions.check_free("volume", row.id)
    if body.size <= row.size:
        raise invalid("size", "must be greater than the volume's size")

    def work() -> None:
        project.machines.resize(row.id, body.size)

    def larger() -> None:
        row.size = body.size

    return acted(project.action("resize_volume", ("volume", row.id), work=work, effect=larger))


def change_protection(call: Call) -> Answer:
    body, row = call.parse(Protect), find(call)
    row.keep = body.delete
    return acted(call.project.action("change_protection", ("volume", row.id)))


ROUTES = [
    Route("GET", "/volumes", every),
    Route("POST", "/volumes", create),
    Route("GET", "/volumes/{id}", one),
    Route("PUT", "/volumes/{id}", replace),
    Route("DELETE", "/volumes/{id}", delete),
    Route("POST", "/volumes/{id}/actions/attach", attach),
    Route("POST", "/volumes/{id}/actions/detach", detach),
    Route("POST", "/volumes/{id}/actions/resize", resize),
    Route("POST", "/volumes/{id}/actions/change_protection", change_protection),
    *action_routes("volumes", "volume", lambda call: find(call).id),
]
