"""DNS zones and their record sets, in primary mode. Nothing answers DNS here: it is what the API keeps."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Literal

from pydantic import Field

from tests.testbed.hetzner import render
from tests.testbed.hetzner.api import Answer, Body, Call, Route, acted, actions_page, listing, one_action
from tests.testbed.hetzner.errors import ApiError, invalid, taken
from tests.testbed.hetzner.project import Project
from tests.testbed.hetzner.query import check_labels
from tests.testbed.hetzner.resources import RRSet, Zone

Type = Literal["A", "AAAA", "CAA", "CNAME", "DS", "HINFO", "HTTPS", "MX", "NS", "PTR", "RP", "SOA", "SRV", "SVCB", "TLSA", "TXT"]  # fmt: skip  # noqa: E501
Ttl = Annotated[int, Field(ge=60, le=2147483647)]
LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
ZONE_NAME = re.compile(rf"^({LABEL}\.)+{LABEL}$")
RR_NAME = re.compile(rf"^(@|\*|(\*\.)?({LABEL}\.)*{LABEL})$")
HOST = re.compile(rf"^(@|({LABEL}\.)*{LABEL}\.?)$")


class Record(Body):
    value: str
    comment: str = ""


class CreateSet(Body):
    name: str
    type: Type
    ttl: Ttl | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    records: list[Record] = Field(min_length=1)


class CreateZone(Body):
    name: str = Field(max_length=255)
    mode: Literal["primary", "secondary"]
    ttl: Ttl = 3600
    labels: dict[str, str] = Field(default_factory=dict)
    rrsets: list[CreateSet] = Field(default_factory=list)


class Labels(Body):
    labels: dict[str, str] | None = None


class SetRecords(Body):
    records: list[Record] = Field(min_length=1)


class AddRecords(SetRecords):
    ttl: Ttl | None = None


class ChangeTtl(Body):
    ttl: Ttl | None


class Protect(Body):
    delete: bool = False


class ProtectSet(Body):
    change: bool


def check_value(kind: str, value: str) -> None:
    """Raises ApiError ``invalid_input`` where a record of the kinds that a node has is malformed."""
    try:
        if kind == "A":
            IPv4Address(value)
        elif kind == "AAAA":
            IPv6Address(value)
    except ValueError:
        raise invalid("records", f"'{value}' is not the value of an {kind} record") from None
    if kind == "CNAME" and not HOST.match(value):
        raise invalid("records", f"'{value}' is not a name")
    if kind == "TXT" and not re.fullmatch(r'("([^"\\]|\\.){0,255}"\s*)+', value):
        raise invalid("records", "the value of a TXT record must be quoted")


def checked(kind: str, records: list[Record]) -> list[dict[str, str]]:
    for record in records:
        check_value(kind, record.value)
    values = [record.value for record in records]
    if len(set(values)) != len(values):
        raise invalid("records", "values must be distinct")
    if kind in ("CNAME", "SOA") and len(values) > 1:
        raise invalid("records", f"a {kind} has one record")
    return [record.model_dump() for record in records]


def new_set(project: Project, zone: Zone, body: CreateSet) -> RRSet:
    """A set as it is to be in the zone. Raises ApiError where it cannot be."""
    if not RR_NAME.match(body.name) or body.name.endswith(f".{zone.name}") or body.name == zone.name:
        raise invalid("name", f"'{body.name}' is not a name relative to the zone, in lower case")
    if (body.name, body.type) in zone.sets:
        raise taken("rrset")
    here = {kind for name, kind in zone.sets if name == body.name}
    if (body.type == "CNAME" and here) or "CNAME" in here:
        raise invalid("type", "a CNAME stands alone at its name")
    return RRSet(
        body.name, body.type, body.ttl, check_labels(body.labels), checked(body.type, body.records), project.now()
    )


def find(call: Call) -> Zone:
    which = str(call.args["id_or_name"])
    zones = call.project.zones.values()
    found = next((row for row in zones if which in (row.name, str(row.id))), None)
    if found is None:
        raise ApiError("not_found", f"zone '{which}' not found")
    return found


def find_set(call: Call) -> tuple[Zone, RRSet]:
    zone, key = find(call), (str(call.args["rr_name"]), str(call.args["rr_type"]))
    if key not in zone.sets:
        raise ApiError("not_found", f"rrset '{key[0]}/{key[1]}' not found")
    return zone, zone.sets[key]


def open_set(call: Call) -> tuple[Zone, RRSet]:
    """A set that may be changed."""
    zone, row = find_set(call)
    if row.fixed:
        raise ApiError("protected", "rrset is protected")
    return zone, row


def changed(call: Call, zone: Zone, command: str, status: int = 201) -> Answer:
    """The zone is written anew: the SOA's serial goes up, and an action tells when it is published."""
    zone.serial += 1
    soa = zone.sets["@", "SOA"]
    mother, person, _, *rest = soa.records[0]["value"].split()
    soa.records = [{"value": " ".join([mother, person, str(zone.serial), *rest]), "comment": ""}]
    return acted(call.project.action(command, ("zone", zone.id)), status)


