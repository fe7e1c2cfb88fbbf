"""The disk of a machine that somebody has: taken when it is empty, kept when it is ours, left alone otherwise."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator

import pytest

from binder_node.errors import StepError
from binder_node.events import Event, silent
from binder_node.host.devices import UNMADE
from binder_node.host.disk import uuid_of
from binder_node.host.stage import HostStage
from binder_node.secrets.model import Secrets
from tests.integration.found_machine import (
    STATE,
    FoundMachine,
    found_machine,
    keyed,
    let_in,
    node_of,
    planned,
    stage_of,
)
from tests.integration.providers_fixtures import names
from tests.integration.stages import up

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount and make networks"),
]

NAME, NETWORK = names("dsk")
GB = 10**9


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FoundMachine]:
    with found_machine(tmp_path_factory.mktemp("found"), NAME, NETWORK) as made:
        yield made


@pytest.fixture
def at_home(found: FoundMachine) -> tuple[FoundMachine, Secrets]:
    """The machine with a node's key let in."""
    return found, let_in(found)


def with_disk(found: FoundMachine, secrets: Secrets, said: str, erase: str = "", disk: str = "5G") -> HostStage:
    node = node_of(found, secrets, erase, provider=keyed(found), machine=f", data_disk: {said}", disk=disk)
    return stage_of(node, "login", "disk", "state")


def test_a_disk_with_data_is_refused_and_untouched(at_home: tuple[FoundMachine, Secrets]) -> None:
    found, secrets = at_home
    name = found.new_disk("full", 5 * GB)
    image = found.folder / "full.img"
    subprocess.run(["mkfs.ext4", "-q", "-L", "thesis", found.disks["full"]], check=True)
    found.plug("full")

    def written() -> tuple[int, int]:
        """Every write to the loop device shows in its file."""
        subprocess.run(["blockdev", "--flushbufs", found.disks["full"]], check=True)
        subprocess.run(["sync", str(image)], check=True)
        return image.stat().st_mtime_ns, image.stat().st_blocks

    before = written()
    with pytest.raises(StepError, match=r"is not empty: it has ext4 'thesis'") as caught:
        up(with_disk(found, secrets, name))
    assert f"--erase-disk {name}" in caught.value.remedy
    with pytest.raises(StepError, match="no disk is empty"):
        up(with_disk(found, secrets, "auto"))
    with pytest.raises(StepError, match=r"scsi-0none is not there; there are: .*scsi-0full"):
        up(with_disk(found, secrets, "/dev/disk/by-id/scsi-0none"))
    with pytest.raises(StepError, match=r"it has 5\.0 GB, machine.disk says 50G"):
        up(with_disk(found, secrets, name, name, disk="50G"))
    assert written() == before
    assert found.inside(f"test -e {STATE} || echo none").strip() == "none"


def test_a_disk_that_changes_after_it_was_looked_at_is_left_alone(at_home: tuple[FoundMachine, Secrets]) -> None:
    """Somebody else is quicker: what was empty when it was judged is not when it would be formatted."""
    found, secrets = at_home
    name = found.new_disk("late", 5 * GB)
    found.plug("late")
    stage = with_disk(found, secrets, name)
    seen = stage.inspect(silent)
    subprocess.run(["mkfs.ext4", "-q", "-L", "late", found.disks["late"]], check=True)
    with pytest.raises(StepError, match="has changed since it was looked at"):
        stage.apply(seen, silent)
    shown = subprocess.run(["blkid", "-p", found.disks["late"]], check=True, capture_output=True, text=True).stdout
    assert 'LABEL="late"' in shown


