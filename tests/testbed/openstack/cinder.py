"""Cinder v3: volumes and limits. https://docs.openstack.org/api-ref/block-storage/v3/"""

from __future__ import annotations

import time

from tests.testbed.openstack.api import Answer, ApiError, Call, Json, Routes, page
from tests.testbed.openstack.nova import _metadata as checked
from tests.testbed.openstack.state import PROJECT, USER, Row, new_id, now

ROUTES = Routes("volume")
BASE = f"/v3/{PROJECT}"


@ROUTES.on("GET", "")
@ROUTES.on("GET", "/v3")
def versions(call: Call) -> Answer:
    links = [{"rel": "self", "href": f"{call.state.url}/volume/{call.region.name}/v3/"}]
    found = {"id": "v3.0", "status": "CURRENT", "version": "3.70", "min_version": "3.0", "links": links}
    return Answer(200, {"versions": [{**found, "updated": now()}]})


def shown(row: Row) -> Json:
    where = [{"server_id": row["server"], "attachment_id": row["id"], "id": row["id"], "device": "/dev/sdb"}]
    return {key: value for key, value in row.items() if key != "server"} | {
        "attachments": where if row["server"] else [], "links": [], "os-vol-tenant-attr:tenant_id": PROJECT,
    }  # fmt: skip


@ROUTES.on("GET", f"{BASE}/volumes/detail")
@ROUTES.on("GET", f"{BASE}/volumes")
def volumes(call: Call) -> Answer:
    return page(call, "volumes", [shown(row) for row in call.region.volumes.values()], "name", "status")


@ROUTES.on("GET", f"{BASE}/volumes/{{id}}")
def volume(call: Call) -> Answer:
    return Answer(200, {"volume": shown(call.row("volumes"))})


@ROUTES.on("GET", f"{BASE}/limits")
def limits(call: Call) -> Answer:
    quota, rows = call.region.quota, call.region.volumes.values()
    absolute = {
        "maxTotalVolumes": quota["volumes"], "totalVolumesUsed": len(rows),
        "maxTotalVolumeGigabytes": quota["gigabytes"], "totalGigabytesUsed": sum(row["size"] for row in rows),
    }  # fmt: skip
    return Answer(200, {"limits": {"rate": [], "absolute": absolute}})


@ROUTES.on("POST", f"{BASE}/volumes")
def create(call: Call) -> Answer:
    given, region, state = call.part("volume"), call.region, call.state
    taken = sum(row["size"] for row in region.volumes.values())
    if len(region.volumes) >= region.quota["volumes"]:
        said = f"VolumeLimitExceeded: Maximum number of volumes allowed ({region.quota['volumes']}) exceeded."
        raise ApiError(413, said, headers={"Retry-After": "0"})
    if taken + int(given["size"]) > region.quota["gigabytes"]:
        said = "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed gigabytes quota."
        raise ApiError(413, f"{said} Requested {given['size']}G, quota is {region.quota['gigabytes']}G.")
    row: Row = {
        "id": new_id(), "name": given.get("name", ""), "size": int(given["size"]), "status": "creating",
        "metadata": checked(given.get("metadata") or {}), "created_at": now("%Y-%m-%dT%H:%M:%S.000000"), "server": "",
        "volume_type": given.get("volume_type") or "classic", "availability_zone": "nova", "bootable": "false",
        "description": None, "encrypted": False, "multiattach": False, "snapshot_id": None, "source_volid": None,
        "user_id": USER, "replication_status": None, "consistencygroup_id": None, "updated_at": now(),
    }  # fmt: skip
    region.volumes[row["id"]] = row
    fault = state.faults.take_action("volume.create")

    def work() -> None:
        time.sleep(state.build_seconds)
        with state.lock:
            if row["status"] == "creating" and not (fault and fault.kind == "stick"):
                row["status"] = "error" if fault else "available"

    state.later(work)
    return Answer(202, {"volume": shown(row)})


@ROUTES.on("POST", f"{BASE}/volumes/{{id}}/metadata")
def metadata(call: Call) -> Answer:
    row = call.row("volumes")
    row["metadata"].update(checked(call.part("metadata")))
    return Answer(200, {"metadata": row["metadata"]})


@ROUTES.on("DELETE", f"{BASE}/volumes/{{id}}")
def delete(call: Call) -> Answer:
    row, state, region = call.row("volumes"), call.state, call.region
    if row["status"] not in ("available", "error"):
        said = "Volume status must be available or error, and must not be attached."
        raise ApiError(400, f"Invalid volume: {said}")
    row["status"] = "deleting"

    def work() -> None:
        time.sleep(state.delete_seconds)
        state.machines.drop(state.number(row["id"]))
        with state.lock:
            region.volumes.pop(row["id"], None)

    state.later(work)
    return Answer(202)
