"""What can be looked at and not changed: types, places, images, prices."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tests.testbed.hetzner.api import Answer, Call, Handler, Route, listing
from tests.testbed.hetzner.errors import not_found
from tests.testbed.hetzner.project import Project

Rows = Callable[[Project], Iterable[dict[str, Any]]]


def types(project: Project) -> list[dict[str, Any]]:
    return [project.catalogue.type_json(row) for row in project.catalogue.listed]


def locations(project: Project) -> list[dict[str, Any]]:
    return [row.json() for row in project.catalogue.locations.values()]


def datacenters(project: Project) -> list[dict[str, Any]]:
    return [project.catalogue.datacenter_json(row) for row in project.catalogue.locations.values()]


def images(project: Project) -> list[dict[str, Any]]:
    return [row.json(project.catalogue.start) for row in project.catalogue.images]


def images_page(call: Call) -> Answer:
    """Deprecated images are shown to who asks for them."""
    all_of_them = call.first("include_deprecated") == "true"
    rows = [row for row in images(call.project) if all_of_them or row["deprecated"] is None]
    return listing(call, "images", rows, "type", "status", "architecture", sorts=("id", "name", "created"))


def datacenters_page(call: Call) -> Answer:
    """With the one that the API would take by itself."""
    answer = listing(call, "datacenters", datacenters(call.project))
    first = next(iter(call.project.catalogue.locations.values()))
    return Answer(200, {**(answer.body or {}), "recommendation": first.datacenter_id})


def page(key: str, rows: Rows) -> Handler:
    return lambda call: listing(call, key, rows(call.project))


def one(key: str, what: str, rows: Rows) -> Handler:
    def handler(call: Call) -> Answer:
        found = next((row for row in rows(call.project) if row["id"] == call.id), None)
        if found is None:
            raise not_found(what, call.id)
        return Answer(200, {key: found})

    return handler


ROUTES = [
    Route("GET", "/server_types", page("server_types", types)),
    Route("GET", "/server_types/{id}", one("server_type", "server type", types)),
    Route("GET", "/locations", page("locations", locations)),
    Route("GET", "/locations/{id}", one("location", "location", locations)),
    Route("GET", "/datacenters", datacenters_page),
    Route("GET", "/datacenters/{id}", one("datacenter", "datacenter", datacenters)),
    Route("GET", "/images", images_page),
    Route("GET", "/images/{id}", one("image", "image", images)),
    Route("GET", "/pricing", lambda call: Answer(200, {"pricing": call.project.catalogue.pricing_json()})),
]
