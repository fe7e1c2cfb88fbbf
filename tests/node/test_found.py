"""A machine that somebody has, from its address to a launched kernel: login ``ubuntu`` with sudo, an extra disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from binder_node import hostkeys
from binder_node.secrets.generate import generate
from tests.integration.found_machine import FoundMachine, found_machine
from tests.node.harness import Home

pytestmark = pytest.mark.node

NAME, NETWORK = "found", "198.18.47"
GB = 10**9
INVENTORY = """\
name: {name}
provider: {{kind: ssh, address: {network}.20, fingerprint: '{fingerprint}', identity: {identity}}}
machine: {{cpus: 2, memory: 12G, disk: 40G, data_disk: {disk}, state: /srv/node}}
ssh: {{user: ubuntu}}
names: {{binder: {name}.test}}
tls: {{mode: none}}
storage: {{kind: node}}
registry:
  mirrors: {{docker.io: ["http://{network}.10:5080"], quay.io: ["http://{network}.10:5080"]}}
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FoundMachine]:
    with found_machine(tmp_path_factory.mktemp("found"), NAME, NETWORK) as made:
        try:
            yield made
        finally:
            made.home.world("down")


@pytest.fixture(scope="module")
def found(machine: FoundMachine) -> Home:
    disk = machine.new_disk("state", 40 * GB)
    machine.plug("state")
    home = Home(machine.folder, NAME, NETWORK)
    home.inventory.parent.mkdir(parents=True)
    text = INVENTORY.format(
        name=NAME,
        network=NETWORK,
        fingerprint=hostkeys.fingerprint(machine.host_key),
        identity=machine.identity,
        disk=disk,
    )
    home.inventory.write_text(text)
    return home


def test_the_plan_tells_of_the_login_and_the_disk(found: Home) -> None:
    planned = json.loads(found.run("plan", "-o", "json").ok().out)
    whats = [change["what"] for stage in planned["stages"] for change in stage["changes"]]
    assert any(what.startswith("lines in ~ubuntu/.ssh/authorized_keys") for what in whats)
    assert any(what.startswith("disk: XFS on /dev/disk/by-id/scsi-0state, /dev/loop") for what in whats)
    assert any(what.endswith("(40.0 GB): it is empty") for what in whats)


def test_a_man_in_the_middle_ends_every_command_at_once(found: Home, machine: FoundMachine) -> None:
    key = machine.local.folders.root / "etc/ssh/ssh_host_ed25519_key"
    kept, other = key.read_text(), generate()
    key.write_text(other.host_key.reveal())
    machine.inside("systemctl restart ssh")
    try:
        for verb in ("plan", "up", "status"):
            began = time.monotonic()
            refused = found.run(verb)
            assert (refused.code, refused.out) == (1, "")
            assert "another host key answers there" in refused.err
            assert hostkeys.fingerprint(other.host_key_public) in refused.err
            assert time.monotonic() - began < 20
    finally:
        key.write_text(kept)
        machine.inside("systemctl restart ssh")


def test_a_disk_with_data_stops_it_before_anything_is_made(found: Home, machine: FoundMachine) -> None:
    subprocess.run(["mkfs.ext4", "-q", "-F", "-L", "thesis", machine.disks["state"]], check=True)
    try:
        for verb in ("plan", "up"):
            refused = found.run(verb)
            assert (refused.code, refused.out) == (1, "")
            assert "is not empty: it has ext4 'thesis'" in refused.err
            assert "--erase-disk /dev/disk/by-id/scsi-0state" in refused.err
        assert machine.inside("ls /etc/binder-node /srv/node 2>/dev/null || true") == ""
        wrong = found.run("up", "--erase-disk", "/dev/disk/by-id/scsi-0other")
        assert wrong.code == 2
        assert "is not machine.data_disk" in wrong.err
        planned = found.run("plan", "--erase-disk", "/dev/disk/by-id/scsi-0state").ok()
        assert "delete disk: all that is on /dev/disk/by-id/scsi-0state" in planned.err
    finally:
        machine.blank("state")