def create(call: Call) -> Answer:
    project, body = call.project, call.parse(CreateZone)
    if body.mode == "secondary":
        raise ApiError("unsupported_error", "this stand-in has zones of mode primary only")
    if not ZONE_NAME.match(body.name):
        raise invalid("name", f"'{body.name}' is not a name of a zone, in lower case")
    if any(row.name == body.name for row in project.zones.values()):
        raise taken("zone")
    made = Zone(project.new_id(), body.name, check_labels(body.labels), project.now(), body.ttl)
    made.serial = int(project.now().strftime("%Y%m%d00"))
    soa = f"{render.NAMESERVERS[0]} dns.hetzner.com. {made.serial} 86400 10800 3600000 3600"
    servers = [{"value": name, "comment": ""} for name in render.NAMESERVERS]
    made.sets["@", "SOA"] = RRSet("@", "SOA", None, {}, [{"value": soa, "comment": ""}], project.now())
    made.sets["@", "NS"] = RRSet("@", "NS", None, {}, servers, project.now())
    for wanted in body.rrsets:
        made.sets[wanted.name, wanted.type] = new_set(project, made, wanted)
    project.zones[made.id] = made
    action = project.action("create_zone", ("zone", made.id))
    return Answer(201, {"zone": render.zone(made), "action": action.json()})


def every(call: Call) -> Answer:
    rows = [render.zone(row) for row in call.project.zones.values()]
    return listing(call, "zones", rows, "mode", sorts=("id", "name", "created"))


def one(call: Call) -> Answer:
    return Answer(200, {"zone": render.zone(find(call))})


def replace(call: Call) -> Answer:
    body, row = call.parse(Labels), find(call)
    row.labels = row.labels if body.labels is None else check_labels(body.labels)
    return one(call)


def delete(call: Call) -> Answer:
    project, row = call.project, find(call)
    if row.keep:
        raise ApiError("protected", "zone deletion is protected")
    project.actions.check_free("zone", row.id)
    del project.zones[row.id]
    return acted(project.action("delete_zone", ("zone", row.id)))


def change_protection(call: Call) -> Answer:
    body, row = call.parse(Protect), find(call)
    row.keep = body.delete
    return acted(call.project.action("change_protection", ("zone", row.id)))


def change_zone_ttl(call: Call) -> Answer:
    body, row = call.parse(ChangeTtl), find(call)
    if body.ttl is None:
        raise invalid("ttl", "is required")
    row.ttl = body.ttl
    return changed(call, row, "change_ttl")


def create_set(call: Call) -> Answer:
    body, zone = call.parse(CreateSet), find(call)
    made = new_set(call.project, zone, body)
    zone.sets[made.name, made.type] = made
    action = changed(call, zone, "create_rrset").body
    return Answer(201, {"rrset": render.rrset(zone, made), **(action or {})})


def every_set(call: Call) -> Answer:
    zone = find(call)
    rows = [render.rrset(zone, row) for row in zone.sets.values()]
    return listing(call, "rrsets", rows, "type")


def one_set(call: Call) -> Answer:
    return Answer(200, {"rrset": render.rrset(*find_set(call))})


def replace_set(call: Call) -> Answer:
    body, (_, row) = call.parse(Labels), open_set(call)
    row.labels = row.labels if body.labels is None else check_labels(body.labels)
    return one_set(call)


def delete_set(call: Call) -> Answer:
    zone, row = open_set(call)
    if (row.name, row.type) in (("@", "SOA"), ("@", "NS")):
        raise ApiError("invalid_input", f"the zone's own {row.type} cannot be deleted")
    del zone.sets[row.name, row.type]
    return changed(call, zone, "delete_rrset")


