"""Resources as the API shows them. Pure, but for what it looks up in the project."""

from __future__ import annotations

from ipaddress import IPv6Network
from typing import Any

from tests.testbed.hetzner.catalogue import TB, stamp
from tests.testbed.hetzner.project import Project
from tests.testbed.hetzner.resources import (
    Firewall,
    PlacementGroup,
    PrimaryIp,
    Resource,
    RRSet,
    Server,
    SshKey,
    Volume,
    Zone,
)

Json = dict[str, Any]
NAMESERVERS = ("hydrogen.ns.hetzner.com.", "oxygen.ns.hetzner.com.", "helium.ns.hetzner.de.")


def common(row: Resource) -> Json:
    return {"id": row.id, "name": row.name, "labels": row.labels, "created": stamp(row.created)}


def ssh_key(row: SshKey) -> Json:
    return {**common(row), "fingerprint": row.fingerprint, "public_key": row.public_key}


def group(project: Project, row: PlacementGroup) -> Json:
    return {**common(row), "servers": project.members(row.id), "type": row.type}


def primary_ip(project: Project, row: PrimaryIp) -> Json:
    place = project.catalogue.locations[row.location]
    return {
        **common(row),
        "ip": row.ip,
        "type": row.type,
        "assignee_id": row.server,
        "assignee_type": "server",
        "auto_delete": row.auto_delete,
        "blocked": False,
        "location": place.json(),
        "datacenter": project.catalogue.datacenter_json(place),
        "dns_ptr": [{"ip": ip, "dns_ptr": name} for ip, name in pointers(row).items()],
        "protection": {"delete": row.keep},
    }


def pointers(row: PrimaryIp) -> dict[str, str]:
    """Reverse names: an IPv4 address has one from the beginning, an IPv6 network none."""
    if row.type == "ipv6":
        return row.pointers
    dashed = row.ip.replace(".", "-")
    return {row.ip: f"static.{dashed}.clients.your-server.de", **row.pointers}


def public_net(project: Project, row: Server) -> Json:
    v4, v6 = project.ip_of(row.id, "ipv4"), project.ip_of(row.id, "ipv6")
    names = pointers(v4) if v4 else {}
    return {
        "ipv4": v4 and {"id": v4.id, "ip": v4.ip, "blocked": False, "dns_ptr": names[v4.ip]},
        "ipv6": v6
        and {
            "id": v6.id,
            "ip": str(IPv6Network(v6.ip)),
            "blocked": False,
            "dns_ptr": [{"ip": ip, "dns_ptr": name} for ip, name in v6.pointers.items()],
        },
        "floating_ips": [],
        "firewalls": [
            {"id": wall.id, "status": "pending" if row.id in wall.pending else "applied"}
            for wall in project.firewalls_of(row)
        ],
    }


def server(project: Project, row: Server) -> Json:
    catalogue = project.catalogue
    place, type_ = catalogue.locations[row.location], catalogue.types[row.type]
    image = next((image for image in catalogue.images if image.id == row.image), None)
    member = project.placement_groups.get(row.placement_group or 0)
    return {
        **common(row),
        "status": row.status,
        "public_net": public_net(project, row),
        "private_net": [],
        "server_type": catalogue.type_json(type_),
        "location": place.json(),
        "datacenter": catalogue.datacenter_json(place),
        "image": image.json(catalogue.start) if image else None,
        "iso": None,
        "rescue_enabled": False,
        "locked": project.actions.locked("server", row.id),
        "backup_window": None,
        "outgoing_traffic": 0,
        "ingoing_traffic": 0,
        "included_traffic": type_.traffic[row.location] * TB,
        "protection": {"delete": row.keep, "rebuild": row.keep_disk},
        "volumes": [volume.id for volume in project.volumes_of(row.id)],
        "load_balancers": [],
        "primary_disk_size": row.disk,
        "placement_group": group(project, member) if member else None,
    }


def volume(project: Project, row: Volume) -> Json:
    return {
        **common(row),
        "size": row.size,
        "server": row.server,
        "location": project.catalogue.locations[row.location].json(),
        "linux_device": row.device,
        "protection": {"delete": row.keep},
        "status": row.status,
        "format": row.format,
    }


def firewall(project: Project, row: Firewall) -> Json:
    def of_selector(selector: str) -> Json:
        chosen = [{"type": "server", "server": {"id": number}} for number in project.selected_by(selector)]
        return {"type": "label_selector", "label_selector": {"selector": selector}, "applied_to_resources": chosen}

    servers = [{"type": "server", "server": {"id": number}} for number in row.servers]
    return {**common(row), "rules": row.rules, "applied_to": [*servers, *map(of_selector, row.selectors)]}


def zone(row: Zone) -> Json:
    return {
        **common(row),
        "mode": "primary",
        "status": "ok",
        "ttl": row.ttl,
        "protection": {"delete": row.keep},
        "record_count": sum(len(rrset.records) for rrset in row.sets.values()),
        "primary_nameservers": [],
        "registrar": "unknown",
        "authoritative_nameservers": {
            "assigned": list(NAMESERVERS),
            "delegated": [],
            "delegation_last_check": None,
            "delegation_status": "unknown",
        },
    }


def rrset(owner: Zone, row: RRSet) -> Json:
    return {
        "id": f"{row.name}/{row.type}",
        "name": row.name,
        "type": row.type,
        "ttl": row.ttl,
        "labels": row.labels,
        "protection": {"change": row.fixed},
        "records": row.records,
        "zone": owner.id,
    }
