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
from binder_node.errors import StepError
from binder_node.events import silent
from binder_node.node import Node
from binder_node.providers.local import machine
from binder_node.providers.local.stage import LocalMachine
from binder_node.secrets.generate import generate
from binder_node.spec.load import load
from tests.node.harness import make_home

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount and make networks"),
]


NETWORK = "198.18.61"
BRIDGE = "bn-" + hashlib.sha256(f"{NETWORK}.0/24".encode()).hexdigest()[:8]


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalMachine]:
    monkeypatch.setenv("BINDER_NODE_LOCAL_DIR", str(tmp_path / "machines"))
    home = make_home(tmp_path, "prov", NETWORK)
    runtime = tmp_path / "run"
    runtime.mkdir()
    made = LocalMachine(Node(load(home.inventory), generate(), {}, {}, runtime))
    yield made
    made.destroy(silent)


def traces() -> dict[str, object]:
    """All that the machine could leave behind on this computer, where other machines come and go meanwhile."""
    own = {"vb-prov", BRIDGE}

    def shown(*argv: str) -> str:
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout

    return {
        "mounts": [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if "/prov/" in line],
        "links": sorted(own & {link["ifname"] for link in json.loads(shown("ip", "-j", "link"))}),
        "addresses": sorted(
            entry["local"]
            for link in json.loads(shown("ip", "-j", "address"))
            for entry in link["addr_info"]
            if entry["local"].startswith(f"{NETWORK}.")
        ),
        "loops": [line for line in shown("losetup", "-l", "-n", "-O", "BACK-FILE").splitlines() if "/prov/" in line],
        "cgroups": sorted(str(path) for path in Path("/sys/fs/cgroup").glob("*/binder-node-local-prov")),
    }


def processes_of(name: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if f"--machine={name}" in command:
            found.append(command)
    return found


def test_made_strict_from_the_first_connection_and_gone_without_a_trace(provider: LocalMachine) -> None:
    before = traces()
    assert not any(before.values())
    provider.apply(provider.inspect(silent), silent)
    assert all(traces().values())
    seen = provider.inspect(silent)
    assert provider.changes(seen) == []
    access = provider.access(seen)
    assert access is not None
    assert remote.run(access, "hostname").stdout == "prov\n"
    assert remote.run(access, "systemctl --failed --no-legend").stdout == ""
    assert access.known_hosts.read_text() == f"prov,198.18.61.20 {provider.node.secrets.host_key_public.strip()}\n"

    provider.destroy(silent)
    assert traces() == before
    assert processes_of("prov") == []
    assert not provider.folders.base.exists()
    assert list(provider.node.runtime.iterdir()) == []
    provider.destroy(silent)  # twice is no error


def test_a_machine_that_was_killed_is_started_again_with_what_it_had(provider: LocalMachine) -> None:
    provider.apply(provider.inspect(silent), silent)
    access = provider.access(provider.inspect(silent))
    assert access is not None
    remote.run(access, "echo kept > /root/mark && echo kept > /var/lib/binder-node/mark && sync")
    for pid in machine.processes(provider.node.spec):
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while machine.processes(provider.node.spec):
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
    subprocess.run([*remote.ssh_argv(access)[:3], "-O", "exit", access.name], capture_output=True, check=False)
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
    provider_inventory = tmp_path / "inventories/prov.yaml"
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
    before = traces()
    assert before["mounts"] == []
    provider.apply(provider.inspect(silent), silent)
    assert provider.changes(provider.inspect(silent)) == []


def test_the_state_folder_can_be_a_small_disk_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BINDER_NODE_LOCAL_DIR", str(tmp_path / "machines"))
    home = make_home(tmp_path, "disk", "198.18.62", disk="3G", provider="  disk_image: 3G")
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
    loops = subprocess.run(["losetup", "-l", "-n", "-O", "BACK-FILE"], check=True, capture_output=True, text=True)
    assert "disk.img" not in loops.stdout
