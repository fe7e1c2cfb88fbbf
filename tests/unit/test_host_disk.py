"""Which disk is taken for the state folder, and that none with anything on it ever is, unless its id was said twice."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, ClassVar

import pytest

from binder_node.host.diff import todo
from binder_node.host.disk import (
    MADE,
    UNMADE,
    Disks,
    Verdict,
    data_disk,
    disk_changes,
    disk_work_of,
    disks,
    mount_unit,
    uuid_of,
    verdict,
)
from binder_node.host.observe import Seen, question
from binder_node.host.on_node.look import EDGE, mounted_at, probe
from binder_node.host.operations import operations
from binder_node.host.wanted import DataDisk
from tests.unit.host_samples import as_made, sample_spec, sample_wanted

UUID = uuid_of("bids-1")
ID, OTHER = "/dev/disk/by-id/scsi-0HC_Volume_1", "/dev/disk/by-id/scsi-0HC_Volume_2"
GB = 10**9


def block(path: str, **more: Any) -> dict[str, Any]:
    """One device as ``lsblk --json --bytes`` prints it."""
    about = {"name": path[5:], "path": path, "maj:min": f"8:{ord(path[-1])}", "type": "disk", "size": 500 * GB}
    return {**about, "ro": False, "model": None, "mountpoints": [None], **more}


ROOT = block(
    "/dev/sda",
    size=40 * GB,
    children=[block("/dev/sda1", type="part", size=40 * GB, mountpoints=["/"])],
)


def answer(*devices: dict[str, Any], probed: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """What ``look`` says of a machine with its root disk and ``devices``, empty unless ``probed`` says otherwise."""
    paths = [entry["path"] for top in (ROOT, *devices) for entry in (top, *top.get("children", []))]
    empty = {path: {"signatures": [], "blank": True, "holders": []} for path in paths}
    system = {"/dev/sda": signed("gpt"), "/dev/sda1": signed("ext4")}
    return {
        "lsblk": {"blockdevices": [ROOT, *devices]},
        "probed": {**empty, **system, **(probed or {})},
        "links": {ID: "/dev/sdb", "/dev/disk/by-id/root": "/dev/sda", "/dev/disk/by-path/pci-1": "/dev/sdb"},
        "mounted": "",
        "source": "",
        "occupied": [],
        **more,
    }


def signed(kind: str, uuid: str | None = None, label: str | None = None, **more: Any) -> dict[str, Any]:
    return {"signatures": [{"type": kind, "uuid": uuid, "label": label}], "blank": False, "holders": [], **more}


def judged(said: str, *devices: dict[str, Any], erase: str = "", size: int = 500 * GB, **more: Any) -> Verdict:
    seen = disks(answer(*devices, **more))
    return verdict(DataDisk(said, "/var/lib/binder-node", UUID, size, erase), seen)


@pytest.mark.parametrize("said", ["auto", ID, "/dev/disk/by-path/pci-1"])
def test_an_empty_disk_is_formatted(said: str) -> None:
    found = judged(said, block("/dev/sdb"))
    assert (found.todo, found.device and found.device.path, found.loses) == ("format", "/dev/sdb", "")


DATA: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({}, signed("ext4", "u", "old"), "it has ext4 'old'"),
    ({}, signed("LVM2_member"), "it has LVM2_member"),
    ({}, signed("linux_raid_member"), "it has linux_raid_member"),
    ({}, signed("gpt"), "it has gpt"),
    ({}, signed("xfs", uuid_of("bids-2"), MADE), "it has xfs 'binder-node'"),  # another node's
    ({}, {"signatures": [], "blank": False, "holders": []}, "its first or last megabyte is not empty"),
    ({"children": [block("/dev/sdb1", type="part")]}, {}, "it has /dev/sdb1 (part)"),
]
USED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"mountpoints": ["/srv"]}, signed("ext4"), "/dev/sdb is mounted at /srv"),
    ({"mountpoints": ["[SWAP]"]}, signed("swap"), "/dev/sdb is mounted at [SWAP]"),
    ({}, signed("linux_raid_member", holders=["md0"]), "/dev/sdb is held by md0"),
    (
        {"children": [block("/dev/sdb1", type="part", mountpoints=["/home"])]},
        signed("dos"),
        "/dev/sdb1 is mounted at /home",
    ),
]


@pytest.mark.parametrize(("more", "probe", "what"), [*DATA, *USED])
def test_a_disk_with_anything_on_it_is_refused_and_said_to_be(
    more: dict[str, Any], probe: dict[str, Any], what: str
) -> None:
    empty = {"signatures": [], "blank": True, "holders": []}
    named = judged(ID, block("/dev/sdb", **more), probed={"/dev/sdb": probe or empty})
    assert named.todo == "refuse"
    assert what in named.why
    assert ID in named.why
    alone = judged("auto", block("/dev/sdb", **more), probed={"/dev/sdb": probe or empty})
    assert alone.todo == "refuse"
    assert what in alone.why


@pytest.mark.parametrize(("more", "probe", "what"), DATA)
def test_data_goes_only_when_its_disk_is_named_a_second_time(
    more: dict[str, Any], probe: dict[str, Any], what: str
) -> None:
    device, probed = block("/dev/sdb", **more), {"/dev/sdb": probe} if probe else {}
    found = judged(ID, device, probed=probed, erase=ID)
    assert found.todo == "format"
    assert what in found.loses
    assert judged(ID, device, probed=probed).remedy.endswith(f"`--erase-disk {ID}`")
    assert judged(ID, device, probed=probed, erase=OTHER).todo == "refuse"
    assert judged("auto", device, probed=probed, erase="auto").todo == "refuse"


@pytest.mark.parametrize(("more", "probe", "what"), USED)
def test_a_disk_in_use_is_never_taken(more: dict[str, Any], probe: dict[str, Any], what: str) -> None:
    found = judged(ID, block("/dev/sdb", **more), probed={"/dev/sdb": probe}, erase=ID)
    assert found.todo == "refuse"
    assert what in found.why
    assert "--erase-disk" not in found.remedy


def test_the_root_disk_is_never_taken() -> None:
    found = judged("/dev/disk/by-id/root", erase="/dev/disk/by-id/root", size=40 * GB)
    assert (found.todo, found.why) == ("refuse", "/dev/disk/by-id/root: /dev/sda1 is mounted at /")


def test_two_empty_disks_are_a_question() -> None:
    found = judged("auto", block("/dev/sdb"), block("/dev/sdc"))
    assert found == Verdict(
        "refuse",
        None,
        f"2 disks are empty: {ID} (500.0 GB), /dev/sdc (500.0 GB)",
        "name one of them in machine.data_disk",
    )


def test_what_is_no_disk_for_a_node_does_not_count() -> None:
    small, floppy = block("/dev/zram0"), block("/dev/fd0", size=4096)
    absent = block("/dev/sdx")
    seen = answer(block("/dev/sdb"), small, floppy, absent, block("/dev/loop3", type="loop"))
    del seen["probed"]["/dev/sdx"]  # no node in /dev: another container's, or not ready yet
    found = verdict(DataDisk("auto", "/v", UUID, 500 * GB), disks(seen))
    assert (found.todo, found.device and found.device.path) == ("format", "/dev/sdb")
    assert judged("auto").why == "no disk is empty (/dev/disk/by-id/root: /dev/sda1 is mounted at /)"


def test_a_disk_that_is_not_there_is_said_with_those_that_are() -> None:
    found = judged(OTHER, block("/dev/sdb"))
    assert found.why == f"{OTHER} is not there; there are: /dev/disk/by-id/root, {ID}"


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"size": 50 * GB}, "it has 50.0 GB, machine.disk says 500G"),
        ({"ro": True}, "it is read-only"),
        ({"ro": "1"}, "it is read-only"),
    ],
)
def test_a_disk_that_does_not_do_is_refused(more: dict[str, Any], what: str) -> None:
    found = judged(ID, block("/dev/sdb", **more))
    assert found.todo == "refuse"
    assert what in found.why
    assert judged("auto", block("/dev/sdb", **more)).todo == "refuse"


class TestOurs:
    made: ClassVar[dict[str, Any]] = {"/dev/sdb": signed("xfs", UUID, MADE)}
    mounted: ClassVar[dict[str, Any]] = {"mounted": "8:98", "source": "/dev/sdb"}

    @pytest.mark.parametrize("said", ["auto", ID])
    def test_made_but_not_mounted_it_is_mounted(self, said: str) -> None:
        found = judged(said, block("/dev/sdb"), probed=self.made)
        assert (found.todo, found.device and found.device.path) == ("mount", "/dev/sdb")

    @pytest.mark.parametrize("said", ["auto", ID])
    def test_mounted_there_is_nothing_to_do(self, said: str) -> None:
        where = block("/dev/sdb", mountpoints=["/var/lib/binder-node"])
        assert judged(said, where, probed=self.made, **self.mounted).todo == "nothing"

    def test_half_made_it_is_made_again(self) -> None:
        found = judged("auto", block("/dev/sdb"), probed={"/dev/sdb": signed("xfs", UUID, UNMADE)})
        assert (found.todo, found.why) == ("format", "its formatting was cut off")

    def test_a_second_empty_disk_does_not_matter(self) -> None:
        assert judged("auto", block("/dev/sdb"), block("/dev/sdc"), probed=self.made).todo == "mount"

    def test_a_copy_is_refused(self) -> None:
        copies = {**self.made, "/dev/sdc": self.made["/dev/sdb"]}
        assert (
            "both have this node's filesystem"
            in judged("auto", block("/dev/sdb"), block("/dev/sdc"), probed=copies).why
        )

    def test_another_disk_in_the_inventory_moves_nothing(self) -> None:
        links = {ID: "/dev/sdb", OTHER: "/dev/sdc"}
        found = judged(OTHER, block("/dev/sdb"), block("/dev/sdc"), probed=self.made, links=links, **self.mounted)
        assert found.why == f"this node's filesystem is on {ID}, machine.data_disk names {OTHER}"

    def test_another_state_folder_in_the_inventory_moves_nothing(self) -> None:
        found = judged("auto", block("/dev/sdb", mountpoints=["/data"]), probed=self.made)
        assert found.why == "this node's filesystem is mounted at /data, machine.state is /var/lib/binder-node"

    def test_a_foreign_mount_at_the_state_folder_is_refused(self) -> None:
        found = judged("auto", block("/dev/sdb"), mounted="8:7", source="/dev/sdz")
        assert found.why == "/dev/sdz is mounted at /var/lib/binder-node, and its filesystem is not this node's"

    def test_what_lies_in_the_state_folder_is_not_hidden(self) -> None:
        for probed in ({}, self.made):
            found = judged("auto", block("/dev/sdb"), probed=probed, occupied=["hub", "rancher"])
            assert found.why.startswith("/var/lib/binder-node is not empty (hub, rancher)")


@pytest.mark.parametrize("path", ["/var/lib/binder-node", "/data", "/mnt/a b/ü.x", "/srv/.hidden/x:y_z//k3s"])
def test_a_mount_units_name_is_systemds(path: str) -> None:
    done = subprocess.run(
        ["systemd-escape", "--path", "--suffix=mount", path], capture_output=True, text=True, check=True
    )
    assert mount_unit(path) == done.stdout.strip()


# --- in the whole --------------------------------------------------------------------------------------------------

SPEC = sample_spec(machine={"data_disk": ID, "disk": "500G"})


def test_without_a_data_disk_nothing_is_asked_or_made() -> None:
    wanted = sample_wanted()
    assert '"disks": false' in question(wanted, "/v")
    assert "disk" not in [component.name for component in wanted.components]
    assert data_disk(sample_spec()) is None


def test_it_is_made_before_anything_is_written_to_it_and_the_plan_says_so() -> None:
    wanted = sample_wanted(SPEC)
    assert '"disks": true' in question(wanted, "/v")
    seen = as_made(wanted)
    seen = Seen(**{**{name: getattr(seen, name) for name in Seen.__slots__}, "disks": answer(block("/dev/sdb"))})
    made = todo(wanted, seen)
    assert [f"{change.action} {change.what}" for change in made.changes] == [
        f"create disk: XFS on {ID}, /dev/sdb (500.0 GB): it is empty",
        f"start disk: mount of {ID}, /dev/sdb (500.0 GB) at /var/lib/binder-node",
    ]
    (operation,) = operations(wanted, made)
    assert operation["name"] == "disk: make and mount it"
    bare = [operation["name"] for operation in operations(wanted, todo(wanted, bare_with_disk()))]
    assert bare.index("disk: make and mount it") == bare.index("state: files") - 1
    assert bare.index("disk: make and mount it") == bare.index("disk: files") + 1


def bare_with_disk() -> Seen:
    return Seen(exists=True, disks=answer(block("/dev/sdb")), missing_packages=["xfsprogs"])


def test_on_a_machine_that_is_not_there_yet_the_plan_says_what_it_will_be() -> None:
    auto = sample_wanted(sample_spec(machine={"data_disk": "auto", "disk": "500G"}))
    lines = [f"{change.action} {change.what}" for change in todo(auto, Seen()).changes]
    assert "create disk: XFS on the one empty disk: it must be empty" in lines


def test_what_is_lost_stands_in_the_plan() -> None:
    wanted = DataDisk(ID, "/v", UUID, 500 * GB, ID)
    work = disk_work_of(wanted, answer(block("/dev/sdb"), probed={"/dev/sdb": signed("ext4", "u", "old")}))
    assert work is not None
    assert [what for action, what in disk_changes(work) if action == "delete"] == [
        f"all that is on {ID}, /dev/sdb (500.0 GB): it has ext4 'old'"
    ]


def test_the_units_are_found_by_those_that_keep_state() -> None:
    wanted = sample_wanted(SPEC)
    (find, mount) = wanted.component("disk").units
    assert mount.name == r"var-lib-binder\x2dnode.mount"
    assert mount.content is not None
    assert "Where=/var/lib/binder-node\n" in mount.content
    assert f"Requires={find.name}\n" in mount.content
    assert "nofail" in mount.content
    rancher = next(unit for unit in wanted.component("state").units if unit.name == "var-lib-rancher.mount")
    assert rancher.content is not None
    assert "RequiresMountsFor=/var/lib/binder-node\n" in rancher.content
    assert "Options=bind,nofail\n" in rancher.content
    (script,) = wanted.component("disk").files
    assert UUID.encode() in script.content


def test_nothing_is_known_of_an_empty_answer() -> None:
    assert Disks().names("/dev/sdb") == "/dev/sdb"


@pytest.mark.parametrize("path", ["/var/lib/binder-node", "/srv/a b", "/srv/ü"])
def test_what_is_mounted_is_read_from_the_kernels_list(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, path: str
) -> None:
    listed = tmp_path / "mountinfo"
    escaped = path.replace(" ", "\\040")
    listed.write_text(
        "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n"
        f"30 22 8:32 / {escaped} rw,noatime shared:7 - xfs /dev/sdc rw\n"
        f"31 22 8:16 / {escaped} rw,noatime shared:8 master:1 - xfs /dev/sdb rw,attr2\n"
    )
    monkeypatch.setattr("builtins.open", lambda *_, opened=open, **more: opened(listed, **more))
    assert mounted_at(path) == ("8:16", "/dev/sdb")
    assert mounted_at("/srv/other") == ("", "")


@pytest.mark.parametrize(("at", "blank"), [(None, True), (0, False), (EDGE - 1, False), (-1, False), (EDGE, True)])
def test_both_ends_of_a_disk_are_looked_at(tmp_path: Path, at: int | None, blank: bool) -> None:
    image = tmp_path / "disk"
    content = bytearray(3 * EDGE)
    if at is not None:
        content[at] = 7
    image.write_bytes(content)
    assert probe(str(image)) == {"signatures": [], "blank": blank, "holders": []}


def test_a_filesystem_is_seen_without_being_mounted(tmp_path: Path) -> None:
    image = tmp_path / "disk"
    image.write_bytes(b"\0" * 8 * EDGE)
    subprocess.run(["mkfs.ext4", "-q", "-L", "thesis", str(image)], check=True)
    (sign,) = probe(str(image))["signatures"]
    assert (sign["type"], sign["label"]) == ("ext4", "thesis")
    assert probe(str(tmp_path / "none"))["blank"] is False
