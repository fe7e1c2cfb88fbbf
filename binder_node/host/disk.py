"""The data disk: an extra disk that the state folder is mounted from. Pure; which one it is decides `devices`."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from binder_node.changes import Action
from binder_node.host.devices import AUTO, MADE, UNMADE, Verdict, disks, size_of, verdict
from binder_node.host.wanted import Component, DataDisk, File, Unit, unit_file
from binder_node.layout import ETC
from binder_node.spec.model import Spec

# Of uuid5: this package's own, made once.
NAMESPACE = uuid.UUID("6f0f1f4a-2c0e-4a35-9d0b-0c4e0c2f7a11")
FIND_UNIT, FIND_SCRIPT, LINK = "binder-node-disk.service", str(ETC / "find-disk"), "/run/binder-node/data-disk"
# How long a boot waits for a volume that comes late; systemd's own wait for a device (DefaultTimeoutStartSec).
FIND_SECONDS = 90


def uuid_of(node: str) -> str:
    """The UUID of a node's data disk: known before there is one, so that nothing has to be remembered."""
    return str(uuid.uuid5(NAMESPACE, node))


def data_disk(spec: Spec, erase: str = "") -> DataDisk | None:
    """What is wanted of the machine's data disk; None where the inventory names none.

    ``erase``: the id of the disk whose content may go, as the operator said it for this one run.
    """
    said = spec.machine.data_disk
    if said is None:
        return None
    return DataDisk(said, str(spec.machine.state), uuid_of(spec.name), int(spec.machine.disk), erase)


def disk(spec: Spec, erase: str = "") -> Component:
    """The filesystem's mount at the state folder, by UUID.

    The mount is a unit, so that RequiresMountsFor= of whoever keeps state there finds it. Its source is a link that a
    service of our own makes: systemd's device units know the disk too, but not in a container, and say less when it
    is missing. ``nofail``: without the disk the machine boots, sshd answers, and K3s and its like stay down.
    """
    wanted = data_disk(spec, erase)
    if wanted is None:
        return Component("disk")
    script = FIND.format(uuid=wanted.uuid, link=LINK, folder=LINK.rpartition("/")[0])
    return Component(
        "disk",
        packages=("xfsprogs",),
        files=(File(FIND_SCRIPT, script.encode(), 0o755),),
        # Both are started by `on_node/disk.py`, before anything is written below the mount.
        units=(
            Unit(FIND_UNIT, _find_unit(), enabled=False, running=False),
            Unit(mount_unit(wanted.where), _mount_unit(wanted.where), running=False),
        ),
        disk=wanted,
    )


FIND = """\
#!/bin/sh
# Made by binder-node; changes here are undone by the next `up`.
# Waits for the disk with the node's filesystem, and links it for its mount.
until device=$(blkid -U {uuid}); do sleep 0.5; done
mkdir -p {folder}
ln -sfn "$device" {link}
"""


def _find_unit() -> str:
    return unit_file(
        Unit=[
            ("Description", "Find the data disk (binder-node)"),
            # Early: what is mounted on it must not wait for the whole system, nor the system for it.
            ("DefaultDependencies", "no"),
            ("After", "systemd-udevd.service"),
            ("Conflicts", "shutdown.target"),
            ("Before", "shutdown.target"),
        ],
        Service=[
            ("Type", "oneshot"),
            ("RemainAfterExit", "yes"),
            ("ExecStart", FIND_SCRIPT),
            ("TimeoutStartSec", str(FIND_SECONDS)),
        ],
    )


def _mount_unit(where: str) -> str:
    return unit_file(
        Unit=[
            ("Description", "The data disk (binder-node)"),
            ("Requires", FIND_UNIT),
            ("After", FIND_UNIT),
        ],
        Mount=[("What", LINK), ("Where", where), ("Type", "xfs"), ("Options", "noatime,nofail")],
        Install=[("WantedBy", "multi-user.target")],
    )


def mount_unit(where: str) -> str:
    """The unit's name for a path, as ``systemd-escape --path --suffix=mount``.

    >>> mount_unit("/var/lib/binder-node")
    'var-lib-binder\\\\x2dnode.mount'
    """
    path = "/".join(part for part in where.split("/") if part)

    def escaped(index: int, letter: str) -> str:
        if letter == "/":
            return "-"
        if (letter.isascii() and letter.isalnum()) or letter in "_:" or (letter == "." and index):
            return letter
        return "".join(f"\\x{byte:02x}" for byte in letter.encode())

    return "".join(escaped(index, letter) for index, letter in enumerate(path)) + ".mount"


# --- what is to be done --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DiskWork:
    """What is to be done; ``device`` is None on a machine that does not exist yet."""

    wanted: DataDisk
    verdict: Verdict


def disk_work_of(wanted: DataDisk, answer: dict[str, Any] | None) -> DiskWork | None:
    """None where the disk is as it shall be."""
    found = verdict(wanted, disks(answer)) if answer is not None else Verdict("format", None, "it must be empty")
    return None if found.todo == "nothing" else DiskWork(wanted, found)


def disk_changes(work: DiskWork | None) -> Iterator[tuple[Action, str]]:
    """What a person reads before it is done."""
    if work is None:
        return
    wanted, found = work.wanted, work.verdict
    device = found.device
    name = "the one empty disk" if wanted.said == AUTO else wanted.said
    if device is not None:
        name = f"{'' if wanted.said == AUTO else f'{wanted.said}, '}{device.path} ({size_of(device)})"
    if found.loses:
        yield "delete", f"all that is on {name}: {found.loses}"
    if found.todo == "format":
        yield "create", f"XFS on {name}: {found.why}"
    if found.todo == "refuse":
        yield "run", f"nothing: {found.why}"
    else:
        yield "start", f"mount of {name} at {wanted.where}"


def disk_work(work: DiskWork) -> dict[str, Any]:
    """What ``on_node/disk.py`` is told. It looks again before it formats, and takes nothing but what was seen here."""
    wanted, device = work.wanted, work.verdict.device
    assert device is not None, "a machine that does not exist is not worked on"
    assert work.verdict.todo in ("format", "mount"), work.verdict.why
    return {
        "device": device.path,
        "number": device.number,
        "size": device.size,
        "format": work.verdict.todo == "format",
        "signatures": sorted(kind for kind, _, _ in device.signatures),
        "below": sorted(other.path for other in device.family() if other is not device),
        "uuid": wanted.uuid,
        "labels": [UNMADE, MADE],
        "units": [FIND_UNIT, mount_unit(wanted.where)],
        "where": wanted.where,
    }
