"""Glance v2: images to be read. https://docs.openstack.org/api-ref/image/v2/"""

from __future__ import annotations

from tests.testbed.openstack.api import Answer, Call, Routes, page

ROUTES = Routes("image")


@ROUTES.on("GET", "")
@ROUTES.on("GET", "/v2")
def versions(call: Call) -> Answer:
    links = [{"rel": "self", "href": f"{call.state.url}/image/{call.region.name}/v2/"}]
    return Answer(300, {"versions": [{"id": "v2.9", "status": "CURRENT", "links": links}]})


@ROUTES.on("GET", "/v2/images")
def images(call: Call) -> Answer:
    return page(call, "images", call.region.images.values(), "name", "status", "visibility")


@ROUTES.on("GET", "/v2/images/{id}")
def image(call: Call) -> Answer:
    return Answer(200, call.row("images"))
