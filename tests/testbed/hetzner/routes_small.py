"""SSH keys and placement groups."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Literal

from pydantic import Field

from tests.testbed.hetzner import render
from tests.testbed.hetzner.api import Answer, Body, Call, Route, listing, rename
from tests.testbed.hetzner.errors import ApiError, invalid
from tests.testbed.hetzner.query import check_labels
from tests.testbed.hetzner.resources import PlacementGroup, SshKey


class CreateKey(Body):
    name: str = Field(min_length=1)
    public_key: str
    labels: dict[str, str] = Field(default_factory=dict)


class CreateGroup(Body):
    name: str = Field(min_length=1)
    type: Literal["spread"]
    labels: dict[str, str] = Field(default_factory=dict)


def fingerprint(public_key: str) -> str:
    """OpenSSH's old form: the MD5 of the key's bytes. Raises ApiError ``invalid_input`` where that is no key."""
    words = public_key.split()
    try:
        body = base64.b64decode(words[1], validate=True)
        kind = body[4 : 4 + int.from_bytes(body[:4])].decode()
    except (IndexError, binascii.Error, UnicodeDecodeError):
        kind, body = "", b""
    if not kind or kind != words[0]:
        raise invalid("public_key", "SSH key is not valid")
    digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
    return ":".join(digest[at : at + 2] for at in range(0, 32, 2))


def create_key(call: Call) -> Answer:
    project, body = call.project, call.parse(CreateKey)
    labels, print_ = check_labels(body.labels), fingerprint(body.public_key)
    project.check_name(project.ssh_keys, "SSH key", body.name)
    if any(row.fingerprint == print_ for row in project.ssh_keys.values()):
        details = {"fields": [{"name": "public_key"}]}
        raise ApiError("uniqueness_error", "SSH key with the same fingerprint already exists", details)
    row = SshKey(project.new_id(), body.name, labels, project.now(), body.public_key, print_)
    project.ssh_keys[row.id] = row
    return Answer(201, {"ssh_key": render.ssh_key(row)})


def every_key(call: Call) -> Answer:
    rows = [render.ssh_key(row) for row in call.project.ssh_keys.values()]
    return listing(call, "ssh_keys", rows, "fingerprint", sorts=("id", "name", "created"))


def one_key(call: Call) -> Answer:
    return Answer(200, {"ssh_key": render.ssh_key(call.project.get(call.project.ssh_keys, "SSH key", call.id))})


def replace_key(call: Call) -> Answer:
    row = call.project.get(call.project.ssh_keys, "SSH key", call.id)
    rename(call, row, call.project.ssh_keys, "SSH key")
    return one_key(call)


def delete_key(call: Call) -> Answer:
    del call.project.ssh_keys[call.project.get(call.project.ssh_keys, "SSH key", call.id).id]
    return Answer(204)


def create_group(call: Call) -> Answer:
    project, body = call.project, call.parse(CreateGroup)
    labels = check_labels(body.labels)
    project.check_name(project.placement_groups, "placement group", body.name)
    row = PlacementGroup(project.new_id(), body.name, labels, project.now(), body.type)
    project.placement_groups[row.id] = row
    return Answer(201, {"placement_group": render.group(project, row), "action": None})


def every_group(call: Call) -> Answer:
    rows = [render.group(call.project, row) for row in call.project.placement_groups.values()]
    return listing(call, "placement_groups", rows, "type", sorts=("id", "name", "created"))


def one_group(call: Call) -> Answer:
    row = call.project.get(call.project.placement_groups, "placement group", call.id)
    return Answer(200, {"placement_group": render.group(call.project, row)})


def replace_group(call: Call) -> Answer:
    row = call.project.get(call.project.placement_groups, "placement group", call.id)
    rename(call, row, call.project.placement_groups, "placement group")
    return one_group(call)


def delete_group(call: Call) -> Answer:
    """Its servers stay; they are in no group then."""
    project = call.project
    row = project.get(project.placement_groups, "placement group", call.id)
    for server in project.servers.values():
        if server.placement_group == row.id:
            server.placement_group = None
    del project.placement_groups[row.id]
    return Answer(204)


ROUTES = [
    Route("GET", "/ssh_keys", every_key),
    Route("POST", "/ssh_keys", create_key),
    Route("GET", "/ssh_keys/{id}", one_key),
    Route("PUT", "/ssh_keys/{id}", replace_key),
    Route("DELETE", "/ssh_keys/{id}", delete_key),
    Route("GET", "/placement_groups", every_group),
    Route("POST", "/placement_groups", create_group),
    Route("GET", "/placement_groups/{id}", one_group),
    Route("PUT", "/placement_groups/{id}", replace_group),
    Route("DELETE", "/placement_groups/{id}", delete_group),
]
