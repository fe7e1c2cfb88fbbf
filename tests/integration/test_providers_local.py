"""A real machine: made, reached strictly, killed at any point, and gone without a trace."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from binder_node import remote
from binder_node.errors import DeadlineError, StepError
from binder_node.events import silent
from binder_node.node import Node
from binder_node.providers.local import machine
from binder_node.providers.local.stage import LocalMachine
from binder_node.secrets.generate import generate
from binder_node.spec.load import load
from tests.integration.provider_conformance import Conformance, Make
from tests.integration.providers_fixtures import names, processes_with
from tests.node.harness import make_home

NAME, NETWORK = names("prov")
BRIDGE = "bn-" + hashlib.sha256(f"{NETWORK}.0/24".encode()).hexdigest()[:8]

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount and make networks"),
]


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalMachine]:
    monkeypatch.setenv("BINDER_NODE_LOCAL_DIR", str(tmp_path / "machines"))
    home = make_home(tmp_path, NAME, NETWORK)
    runtime = tmp_path / "run"
    runtime.mkdir()
    made = LocalMachine(Node(load(home.inventory), generate(), {}, {}, runtime))
    yield made
    made.destroy(silent)


class TestConformance(Conformance):
    @pytest.fixture
    def provider(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
        monkeypatch.setenv("BINDER_NODE_LOCAL_DIR", str(tmp_path / "machines"))
        secrets = generate()

        def make(name: str = NAME) -> LocalMachine:
            home, runtime = tmp_path / f"home-{name}", tmp_path / f"run-{name}"
            inventory = home / "inventories" / f"{name}.yaml"
            if not home.exists():
                runtime.mkdir()
                inventory = make_home(home, name, NETWORK).inventory
            return LocalMachine(Node(load(inventory), secrets, {}, {}, runtime))

        yield make
        make().destroy(silent)


def traces() -> dict[str, object]:
    """All that a machine could leave behind on this computer."""

    def shown(*argv: str) -> str:
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout

    return {
        "mounts": [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if f"/{NAME}/" in line],
        # Only ours: other machines come and go on a computer where work goes on.
        "links": [link for link in json.loads(shown("ip", "-j", "link")) if link["ifname"] in (BRIDGE, f"vb-{NAME}")],
        "addresses": [
            entry["local"]
            for link in json.loads(shown("ip", "-j", "address"))
            for entry in link["addr_info"]
            if entry["local"].startswith(f"{NETWORK}.")
        ],
        "loops": [line for line in shown("losetup", "-l", "-n", "-O", "BACK-FILE").splitlines() if f"/{NAME}/" in line],
        "cgroups": sorted(str(path) for path in Path("/sys/fs/cgroup").glob(f"**/binder-node-local-{NAME}-*")),
    }


NOTHING: dict[str, object] = {"mounts": [], "links": [], "addresses": [], "loops": [], "cgroups": []}


def test_made_strict_from_the_first_connection_and_gone_without_a_trace(provider: LocalMachine) -> None:
    assert traces() == NOTHING
    provider.apply(provider.inspect(silent), silent)
    seen = provider.inspect(silent)
    assert provider.changes(seen) == []
    assert all(traces().values())  # that it would see what it looks for
    access = provider.access(seen)
    assert access is not None
    assert remote.run(access, "hostname").stdout == f"{NAME}\n"
    assert remote.run(access, "systemctl --failed --no-legend").stdout == ""
    assert access.known_hosts.read_text() == f"{NAME},{NETWORK}.20 {provider.node.secrets.host_key_public.strip()}\n"

    provider.destroy(silent)
    assert traces() == NOTHING
    assert processes_with(f"--machine={NAME}") == []
    assert not provider.folders.base.exists()
    assert list(provider.node.runtime.iterdir()) == []
    provider.destroy(silent)  # twice is no error


def test_a_machine_that_was_killed_is_started_again_with_what_it_had(provider: LocalMachine) -> None:
    provider.apply(provider.inspect(silent), silent)
    access = provider.access(provider.inspect(silent))
    assert access is not None
    remote.run(access, "echo kept > /root/mark && echo kept > /var/lib/binder-node/mark && sync")
    for pid in machine.processes(provider.folders):
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while machine.processes(provider.folders):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    seen = provider.inspect(silent)
    assert [change.action for change in provider.changes(seen)] == ["start"]
    provider.apply(seen, silent)
    assert remote.run(access, "cat /root/mark /var/lib/binder-node/mark").stdout == "kept\nkept\n"


def test_another_host_key_at_the_address_is_refused_and_said(provider: LocalMachine) -> None:
    provider.apply(provider.inspect(silent), silent)
    access = provider.access(provider.inspect(silent))
    assert access is not None
    remote.run(
        access, "rm /etc/ssh/ssh_host_ed25519_key* && ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key"
    )
    remote.run(access, "systemctl restart ssh")
    remote.disconnect(access)
    with pytest.raises(StepError, match="another host key answers there") as caught:
        provider.inspect(silent)
    assert "nothing was sent" in caught.value.remedy


MAKE = """
import sys
from pathlib import Path
from binder_node.events import silent
from binder_node.node import Node
from binder_node.providers.local.stage import LocalMachine
from binder_node.secrets.generate import generate
from binder_node.spec.load import load
made = LocalMachine(Node(load(Path(sys.argv[1])), generate(), {}, {}, Path(sys.argv[2])))
print("go", flush=True)
made.apply(made.inspect(silent), silent)
"""


@pytest.mark.parametrize("after", [0.05, 0.15, 0.3, 0.5])
def test_a_maker_killed_at_any_point_leaves_what_the_next_one_goes_on_from(
    provider: LocalMachine, tmp_path: Path, after: float
) -> None:
    provider_inventory = tmp_path / f"inventories/{NAME}.yaml"
    maker = subprocess.Popen(
        [sys.executable, "-c", MAKE, str(provider_inventory), str(provider.node.runtime)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert maker.stdout is not None
    maker.stdout.readline()
    time.sleep(after)
    maker.kill()
    maker.communicate()
    # Its keys were of that process: this one's secrets are others, as after a restore from nothing.
    provider.destroy(silent)
    assert traces() == NOTHING
    provider.apply(provider.inspect(silent), silent)
    assert provider.changes(provider.inspect(silent)) == []


def test_the_state_folder_can_be_a_small_disk_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BINDER_NODE_LOCAL_DIR", str(tmp_path / "machines"))
    home = make_home(tmp_path, NAME, NETWORK, disk="3G", provider="  disk_image: 3G")
    runtime = tmp_path / "run"
    runtime.mkdir()
    made = LocalMachine(Node(load(home.inventory), generate(), {}, {}, runtime))
    try:
        made.apply(made.inspect(silent), silent)
        access = made.access(made.inspect(silent))
        assert access is not None
        fields = remote.run(access, "df -B1 --output=size,fstype /var/lib/binder-node | tail -1").stdout.split()
        assert fields[1] == "xfs"
        assert 2.8e9 < int(fields[0]) <= 3e9
    finally:
        made.destroy(silent)
    assert traces() == NOTHING


def test_what_keeps_a_machine_from_starting_is_said_at_once(
    provider: LocalMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "nspawn_argv", lambda *_: ["sh", "-c", "echo no such root >&2; exit 1"])
    began = time.monotonic()
    with pytest.raises(StepError, match="boot the machine: no such root") as caught:
        provider.apply(provider.inspect(silent), silent)
    assert not isinstance(caught.value, DeadlineError)
    assert time.monotonic() - began < 10


def test_a_network_that_another_interface_has_is_refused(provider: LocalMachine) -> None:
    subprocess.run(["ip", "link", "add", f"{NAME}x", "type", "bridge"], check=True)
    try:
        subprocess.run(["ip", "address", "add", f"{NETWORK}.200/28", "dev", f"{NAME}x"], check=True)
        with pytest.raises(StepError) as caught:
            provider.apply(provider.inspect(silent), silent)
        assert caught.value.reason == f"{NETWORK}.0/24 overlaps {NETWORK}.200/28, which {NAME}x has"
    finally:
        subprocess.run(["ip", "link", "delete", f"{NAME}x"], check=True)


def test_two_homes_with_a_node_of_one_name_do_not_touch_each_other(
    provider: LocalMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.apply(provider.inspect(silent), silent)
    monkeypatch.setenv("BINDER_NODE_LOCAL_DIR", str(tmp_path / "elsewhere"))
    runtime = tmp_path / "run2"
    runtime.mkdir()
    other = LocalMachine(Node(provider.node.spec, generate(), {}, {}, runtime))
    # The first one has the address, and another key.
    with pytest.raises(StepError):
        other.apply(other.inspect(silent), silent)
    other.destroy(silent)
    monkeypatch.setenv("BINDER_NODE_LOCAL_DIR", str(tmp_path / "machines"))
    assert provider.changes(provider.inspect(silent)) == []


def test_a_bridge_that_another_host_was_on_goes_with_the_next_destroy(provider: LocalMachine) -> None:
    machine.ensure_bridge(provider.node.spec)
    other = ("ip", "link", "add", f"{BRIDGE}x", "type", "veth", "peer", "name", f"{BRIDGE}y")
    subprocess.run(other, check=True)
    try:
        subprocess.run(["ip", "link", "set", f"{BRIDGE}x", "master", BRIDGE], check=True)
        assert provider.doomed(silent) == []
        provider.destroy(silent)
        assert Path("/sys/class/net", BRIDGE).exists()
    finally:
        subprocess.run(["ip", "link", "delete", f"{BRIDGE}x"], check=True)
    assert [change.what for change in provider.doomed(silent)] == [f"bridge {BRIDGE}, which nobody uses"]
    provider.destroy(silent)
    assert not Path("/sys/class/net", BRIDGE).exists()
    assert provider.doomed(silent) == []


def test_a_machine_goes_while_a_younger_one_runs_on(provider: LocalMachine, tmp_path: Path) -> None:
    """The younger one's mount namespace began as a copy of this computer's mounts, the older one's disk among them."""
    provider.apply(provider.inspect(silent), silent)
    name, network = names("young")[0], f"198.18.{os.getpid() % 100 + 150}"
    runtime = tmp_path / "young-run"
    runtime.mkdir()
    young = LocalMachine(
        Node(load(make_home(tmp_path / "young", name, network).inventory), generate(), {}, {}, runtime)
    )
    try:
        young.apply(young.inspect(silent), silent)
        provider.destroy(silent)
        assert traces() == NOTHING
        assert young.changes(young.inspect(silent)) == []
    finally:
        young.destroy(silent)


def test_the_supervisor_gets_nothing_of_the_operators_environment(
    provider: LocalMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BINDER_NODE_S3_SECRET_KEY", "not-for-the-machine")
    provider.apply(provider.inspect(silent), silent)
    environments = [Path(f"/proc/{pid}/environ").read_bytes() for pid in machine.processes(provider.folders)]
    assert len(environments) > 5
    assert not [text for text in environments if b"not-for-the-machine" in text]


def test_a_machine_that_hangs_is_restarted(provider: LocalMachine) -> None:
    provider.apply(provider.inspect(silent), silent)
    access = provider.access(provider.inspect(silent))
    assert access is not None
    remote.run(access, "echo kept > /root/mark")
    remote.run(access, "systemctl stop ssh.socket ssh.service", check=False)
    remote.disconnect(access)
    seen = provider.inspect(silent)
    assert [change.action for change in provider.changes(seen)] == ["restart"]
    provider.apply(seen, silent)
    assert remote.run(access, "cat /root/mark").stdout == "kept\n"
