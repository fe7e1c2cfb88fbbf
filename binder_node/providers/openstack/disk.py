"""The volume as the machine sees it."""

from __future__ import annotations

import shlex

from binder_node import remote
from binder_node.errors import DeadlineError
from binder_node.node import Access

# A volume is there some seconds after the API says so.
DEVICE_SECONDS = 60


def finder(volume: str) -> str:
    """The shell line that prints the device of a volume. KVM shows a volume's id, whole on virtio-scsi; a virtio-blk
    disk's name has 20 bytes (VIRTIO_BLK_ID_BYTES in linux/virtio_blk.h).

    >>> finder("0a1b2c3d-0a1b-2c3d-4e5f-6a7b8c9d0e1f")
    'ls -d /dev/disk/by-id/*0a1b2c3d-0a1b-2c3d-4* 2>/dev/null | grep -v -e -part | head -n 1'
    """
    return f"ls -d /dev/disk/by-id/*{shlex.quote(volume[:20])}* 2>/dev/null | grep -v -e -part | head -n 1"


def device(access: Access, volume: str, *, wait: bool) -> str:
    """The path of a volume's device below ``/dev/disk/by-id``; empty when it is not there and we do not ``wait``.

    Raises:
        DeadlineError: it did not come.
    """
    find = finder(volume)
    if wait:
        find = f'for second in $(seq {DEVICE_SECONDS}); do [ -n "$({find})" ] && break; sleep 1; done; {find}'
    found = remote.run(access, find, timeout=DEVICE_SECONDS + 30, check=False).stdout.strip()
    if wait and not found:
        remedy = "look at `lsblk` there; the image may name disks otherwise"
        raise DeadlineError(access.name, f"the volume {volume} on the machine", DEVICE_SECONDS, "no such disk", remedy)
    return found
