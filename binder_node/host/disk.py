"""The data disk: which one it is, whether there is anything on it, and what is to be done. Pure.

A disk is ours when its filesystem has the UUID that follows from the node's name; anything else on it is somebody's.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from binder_node.changes import Action
from binder_node.host.wanted import Component, DataDisk, File, Unit, unit_file
from binder_node.layout import ETC
from binder_node.spec.model import Spec
from binder_node.spec.quantity import shortest

# Of uuid5: this package's own, made once.
NAMESPACE = uuid.UUID("6f0f1f4a-2c0e-4a35-9d0b-0c4e0c2f7a11")
# XFS has 12 bytes for a label (mkfs.xfs(8)). The second is set when mkfs is done: a disk with the first is half made.
UNMADE, MADE = "bn-unmade", "binder-node"
FIND_UNIT, FIND_SCRIPT, LINK = "binder-node-disk.service", str(ETC / "find-disk"), "/run/binder-node/data-disk"
# How long a boot waits for a volume that comes late; systemd's own wait for a device (DefaultTimeoutStartSec).
FIND_SECONDS = 90
# Firmware, partition table and XFS itself keep a part: as in the warning about machine.disk.
SMALLEST = 0.85

AUTO = "auto"
# Not looked at when a disk is looked for: floppies, empty drives, images of cloud-init. As spec/rules.py's least disk.
LEAST = 2 * 10**9
Todo = Literal["nothing", "mount", "format", "refuse"]


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


# --- what was seen -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Device:
    """A block device as ``lsblk`` and ``wipefs`` show it.

    ``number`` is ``MAJOR:MINOR``; ``mounted`` are mount points, ``[SWAP]`` among them; ``below`` are the devices made
    of it (partitions, volumes), all the way down; ``signatures`` are ``(type, uuid, label)``; ``blank``: its first and
    last megabyte hold nothing but zeros; ``there``: it has a node in /dev.
    """

    path: str
    number: str
    kind: str
    size: int
    read_only: bool = False
    model: str = ""
    mounted: tuple[str, ...] = ()
    holders: tuple[str, ...] = ()
    signatures: tuple[tuple[str, str, str], ...] = ()
    blank: bool = True
    there: bool = True
    below: tuple[Device, ...] = ()

    def family(self) -> Iterator[Device]:
        """Itself and all that is made of it."""
        yield self
        for device in self.below:
            yield from device.family()

    @property
    def in_use(self) -> str:
        """Who uses it at this moment, itself or through what is made of it; empty when nobody does."""
        for device in self.family():
            if device.mounted:
                return f"{device.path} is mounted at {device.mounted[0]}"
            if device.holders:
                return f"{device.path} is held by {', '.join(device.holders)}"
        return ""

    @property
    def data(self) -> str:
        """What is on it; empty when there is nothing."""
        if used := self.in_use:
            return used
        if self.below:
            return f"it has {', '.join(f'{device.path} ({device.kind})' for device in self.below)}"
        if self.signatures:
            return "it has " + ", ".join(f"{kind} '{label}'" if label else kind for kind, _, label in self.signatures)
        return "" if self.blank else "its first or last megabyte is not empty, with nothing known in it"

    def has(self, wanted: str) -> bool:
        return any(found == wanted for _, found, _ in self.signatures)


@dataclass(frozen=True, slots=True)
class Disks:
    """``mounted``: number of what is mounted at the state folder, empty for nothing; ``occupied``: names of what lies
    in that folder while nothing is; ``links``: stable names (``/dev/disk/by-id/...``) to device paths."""

    devices: tuple[Device, ...] = ()
    links: dict[str, str] = field(default_factory=dict)
    mounted: str = ""
    source: str = ""
    occupied: tuple[str, ...] = ()

    def every(self) -> Iterator[Device]:
        for device in self.devices:
            yield from device.family()

    def names(self, path: str) -> str:
        """A device by its stable names where it has some, so that a person can say one of them."""
        stable = sorted(name for name, target in self.links.items() if target == path)
        return stable[0] if stable else path


def disks(answer: dict[str, Any]) -> Disks:
    """From what ``on_node/look.py`` answers: ``{"lsblk", "probed", "links", "mounted", "source", "occupied"}``."""
    return Disks(
        devices=tuple(_device(entry, answer["probed"]) for entry in answer["lsblk"].get("blockdevices", [])),
        links=dict(answer["links"]),
        mounted=answer["mounted"],
        source=answer["source"],
        occupied=tuple(answer["occupied"]),
    )


def _device(entry: dict[str, Any], probed: dict[str, dict[str, Any]]) -> Device:
    probe = probed.get(entry["path"])
    found = probe or {"signatures": [], "blank": False, "holders": []}
    below = tuple(_device(child, probed) for child in entry.get("children", []))
    # A holder that lsblk shows as a child is said there.
    made = {device.path.rpartition("/")[2] for device in below}
    return Device(
        path=entry["path"],
        number=entry["maj:min"],
        kind=entry["type"],
        size=int(entry["size"] or 0),
        read_only=entry["ro"] in (True, "1"),
        model=(entry.get("model") or "").strip(),
        mounted=tuple(point for point in entry.get("mountpoints") or [] if point),
        holders=tuple(name for name in found["holders"] if name not in made),
        signatures=tuple(
            (sign["type"], sign.get("uuid") or "", sign.get("label") or "") for sign in found["signatures"]
        ),
        blank=found["blank"],
        there=probe is not None,
        below=below,
    )


# --- the verdict ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done with which device. ``why`` and ``remedy`` are for a person; ``loses``: what goes with it."""

    todo: Todo
    device: Device | None = None
    why: str = ""
    remedy: str = ""
    loses: str = ""


