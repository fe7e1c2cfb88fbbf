"""Servers of the stand-in that are real machines: reached strictly by the key of their user-data, and gone after."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from hcloud.images import Image
from hcloud.locations import Location
from hcloud.server_types import ServerType
from hcloud.volumes import Volume

from binder_node import remote
from binder_node.errors import StepError
from binder_node.node import Access
from binder_node.providers.userdata import user_data
from binder_node.secrets.generate import generate
from binder_node.secrets.model import Secrets
from tests.integration.hetzner_judge import client_of, judged
from tests.integration.providers_fixtures import names
from tests.testbed.hetzner.nspawn import NspawnMachines
from tests.testbed.hetzner.server import HetznerApi
from tests.unit.host_samples import sample_spec

_, PREFIX = names("hz")
NETWORK = IPv4Network(f"{PREFIX}.0/24")
WHERE = {"image": Image(name="debian-12"), "server_type": ServerType(name="cx23"), "location": Location(name="fsn1")}

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount and make networks"),
]


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[HetznerApi]:
    folder = tmp_path / "machines"
    with judged(network=NETWORK, machines=NspawnMachines(NETWORK, folder), pace=0.1) as made:
        yield made
    assert traces(folder) == ([], [], [])


def traces(folder: Path) -> tuple[list[str], list[str], list[str]]:
    """Mounts, loop devices and addresses that the machines have."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if str(folder) in line]
    loops = subprocess.run(["losetup", "-n", "-O", "BACK-FILE"], capture_output=True, text=True, check=True).stdout
    shown = json.loads(subprocess.run(["ip", "-j", "address"], capture_output=True, check=True).stdout)
    addresses = [row["local"] for link in shown for row in link["addr_info"] if row["local"].startswith(f"{PREFIX}.")]
    return mounts, [line for line in loops.splitlines() if str(folder) in line], addresses


class Hand:
    """An operator's hand: makes servers, waits for what it began, and logs in strictly."""

    def __init__(self, cloud: HetznerApi, folder: Path) -> None:
        self.client, self.folder, self.secrets = client_of(cloud), folder, generate()

    def wait(self, *actions: Any) -> None:
        for action in actions:
            action.wait_until_finished()

    def data(self, secrets: Secrets, name: str = "bids") -> str:
        return user_data(sample_spec(name=name), secrets)

    def make(self, name: str = "bids", **more: Any) -> Any:
        made = self.client.servers.create(name=name, **{**WHERE, "user_data": self.data(self.secrets, name), **more})
        self.wait(made.action, *made.next_actions)
        return self.client.servers.get_by_id(made.server.id)

    def access(self, server: Any, secrets: Secrets) -> Access:
        where = self.folder / f"{server.name}-{server.id}"
        where.mkdir(exist_ok=True)
        login, known, config = (where / name for name in ("login_key", "known_hosts", "ssh_config"))
        found = Access(server.name, server.public_net.ipv4.ip, 22, "root", login, known, config)
        remote.write_access(found, secrets.login_key.reveal(), secrets.host_key_public)
        return found

    def login(self, server: Any, secrets: Secrets | None = None) -> Access:
        found = self.access(server, secrets or self.secrets)
        remote.wait_for_ssh(found, 60)
        return found


@pytest.fixture
def hand(cloud: HetznerApi, tmp_path: Path) -> Hand:
    return Hand(cloud, tmp_path)


def test_a_server_is_a_host_with_the_key_of_its_user_data(hand: Hand, tmp_path: Path) -> None:
    server = hand.make()
    assert server.status == "running"
    access = hand.login(server)
    assert remote.run(access, "hostname").stdout == "bids\n"
    assert remote.run(access, "systemctl --failed --no-legend").stdout == ""
    remote.run(access, "echo kept > /root/kept")

    hand.wait(server.power_off())
    assert remote.hindrance(access, timeout=2) != ""
    hand.wait(server.power_on())
    access = hand.login(server)
    assert remote.run(access, "cat /root/kept").stdout == "kept\n"

    hand.wait(server.delete())
    assert traces(tmp_path / "machines")[:2] == ([], [])
    assert list((tmp_path / "machines").glob("server-*")) == []


def test_who_answers_with_another_key_is_refused(hand: Hand) -> None:
    """A rebuild without our user-data: the same address, another host."""
    server = hand.make()
    hand.login(server)
    hand.wait(server.rebuild(WHERE["image"], user_data="").action)
    with pytest.raises(StepError, match="key"):
        remote.wait_for_ssh(hand.access(server, hand.secrets), 30)
    other = generate()
    hand.wait(server.rebuild(WHERE["image"], user_data=hand.data(other)).action)
    assert remote.run(hand.login(server, other), "test -e /root/kept || echo gone").stdout == "gone\n"


MOUNT = """
set -e
device={device}
echo "UUID=$(blkid -p -o value -s UUID $device) /srv xfs defaults,nofail,x-systemd.device-timeout=120 0 0" >> /etc/fstab
systemctl daemon-reload
mount /srv
"""


def test_a_volume_is_a_disk_that_outlives_its_server(hand: Hand) -> None:
    made = hand.client.volumes.create(size=10, name="data", location=Location(name="fsn1"), format="xfs")
    hand.wait(made.action)
    volume = made.volume
    server = hand.make(volumes=[Volume(id=volume.id)])
    access = hand.login(server)
    remote.run(access, MOUNT.format(device=volume.linux_device))
    remote.run(access, "echo kept > /srv/kept; sync")
    look = f'[ "$(findmnt -no SOURCE /srv)" = "$(readlink -f {volume.linux_device})" ] && cat /srv/kept'
    assert remote.run(access, look).stdout == "kept\n"

    hand.wait(server.reboot())
    access = hand.login(server)
    assert remote.run(access, look).stdout == "kept\n"  # by /etc/fstab alone
    assert remote.run(access, "systemctl --failed --no-legend").stdout == ""

    hand.wait(volume.resize(20))
    remote.run(access, "xfs_growfs /srv")
    assert int(remote.run(access, "df --output=size -B1 /srv | tail -n 1").stdout) > 19e9

    hand.wait(volume.detach())
    assert remote.run(access, f"test -e {volume.linux_device} || echo gone").stdout == "gone\n"
    hand.wait(server.delete())
    second = hand.make("second")
    hand.wait(volume.attach(second))
    access = hand.login(second)
    remote.run(access, f"mount {volume.linux_device} /mnt")
    assert remote.run(access, "cat /mnt/kept").stdout == "kept\n"


def test_an_image_that_cannot_be_booted_here_fails_its_action(hand: Hand) -> None:
    with pytest.raises(Exception, match="only debian-12"):
        hand.make(image=Image(name="debian-13"))
