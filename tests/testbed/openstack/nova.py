"""Nova v2.1: flavors, limits, servers and their actions. https://docs.openstack.org/api-ref/compute/"""

from __future__ import annotations

import base64
import binascii
import re

from tests.testbed.openstack import power
from tests.testbed.openstack.api import Answer, ApiError, Call, Json, Routes, page
from tests.testbed.openstack.state import PROJECT, USER, Region, Row, new_id, now

ROUTES = Routes("compute")
NEWEST = (2, 90)
# nova/api/validation/parameter_types.py: metadata; 64 KiB of user-data in base64.
METADATA_KEY = re.compile(r"[a-zA-Z0-9-_:. ]{1,255}")
MOST_USER_DATA = 65535
CREATE_KEYS = {
    "name", "flavorRef", "imageRef", "networks", "metadata", "config_drive", "user_data", "block_device_mapping_v2",
    "availability_zone", "security_groups", "min_count", "max_count", "key_name", "description",
}  # fmt: skip


def document(call: Call) -> Json:
    links = [{"rel": "self", "href": f"{call.state.url}/compute/{call.region.name}/v2.1/"}]
    newest = "{}.{}".format(*NEWEST)
    return {
        "id": "v2.1",
        "status": "CURRENT",
        "version": newest,
        "min_version": "2.1",
        "updated": now(),
        "links": links,
    }


@ROUTES.on("GET", "")
def versions(call: Call) -> Answer:
    return Answer(200, {"versions": [document(call)]})


@ROUTES.on("GET", "/v2.1")
def version(call: Call) -> Answer:
    return Answer(200, {"version": document(call)})


@ROUTES.on("GET", "/v2.1/flavors/detail")
@ROUTES.on("GET", "/v2.1/flavors")
def flavors(call: Call) -> Answer:
    return page(call, "flavors", call.region.flavors.values())


@ROUTES.on("GET", "/v2.1/flavors/{id}")
def one_flavor(call: Call) -> Answer:
    return Answer(200, {"flavor": call.row("flavors")})


@ROUTES.on("GET", "/v2.1/flavors/{id}/os-extra_specs")
def extra_specs(call: Call) -> Answer:
    call.row("flavors")
    return Answer(200, {"extra_specs": {}})


def used(region: Region) -> dict[str, int]:
    """What the project's servers take of the quota."""
    rows = [region.flavors[row["flavor"]] for row in region.servers.values()]
    return {"instances": len(rows), "cores": sum(row["vcpus"] for row in rows), "ram": sum(row["ram"] for row in rows)}


@ROUTES.on("GET", "/v2.1/limits")
def limits(call: Call) -> Answer:
    quota, taken = call.region.quota, used(call.region)
    absolute = {
        "maxTotalInstances": quota["instances"], "totalInstancesUsed": taken["instances"],
        "maxTotalCores": quota["cores"], "totalCoresUsed": taken["cores"],
        "maxTotalRAMSize": quota["ram"], "totalRAMUsed": taken["ram"], "maxServerMeta": 128,
    }  # fmt: skip
    return Answer(200, {"limits": {"rate": [], "absolute": absolute}})


def shown(call: Call, row: Row) -> Json:
    """A server as the asked microversion tells it."""
    region, flavor = call.region, call.region.flavors[row["flavor"]]
    addresses: dict[str, list[Json]] = {}
    for port in region.ports.values():
        if port["device_id"] == row["id"]:
            name = region.networks[port["network_id"]]["name"]
            for fixed in port["fixed_ips"]:
                addresses.setdefault(name, []).append(
                    {"addr": fixed["ip_address"], "version": 4, "OS-EXT-IPS:type": "fixed",
                     "OS-EXT-IPS-MAC:mac_addr": port["mac_address"]}
                )  # fmt: skip
            for ip in region.ips.values():
                if ip["port_id"] == port["id"]:
                    addresses.setdefault(name, []).append(
                        {"addr": ip["floating_ip_address"], "version": 4, "OS-EXT-IPS:type": "floating",
                         "OS-EXT-IPS-MAC:mac_addr": port["mac_address"]}
                    )  # fmt: skip
    body: Json = {
        "id": row["id"], "name": row["name"], "status": row["status"], "tenant_id": PROJECT, "user_id": USER,
        "metadata": row["metadata"], "hostId": "", "image": {"id": row["image"]}, "addresses": addresses,
        "created": row["created"], "updated": now(), "accessIPv4": "", "accessIPv6": "", "config_drive": "True",
        "OS-DCF:diskConfig": "MANUAL", "key_name": None, "links": [], "security_groups": [{"name": "default"}],
        "OS-EXT-STS:task_state": row["task"], "OS-EXT-STS:vm_state": row["status"].lower(),
        "OS-EXT-STS:power_state": 1 if row["status"] == "ACTIVE" else 0, "OS-EXT-AZ:availability_zone": "nova",
        "OS-SRV-USG:launched_at": None, "OS-SRV-USG:terminated_at": None, "progress": 0,
        "os-extended-volumes:volumes_attached": [
            {"id": volume["id"]} for volume in region.volumes.values() if volume["server"] == row["id"]
        ],
    }  # fmt: skip
    if row["fault"]:
        body["fault"] = {"code": 500, "message": row["fault"], "created": now()}
    if call.version >= (2, 9):
        body["locked"] = row["locked"]
    if call.version >= (2, 19):
        body["description"] = None
    if call.version >= (2, 26):
        body["tags"] = []
    body["flavor"] = {"id": flavor["id"], "links": []}
    if call.version >= (2, 47):
        body["flavor"] = {
            "original_name": flavor["name"], "vcpus": flavor["vcpus"], "ram": flavor["ram"], "disk": flavor["disk"],
            "ephemeral": 0, "swap": 0, "extra_specs": {},
        }  # fmt: skip
    return body