def set_records(call: Call) -> Answer:
    body, (zone, row) = call.parse(SetRecords), open_set(call)
    row.records = checked(row.type, body.records)
    return changed(call, zone, "set_rrset_records")


def add_records(call: Call) -> Answer:
    """Makes the set where there is none."""
    body, zone = call.parse(AddRecords), find(call)
    name, kind = str(call.args["rr_name"]), str(call.args["rr_type"])
    if (name, kind) not in zone.sets:
        wanted = CreateSet.model_validate({"name": name, "type": kind, "ttl": body.ttl, "records": body.records})
        zone.sets[name, kind] = new_set(call.project, zone, wanted)
    else:
        _, row = open_set(call)
        row.records = checked(kind, [*(Record(**record) for record in row.records), *body.records])
    return changed(call, zone, "add_rrset_records")


def remove_records(call: Call) -> Answer:
    """A set without records is gone."""
    body, (zone, row) = call.parse(SetRecords), open_set(call)
    gone = {record.value for record in body.records}
    if missing := gone - {record["value"] for record in row.records}:
        raise invalid("records", f"'{min(missing)}' is no record of the rrset")
    row.records = [record for record in row.records if record["value"] not in gone]
    if not row.records:
        del zone.sets[row.name, row.type]
    return changed(call, zone, "remove_rrset_records")


def update_records(call: Call) -> Answer:
    """Comments only."""
    body, (zone, row) = call.parse(SetRecords), open_set(call)
    comments = {record.value: record.comment for record in body.records}
    if missing := set(comments) - {record["value"] for record in row.records}:
        raise invalid("records", f"'{min(missing)}' is no record of the rrset")
    row.records = [{**record, "comment": comments.get(record["value"], record["comment"])} for record in row.records]
    return changed(call, zone, "update_rrset_records", 200)


def change_ttl(call: Call) -> Answer:
    body, (zone, row) = call.parse(ChangeTtl), open_set(call)
    row.ttl = body.ttl
    return changed(call, zone, "change_rrset_ttl")


def protect_set(call: Call) -> Answer:
    body, (zone, row) = call.parse(ProtectSet), find_set(call)
    row.fixed = body.change
    return acted(call.project.action("change_rrset_protection", ("zone", zone.id)))


def zone_actions(call: Call) -> Answer:
    every_action = call.project.actions.all.values()
    return actions_page(call, [row for row in every_action if "zone" in [kind for kind, _ in row.resources]])


SET = "/zones/{id_or_name}/rrsets/{rr_name}/{rr_type}"
ROUTES = [
    Route("GET", "/zones", every),
    Route("POST", "/zones", create),
    Route("GET", "/zones/actions", zone_actions),
    Route("GET", "/zones/actions/{id}", lambda call: one_action(call, call.id, "zone")),
    Route("GET", "/zones/{id_or_name}", one),
    Route("PUT", "/zones/{id_or_name}", replace),
    Route("DELETE", "/zones/{id_or_name}", delete),
    Route(
        "GET",
        "/zones/{id_or_name}/actions",
        lambda call: actions_page(call, call.project.actions.of("zone", find(call).id)),
    ),
    Route(
        "GET",
        "/zones/{id_or_name}/actions/{action_id}",
        lambda call: one_action(call, int(call.args["action_id"]), "zone"),
    ),
    Route("POST", "/zones/{id_or_name}/actions/change_protection", change_protection),
    Route("POST", "/zones/{id_or_name}/actions/change_ttl", change_zone_ttl),
    Route("GET", "/zones/{id_or_name}/rrsets", every_set),
    Route("POST", "/zones/{id_or_name}/rrsets", create_set),
    Route("GET", SET, one_set),
    Route("PUT", SET, replace_set),
    Route("DELETE", SET, delete_set),
    Route("POST", f"{SET}/actions/set_records", set_records),
    Route("POST", f"{SET}/actions/add_records", add_records),
    Route("POST", f"{SET}/actions/remove_records", remove_records),
    Route("POST", f"{SET}/actions/update_records", update_records),
    Route("POST", f"{SET}/actions/change_ttl", change_ttl),
    Route("POST", f"{SET}/actions/change_protection", protect_set),
]
