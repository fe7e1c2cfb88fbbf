"""What happens to servers over time: built, started, stopped and removed, each in a thread of its own."""

from __future__ import annotations

import time

from tests.testbed.hetzner.machines import Wanted
from tests.testbed.openstack.state import NO_HOST, Region, Row, State, gigabytes


def wanted(state: State, region: Region, row: Row) -> Wanted:
    """The machine behind a server, at its public address."""
    ports = [port for port in region.ports.values() if port["device_id"] == row["id"]]
    floating = [
        ip["floating_ip_address"] for ip in region.ips.values() if ip["port_id"] in {one["id"] for one in ports}
    ]
    fixed = [one["ip_address"] for port in ports for one in port["fixed_ips"]]
    return Wanted(
        id=state.number(row["id"]),
        name=row["name"],
        address=next(iter([*floating, *fixed]), ""),
        disk=gigabytes(region.flavors[row["flavor"]]["disk"]),
        image=region.images[row["image"]]["name"].lower().replace(" ", "-"),
        user_data=row["user_data"],
        volumes=tuple(
            (state.number(one["id"]), gigabytes(one["size"]))
            for one in region.volumes.values()
            if one["server"] == row["id"]
        ),
    )


def build(state: State, region: Region, row: Row) -> None:
    """BUILD, then ACTIVE with a machine behind, or ERROR where no host has room or a fault says so."""
    with state.lock:
        fault = state.faults.take_action("server.build")

    def gone() -> bool:
        return row["task"] == "deleting" or row["id"] not in region.servers

    def work() -> None:
        time.sleep(state.build_seconds)
        if fault is not None and fault.kind == "stick":
            return
        failure = fault.message if fault is not None else ""
        with state.lock:
            if gone():
                return
            if region.flavors[row["flavor"]]["name"] in region.sold_out:
                failure = NO_HOST
            if not failure:
                row["task"] = "spawning"
            machine = wanted(state, region, row)
        if not failure:
            try:
                state.machines.start(machine)
            except Exception as error:  # noqa: BLE001  (whatever a machine dies of is the server's fault message)
                failure = str(error)
        with state.lock:
            if gone():  # while it started: whoever deletes may have come before there was a machine
                state.machines.remove(machine.id)
                return
            row["status"], row["task"], row["fault"] = "ERROR" if failure else "ACTIVE", None, failure
            for volume in region.volumes.values():
                if volume["server"] == row["id"]:
                    volume["status"] = "available" if failure else "in-use"
                    volume["server"] = "" if failure else row["id"]
            for port in region.ports.values():
                if failure and port["device_id"] == row["id"]:
                    port["device_id"], port["device_owner"] = "", ""

    state.later(work)


def remove(state: State, region: Region, row: Row) -> None:
    """Gone after a while; what was plugged in is free then."""
    with state.lock:
        fault = state.faults.take_action("server.delete")

    def work() -> None:
        time.sleep(state.delete_seconds)
        if fault is not None and fault.kind == "stick":
            return
        state.machines.remove(state.number(row["id"]))
        with state.lock:
            region.servers.pop(row["id"], None)
            for port in region.ports.values():
                if port["device_id"] == row["id"]:
                    port["device_id"], port["device_owner"], port["status"] = "", "", "DOWN"
            for volume in region.volumes.values():
                if volume["server"] == row["id"]:
                    volume["server"], volume["status"] = "", "available"

    state.later(work)


def switch(state: State, region: Region, row: Row, name: str) -> None:
    row["task"] = {"os-start": "powering-on", "os-stop": "powering-off"}.get(name, "rebooting")
    machine = wanted(state, region, row)

    def work() -> None:
        if name != "os-start":
            state.machines.stop(machine.id, wait_for_it=True)
        if name != "os-stop":
            state.machines.start(machine)
        with state.lock:
            row["status"], row["task"] = "SHUTOFF" if name == "os-stop" else "ACTIVE", None

    state.later(work)


def attach(state: State, row: Row, volume: Row) -> None:
    def work() -> None:
        time.sleep(state.build_seconds)
        state.machines.attach(state.number(row["id"]), state.number(volume["id"]), gigabytes(volume["size"]), None)
        with state.lock:
            if volume["server"] == row["id"]:
                volume["status"] = "in-use"

    state.later(work)