@ROUTES.on("GET", "/v2.1/servers/detail")
@ROUTES.on("GET", "/v2.1/servers")
def servers(call: Call) -> Answer:
    rows = sorted(call.region.servers.values(), key=lambda row: (row["created"], row["id"]), reverse=True)
    if "name" in call.query:
        rows = [row for row in rows if re.search(call.query["name"], row["name"])]
    return page(call, "servers", [shown(call, row) for row in rows], "status")


@ROUTES.on("GET", "/v2.1/servers/{id}")
def one_server(call: Call) -> Answer:
    return Answer(200, {"server": shown(call, call.row("servers"))})


@ROUTES.on("POST", "/v2.1/servers")
def create(call: Call) -> Answer:
    given, region = call.part("server"), call.region
    if unknown := set(given) - CREATE_KEYS:
        raise ApiError(400, f"Additional properties are not allowed ({', '.join(sorted(unknown))} was unexpected)")
    flavor, image = region.flavors.get(str(given.get("flavorRef"))), given.get("imageRef", "")
    if flavor is None or flavor["OS-FLV-DISABLED:disabled"]:
        raise ApiError(400, f"Flavor {given.get('flavorRef')} could not be found.")
    if image not in region.images:
        raise ApiError(400, f"Image {image} could not be found.")
    metadata = _metadata(given.get("metadata", {}))
    user_data = _user_data(given.get("user_data", ""))
    ports = [_port(region, one) for one in given.get("networks", [])]
    volumes = [region.volumes[id_] for id_ in _volumes(region, given.get("block_device_mapping_v2"), image)]
    _quota(region, flavor)
    row: Row = {
        "id": new_id(), "name": given["name"], "status": "BUILD", "task": "scheduling", "fault": "", "locked": False,
        "flavor": flavor["id"], "image": image, "metadata": metadata, "created": now(), "user_data": user_data,
    }  # fmt: skip
    region.servers[row["id"]] = row
    for port in ports:
        port["device_id"], port["device_owner"], port["status"] = row["id"], "compute:nova", "ACTIVE"
    for volume in volumes:
        volume["server"], volume["status"] = row["id"], "attaching"
    power.build(call.state, region, row)
    body = {"id": row["id"], "links": [], "adminPass": "unused", "security_groups": [{"name": "default"}]}
    return Answer(202, {"server": {**body, "OS-DCF:diskConfig": "MANUAL"}})


def _metadata(given: Json) -> dict[str, str]:
    for key, value in given.items():
        if not METADATA_KEY.fullmatch(key) or not isinstance(value, str) or len(value) > 255:
            raise ApiError(400, f"Invalid input for field/attribute metadata. Value: {given}. {key} does not match")
    return dict(given)


def _user_data(text: str) -> str:
    """Real Nova refuses what is no base64, and the SDK encodes nothing."""
    if len(text) > MOST_USER_DATA:
        raise ApiError(400, f"Invalid input for field/attribute user_data. Value: ... is too long ({len(text)})")
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ApiError(400, "Userdata content cannot be decoded as base64") from error


def _port(region: Region, one: Json) -> Row:
    port = region.ports.get(str(one.get("port")))
    if port is None:
        raise ApiError(400, f"Port id {one.get('port')} could not be found.")
    if port["device_id"]:
        raise ApiError(409, f"Port {port['id']} is still in use.")
    return port