def test_killed_while_its_disk_is_made_the_same_command_goes_on(found: Home) -> None:
    process = found.start("up", "-o", "json")
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if event["message"] == "disk: make and mount it" and event["kind"] == "progress":
            os.kill(process.pid, signal.SIGKILL)
            break
    _, err = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL, err
    planned = json.loads(found.run("plan", "-o", "json").ok().out)
    whats = [change["what"] for stage in planned["stages"] for change in stage["changes"]]
    assert not any("the node's login key" in what for what in whats), "the first login was done"


def test_one_command_makes_it_a_node_and_a_second_changes_nothing(found: Home, machine: FoundMachine) -> None:
    found.up().ok()
    assert found.up().ok().last["data"]["changes"] == 0
    assert machine.inside("findmnt -n -o FSTYPE /srv/node").strip() == "xfs"
    status = json.loads(found.run("status", "-o", "json").ok().out)
    assert all(stage["ok"] for stage in status["stages"].values())


def test_a_launch_ends_in_a_kernel(found: Home, machine: FoundMachine) -> None:
    machine.home.world("up")
    launched = found.launch(f"{found.git}/minimal.git", "--run", "print('found')").ok()
    assert launched.last["data"]["output"] == "found\n"


def test_whatever_asks_the_node_becomes_root_by_itself(found: Home, tmp_path: Path) -> None:
    assert found.ssh("whoami").strip() == "ubuntu"
    for component in ("k3s", "buildkit", "minio", "registry", "firewall", "hub", "proxy", "binder"):
        assert found.run("logs", component, "-n", "5").ok().out.strip(), component
    file = tmp_path / "kubeconfig"
    found.run("kubeconfig", "-f", str(file)).ok()
    assert f"https://{NETWORK}.20:6443" in file.read_text()
    assert json.loads(found.run("probe", "-o", "json").ok().out)["size"] > 0


def test_the_smoke_checks_are_green_by_a_login_with_sudo(found: Home) -> None:
    """And the data disk is looked at."""
    checks = json.loads(found.run("smoke", "-o", "json").ok().out)["checks"]
    assert {entry["outcome"] for entry in checks} <= {"ok", "skipped"}
    assert next(entry["outcome"] for entry in checks if entry["id"] == "machine.data-disk") == "ok"


def test_another_volume_in_the_place_of_its_own_is_seen(found: Home, machine: FoundMachine) -> None:
    """With all its folders on it, and the bind mounts from there: as after a mistake with volumes and a reboot."""
    machine.new_disk("other", 40 * GB)
    machine.plug("other")
    subprocess.run(["mkfs.xfs", "-q", machine.disks["other"]], check=True)
    folders = "rancher kubelet buildkit hub minio"
    machine.inside(
        f"systemctl stop k3s buildkit && mount {machine.disks['other']} /srv/node && "
        f"cd /srv/node && mkdir {folders} && mount --bind rancher /var/lib/rancher && "
        "mount --bind kubelet /var/lib/kubelet"
    )
    try:
        checks = json.loads(found.run("smoke", "-o", "json", "--only", "machine.data-disk").out)["checks"]
    finally:
        machine.inside("umount /var/lib/kubelet /var/lib/rancher /srv/node && systemctl start k3s buildkit")
    assert {entry["id"]: entry["outcome"] for entry in checks} == {
        "machine.ssh": "ok",
        "machine.mounts": "ok",
        "machine.data-disk": "failed",
    }
    assert machine.disks["other"] in checks[-1]["reason"]


@pytest.mark.usefixtures("found")
def test_what_the_node_keeps_is_on_its_disk(machine: FoundMachine) -> None:
    used = int(machine.inside("df --output=used -B1 /srv/node | tail -1"))
    assert used > 1 * GB, "images, buckets and databases are elsewhere"
    options = machine.inside("k3s kubectl get --raw /api/v1/nodes/found/proxy/stats/summary")
    capacity = json.loads(options)["node"]["runtime"]["imageFs"]["capacityBytes"]
    assert abs(capacity - 40 * GB) < 1 * GB, "the kubelet counts another filesystem"