def verdict(wanted: DataDisk, seen: Disks) -> Verdict:
    """The rules, in order: what is mounted stays; ours is mounted; an empty one is made ours; anything else is refused.

    A disk that is in use is never touched. One with data is made ours only where ``wanted.erase`` is its exact id.
    """
    ours = [device for device in seen.every() if device.there and device.has(wanted.uuid)]
    for device in ours:
        if other := _another(wanted, seen, device):
            why = f"this node's filesystem is on {seen.names(device.path)}, machine.data_disk names {other}"
            return _refuse(why, "name the first one: state is not moved from disk to disk")
    if seen.mounted:
        if any(device.number == seen.mounted for device in ours):
            return Verdict("nothing")
        why = f"{seen.source} is mounted at {wanted.where}, and its filesystem is not this node's"
        return _refuse(why, "unmount it there, or name another folder in machine.state")
    if seen.occupied:
        why = f"{wanted.where} is not empty ({', '.join(seen.occupied)}): the disk would hide what lies there"
        return _refuse(why, "move that away first, or name another folder in machine.state")
    if len(ours) > 1:
        why = f"{' and '.join(seen.names(device.path) for device in ours)} both have this node's filesystem"
        return _refuse(why, "detach the one that is a copy")
    made = [device for device in ours if any(label == MADE for _, _, label in device.signatures)]
    if made and made[0].mounted:
        why = f"this node's filesystem is mounted at {made[0].mounted[0]}, machine.state is {wanted.where}"
        return _refuse(why, "put machine.state back: state is not moved from folder to folder")
    if made:
        return Verdict("mount", made[0])
    if ours:  # mkfs was cut: it was found empty, or allowed to go, before that
        return Verdict("format", ours[0], "its formatting was cut off")
    return _auto(wanted, seen) if wanted.said == AUTO else _named(wanted, seen)


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
        name = f"{'' if wanted.said == AUTO else f'{wanted.said}, '}{device.path} ({_size(device)})"
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


def _refuse(why: str, remedy: str) -> Verdict:
    return Verdict("refuse", None, why, remedy)


def _another(wanted: DataDisk, seen: Disks, ours: Device) -> str:
    """The disk that the inventory names, where it is there and is not the one that has our filesystem."""
    path = seen.links.get(wanted.said)
    if path is None or any(device.path == path and ours in device.family() for device in seen.every()):
        return ""
    return wanted.said


def _named(wanted: DataDisk, seen: Disks) -> Verdict:
    path = seen.links.get(wanted.said)
    device = next((device for device in seen.every() if device.path == path and device.there), None)
    if device is None:
        return _refuse(
            f"{wanted.said} is not there; there are: {_listed(seen)}", "attach it, or name one that is there"
        )
    if wrong := _unfit(wanted, device):
        return _refuse(f"{wanted.said} ({device.path}): {wrong}", "name another disk, or correct machine.disk")
    if used := device.in_use:
        return _refuse(f"{wanted.said}: {used}", "a disk in use is never touched: name another, or take it out of use")
    if data := device.data:
        if wanted.erase != wanted.said:
            return _refuse(
                f"{wanted.said} ({device.path}, {_size(device)}) is not empty: {data}",
                f"name an empty disk, or lose all that is on this one with `--erase-disk {wanted.said}`",
            )
        return Verdict("format", device, "it may be erased", loses=data)
    return Verdict("format", device, "it is empty")


def _auto(wanted: DataDisk, seen: Disks) -> Verdict:
    whole = [
        device
        for device in seen.devices
        if device.kind == "disk" and device.there and device.size >= LEAST and not device.path.startswith("/dev/zram")
    ]
    empty = [device for device in whole if not device.data and not device.read_only]
    if not empty:
        about = "; ".join(f"{seen.names(device.path)}: {_taken(device)}" for device in whole) or "there are none"
        return _refuse(f"no disk is empty ({about})", "attach one, or name one by its id in machine.data_disk")
    if len(empty) > 1:
        names = ", ".join(f"{seen.names(device.path)} ({_size(device)})" for device in empty)
        return _refuse(f"{len(empty)} disks are empty: {names}", "name one of them in machine.data_disk")
    (device,) = empty
    if wrong := _unfit(wanted, device):
        name = seen.names(device.path)
        return _refuse(f"the one empty disk, {name}, does not do: {wrong}", "correct machine.disk, or attach another")
    return Verdict("format", device, "it is the one empty disk")


def _taken(device: Device) -> str:
    return device.data or "it is read-only"


def _unfit(wanted: DataDisk, device: Device) -> str:
    if device.read_only:
        return "it is read-only"
    if device.size < SMALLEST * wanted.size:
        return f"it has {_size(device)}, machine.disk says {shortest(wanted.size)}, by which all limits are computed"
    return ""


def _size(device: Device) -> str:
    return f"{device.size / 1e9:.1f} GB"


def _listed(seen: Disks) -> str:
    names = sorted(name for name in seen.links if name.startswith("/dev/disk/by-id/"))
    return ", ".join(names or sorted(device.path for device in seen.devices if device.there)) or "none"