def _volumes(region: Region, mapping: list[Json] | None, image: str) -> list[str]:
    """The volumes of a block device mapping; where there is one, it must say the image too, as the boot disk."""
    if mapping is None:
        return []
    roots = [one for one in mapping if one.get("boot_index") == 0]
    if [(one.get("source_type"), one.get("uuid")) for one in roots] != [("image", image)]:
        reason = "Boot sequence for the instance and image/block device mapping combination is not valid."
        raise ApiError(400, f"Block Device Mapping is Invalid: {reason}")
    ids = [str(one["uuid"]) for one in mapping if one.get("source_type") == "volume"]
    for id_ in ids:
        volume = region.volumes.get(id_)
        if volume is None or volume["status"] != "available":
            raise ApiError(400, f"Block Device Mapping is Invalid: failed to get volume {id_}.")
    return ids


def _quota(region: Region, flavor: Row) -> None:
    wanted = {"instances": 1, "cores": flavor["vcpus"], "ram": flavor["ram"]}
    taken = used(region)
    for what, count in wanted.items():
        if taken[what] + count > region.quota[what]:
            said = f"Requested {count}, but already used {taken[what]} of {region.quota[what]} {what}"
            raise ApiError(403, f"Quota exceeded for {what}: {said}")


@ROUTES.on("DELETE", "/v2.1/servers/{id}")
def delete(call: Call) -> Answer:
    row = call.row("servers")
    if row["locked"]:
        raise ApiError(409, f"Instance {row['id']} is locked")
    if row["task"] != "deleting":
        row["task"] = "deleting"
        power.remove(call.state, call.region, row)
    return Answer(204)


@ROUTES.on("POST", "/v2.1/servers/{id}/metadata")
def metadata(call: Call) -> Answer:
    row = call.row("servers")
    row["metadata"].update(_metadata(call.part("metadata")))
    return Answer(200, {"metadata": row["metadata"]})


@ROUTES.on("POST", "/v2.1/servers/{id}/action")
def action(call: Call) -> Answer:
    row, state = call.row("servers"), call.state
    (name,) = call.body
    if name == "lock":
        row["locked"] = True
    elif name == "unlock":
        row["locked"] = False
    elif name == "os-getConsoleOutput":
        return Answer(200, {"output": f"[    0.0] Linux\n{row['name']} login: "})
    elif name in ("os-start", "os-stop", "reboot"):
        wanted = "SHUTOFF" if name == "os-start" else "ACTIVE"
        if row["status"] != wanted or row["task"]:
            verb = {"os-start": "start", "os-stop": "stop"}.get(name, name)
            raise ApiError(409, f"Cannot '{verb}' instance {row['id']} while it is in vm_state {row['status'].lower()}")
        power.switch(state, call.region, row, name)
    else:
        raise ApiError(400, f"There is no such action: {name}")
    return Answer(202)


@ROUTES.on("GET", "/v2.1/servers/{id}/os-volume_attachments")
def attachments(call: Call) -> Answer:
    row = call.row("servers")
    found = [
        {"id": volume["id"], "volumeId": volume["id"], "serverId": row["id"], "device": "/dev/sdb"}
        for volume in call.region.volumes.values()
        if volume["server"] == row["id"]
    ]
    return Answer(200, {"volumeAttachments": found})


@ROUTES.on("POST", "/v2.1/servers/{id}/os-volume_attachments")
def attach(call: Call) -> Answer:
    row, given = call.row("servers"), call.part("volumeAttachment")
    volume = call.region.volumes.get(str(given.get("volumeId")))
    if volume is None:
        raise ApiError(404, f"Volume {given.get('volumeId')} could not be found.")
    if volume["status"] != "available":
        said = f"volume '{volume['id']}' status must be 'available'. Currently in '{volume['status']}'"
        raise ApiError(400, f"Invalid input received: Invalid volume: {said} status.")
    if row["status"] not in ("ACTIVE", "SHUTOFF") or row["task"]:
        raise ApiError(409, f"Cannot 'attach_volume' instance {row['id']} while it is in task_state {row['task']}")
    volume["server"], volume["status"] = row["id"], "attaching"
    power.attach(call.state, row, volume)
    body = {"id": volume["id"], "volumeId": volume["id"], "serverId": row["id"], "device": "/dev/sdb"}
    return Answer(200, {"volumeAttachment": body})


@ROUTES.on("GET", "/v2.1/servers/{id}/os-interface")
def interfaces(call: Call) -> Answer:
    row = call.row("servers")
    found = [
        {"port_id": port["id"], "net_id": port["network_id"], "fixed_ips": port["fixed_ips"],
         "mac_addr": port["mac_address"], "port_state": "ACTIVE"}
        for port in call.region.ports.values()
        if port["device_id"] == row["id"]
    ]  # fmt: skip
    return Answer(200, {"interfaceAttachments": found})