def test_an_empty_disk_becomes_the_state_folder_and_stays_it(at_home: tuple[FoundMachine, Secrets]) -> None:
    found, secrets = at_home
    name = found.new_disk("data", 5 * GB)
    found.plug("data")
    loop = found.disks["data"]

    def stage() -> HostStage:
        return with_disk(found, secrets, name)

    assert f"create disk: XFS on {name}, {loop} (5.0 GB): it is empty" in planned(stage())
    # Killed between mkfs and its end: the label says so, and it is made again.
    subprocess.run(["mkfs.xfs", "-q", "-m", f"uuid={uuid_of(NAME)}", "-L", UNMADE, loop], check=True)
    lines = [f"{change.action} {change.what}" for change in up(stage())]
    assert f"create disk: XFS on {name}, {loop} (5.0 GB): its formatting was cut off" in lines
    mounted = json.loads(found.inside(f"findmnt --json {STATE}"))["filesystems"][0]
    assert (mounted["source"], mounted["fstype"]) == (loop, "xfs")
    assert found.inside(f"stat -c '%a %U' {STATE} && ls {STATE}").split()[:2] == ["711", "root"]
    assert "/rancher" in found.inside("findmnt -n -o SOURCE /var/lib/rancher")
    assert up(stage()) == []

    # What sizes are compared with is this filesystem, not the root's.
    assert abs(stage().inspect(silent).machine["disk"] - 5 * GB) < 0.1 * GB

    # Killed between mkfs and mount: it is mounted, and nothing on it is lost.
    found.inside(f"echo kept > {STATE}/hub/kept; umount /var/lib/rancher /var/lib/kubelet {STATE}")
    actions = [change.what for change in up(stage())]
    assert f"disk: mount of {name}, {loop} (5.0 GB) at {STATE}" in actions
    assert not any("XFS on" in what for what in actions)
    assert found.inside(f"cat {STATE}/hub/kept") == "kept\n"
    assert up(stage()) == []

    # The inventory forgets it: nothing is unmounted, nothing is made beside it.
    with pytest.raises(StepError, match="the inventory no longer names one"):
        up(stage_of(node_of(found, secrets, provider=keyed(found)), "login", "state"))

    # A boot without the disk holds nobody up, and the disk is mounted when it comes.
    began = time.monotonic()
    found.reboot()
    assert time.monotonic() - began < 20
    assert found.inside(f"mountpoint -q {STATE} || echo none").strip() == "none"
    found.plug("data")
    deadline = time.monotonic() + 20
    while found.inside("mountpoint -q /var/lib/rancher || echo none").strip():
        assert time.monotonic() < deadline, found.inside("systemctl list-jobs; systemctl --failed; journalctl -n 30")
        time.sleep(0.2)
    assert found.inside(f"cat {STATE}/hub/kept") == "kept\n"
    assert up(stage()) == []


def test_data_goes_when_its_disk_is_named_twice(at_home: tuple[FoundMachine, Secrets]) -> None:
    """After the test above: its disk is taken away first, as one would for a new node."""
    found, secrets = at_home
    mounted = found.inside(f"findmnt -n -o SOURCE {STATE} || true").strip()
    if mounted:
        found.inside(f"umount /var/lib/rancher /var/lib/kubelet {STATE}")
        subprocess.run(["wipefs", "-q", "-a", mounted], check=True)
    name = found.new_disk("old", 5 * GB)
    subprocess.run(["mkfs.ext4", "-q", "-L", "thesis", found.disks["old"]], check=True)
    found.plug("old")
    assert f"delete disk: all that is on {name}" in "\n".join(planned(with_disk(found, secrets, name, name)))
    lines = [f"{change.action} {change.what}" for change in up(with_disk(found, secrets, name, name))]
    assert f"delete disk: all that is on {name}, {found.disks['old']} (5.0 GB): it has ext4 'thesis'" in lines
    assert up(with_disk(found, secrets, name)) == []

    # The same command out of a shell's history: what the node keeps by now is not lost.
    told: list[Event] = []
    again = with_disk(found, secrets, name, name)
    assert again.changes(again.inspect(told.append)) == []
    assert [event.message for event in told if event.kind == "warn" and "erase" in event.message] == [
        f"--erase-disk {name}: it is this node's already; nothing is erased"
    ]
