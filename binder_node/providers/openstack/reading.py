"""From the SDK's objects to ours. Pure; any object with these attributes will do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from binder_node.providers.openstack.things import (
    USED,
    USED_KEY,
    Address,
    Flavor,
    Group,
    Port,
    Quota,
    Rule,
    Server,
    Volume,
    described,
    owner,
)

MIB, GIB = 2**20, 2**30


def server(region: str, one: Any) -> Server:
    found: Mapping[str, str] = one.metadata or {}
    fault = one.fault or {}
    flavor = one.flavor or {}
    return Server(
        region=region,
        id=one.id,
        name=one.name,
        node=owner(found),
        created=one.created_at or "",
        used=found.get(USED_KEY) == USED,
        status=one.status or "",
        task=one.task_state or "",
        fault=" ".join(str(fault.get("message", "")).split()),
        flavor=str(flavor.get("original_name") or flavor.get("id") or ""),
        locked=bool(one.is_locked),
        volumes=tuple(str(volume.get("id") or volume.get("volume_id")) for volume in one.attached_volumes or ()),
    )


def address(region: str, one: Any) -> Address:
    found = described(one.description)
    return Address(
        region=region,
        id=one.id,
        name=one.floating_ip_address or "",
        node=owner(found),
        created=one.created_at or "",
        used=found.get(USED_KEY) == USED,
        address=one.floating_ip_address or "",
        port=one.port_id or "",
    )


def port(region: str, one: Any) -> Port:
    found = described(one.description)
    addresses = [str(fixed["ip_address"]) for fixed in one.fixed_ips or ()]
    return Port(
        region=region,
        id=one.id,
        name=one.name,
        node=owner(found),
        created=one.created_at or "",
        used=found.get(USED_KEY) == USED,
        address=next((text for text in addresses if ":" not in text), ""),
        device=one.device_id or "",
        groups=tuple(one.security_group_ids or ()),
    )


def volume(region: str, one: Any) -> Volume:
    found: Mapping[str, str] = one.metadata or {}
    return Volume(
        region=region,
        id=one.id,
        name=one.name or "",
        node=owner(found),
        created=one.created_at or "",
        used=found.get(USED_KEY) == USED,
        status=one.status or "",
        size=int(one.size or 0),
        server=next((str(where["server_id"]) for where in one.attachments or ()), ""),
    )


def group(region: str, one: Any) -> Group:
    """What a group lets out is Neutron's own default, everything: only what comes in is ours."""
    found = described(one.description)
    rules = [rule for rule in one.security_group_rules or () if rule["direction"] == "ingress"]
    return Group(
        region=region,
        id=one.id,
        name=one.name,
        node=owner(found),
        created=one.created_at or "",
        used=found.get(USED_KEY) == USED,
        rules=tuple((str(rule["id"]), _rule(rule)) for rule in rules),
    )


def _rule(rule: Mapping[str, Any]) -> Rule | None:
    low, high = rule.get("port_range_min"), rule.get("port_range_max")
    kind = (rule.get("protocol"), rule.get("ethertype"), rule.get("remote_group_id"))
    if kind != ("tcp", "IPv4", None) or low is None or low != high:
        return None
    return Rule(int(low), str(rule.get("remote_ip_prefix") or "0.0.0.0/0"))


def flavor(one: Any) -> Flavor:
    return Flavor(
        id=one.id,
        name=one.name,
        cpus=int(one.vcpus),
        memory=int(one.ram) * MIB,
        disk=int(one.disk or 0) * GIB,
        disabled=bool(one.is_disabled),
        dedicated=(one.extra_specs or {}).get("hw:cpu_policy") == "dedicated",
    )


def quota(compute: Any, volumes: Any) -> Quota:
    memory = _left(compute.total_ram, compute.total_ram_used)
    return Quota(
        servers=_left(compute.instances, compute.instances_used),
        cpus=_left(compute.total_cores, compute.total_cores_used),
        memory=None if memory is None else memory * MIB,
        volumes=_left(volumes.max_total_volumes, volumes.total_volumes_used) if volumes is not None else None,
        volume=_left(volumes.max_total_volume_gigabytes, volumes.total_gigabytes_used) if volumes is not None else None,
    )


def _left(most: int | None, used: int | None) -> int | None:
    """A limit of -1 is none."""
    return None if most is None or most < 0 else most - (used or 0)


def named(networks: Iterable[Any], wanted: str) -> str:
    """The id of the network with that name or id; empty where there is none, or none was asked for."""
    return next((str(one.id) for one in networks if wanted and wanted in (one.name, one.id)), "")
