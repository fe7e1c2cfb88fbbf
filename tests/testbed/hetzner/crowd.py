"""Other people's things: servers and what belongs to them, in the same project, which nobody may touch."""

from __future__ import annotations

import hashlib
from typing import Any

from tests.testbed.hetzner.project import Project
from tests.testbed.hetzner.resources import Firewall, PlacementGroup, RRSet, Server, SshKey, Volume, Zone

LABELS: tuple[dict[str, str], ...] = (
    {},
    {"managed-by": "terraform"},
    {"binder-node/node": "someone-else", "managed-by": "binder-node"},
    {"binder-node/nodes": "demo"},  # a near miss
)


def crowd(project: Project, count: int) -> None:
    """``count`` of each kind, complete and running, with no labels, other tools' and other nodes'."""
    type_ = project.catalogue.types["cx23"]
    project.limits = {name: limit + 2 * count for name, limit in project.limits.items()}
    for at in range(count):
        labels, now = dict(LABELS[at % len(LABELS)]), project.now()
        more: dict[str, Any] = {"labels": labels, "created": now}
        server = Server(
            id=project.new_id(),
            name=f"other-{at}",
            type=type_.name,
            location="fsn1",
            image=project.catalogue.images[0].id,
            disk=type_.disk,
            status="running",
            **more,
        )
        project.servers[server.id] = server
        for kind in ("ipv4", "ipv6"):
            project.new_ip(kind, "fsn1", labels=labels, server=server.id, auto_delete=at % 2 == 0)
        volume = Volume(id=project.new_id(), name=f"other-{at}", size=10, location="fsn1", server=server.id, **more)
        volume.status = "available"
        project.volumes[volume.id] = volume
        wall = Firewall(id=project.new_id(), name=f"other-{at}", servers=[server.id], **more)
        project.firewalls[wall.id] = wall
        group = PlacementGroup(id=project.new_id(), name=f"other-{at}", **more)
        project.placement_groups[group.id] = group
        print_ = hashlib.md5(f"other-{at}".encode(), usedforsecurity=False).hexdigest()
        key = SshKey(
            id=project.new_id(),
            name=f"other-{at}",
            public_key=f"ssh-ed25519 AAAA other-{at}",
            fingerprint=":".join(print_[n : n + 2] for n in range(0, 32, 2)),
            **more,
        )
        project.ssh_keys[key.id] = key
    zone = Zone(id=project.new_id(), name="other.example", labels={}, created=project.now())
    zone.sets["www", "A"] = RRSet("www", "A", None, {}, [{"value": "192.0.2.1", "comment": ""}], project.now())
    soa = {"value": "hydrogen.ns.hetzner.com. dns.hetzner.com. 1 86400 10800 3600000 3600", "comment": ""}
    zone.sets["@", "SOA"] = RRSet("@", "SOA", None, {}, [soa], project.now())
    project.zones.setdefault(zone.id, zone)
