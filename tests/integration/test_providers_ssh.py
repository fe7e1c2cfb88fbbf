"""OpenSSH at the edge, and the provider for a machine that exists, against a real sshd in a real machine."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from binder_node import remote
from binder_node.errors import DeadlineError, StepError
from binder_node.events import silent
from binder_node.node import Access, Node
from binder_node.providers.local.stage import LocalMachine
from binder_node.providers.ssh import SshMachine
from binder_node.secrets.generate import generate
from binder_node.secrets.model import Secrets
from binder_node.spec.load import load
from tests.integration.providers_fixtures import names
from tests.node.harness import make_home

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount and make networks"),
]

NAME, NETWORK = names("edge")
ADDRESS = f"{NETWORK}.20"
LOGIN = """\
ssh:
  user: debian
  port: 2222
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMachine]:
    """A machine whose login is not root and whose sshd has a port of its own."""
    folder = tmp_path_factory.mktemp("edge")
    home = make_home(folder, NAME, NETWORK, more=LOGIN)
    runtime = folder / "run"
    runtime.mkdir()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("BINDER_NODE_LOCAL_DIR", str(folder / "machines"))
        made = LocalMachine(Node(load(home.inventory), generate(), {}, {}, runtime))
        try:
            made.apply(made.inspect(silent), silent)
            yield made
        finally:
            made.destroy(silent)


@pytest.fixture
def access(machine: LocalMachine) -> Access:
    found = machine.access(machine.inspect(silent))
    assert found is not None
    return found


def test_a_login_that_is_not_root_becomes_root_without_a_password(access: Access) -> None:
    assert remote.run(access, "whoami && sudo -n whoami").stdout == "debian\nroot\n"


def test_a_command_says_what_failed_and_a_wait_what_for(access: Access) -> None:
    done = remote.run(access, "cat; echo two >&2; exit 3", input="one", check=False)
    assert (done.code, done.stdout, done.stderr) == (3, "one", "two\n")
    with pytest.raises(StepError, match=f"{NAME}: false: exit code 1"):
        remote.run(access, "false")
    with pytest.raises(DeadlineError, match=f"{NAME}: waited 1 s for a command: sleep 30"):
        remote.run(access, "sleep 30", timeout=1)


def test_an_upload_arrives_whole_or_says_why_not(access: Access, tmp_path: Path) -> None:
    source = tmp_path / "data"
    source.write_bytes(os.urandom(20_000_000))
    remote.upload(access, source, "/tmp/it's here", mode=0o750)
    shown = remote.run(access, """cd /tmp && sha256sum < "it's here" && stat -c %a "it's here" && ls""").stdout.split()
    assert shown[0] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert shown[2] == "750"
    assert "here.part" not in shown
    with pytest.raises(StepError, match=r"upload data: .*Permission denied"):
        remote.upload(access, source, "/root/x")


def test_a_tunnel_carries_bytes_and_ends_with_its_block(access: Access) -> None:
    with remote.tunnel(access, 2222) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as through:
            assert through.recv(8) == b"SSH-2.0-"
        with remote.tunnel(access, 2222) as other:
            assert other != port
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=10)


TUNNEL = """
import sys, time
from pathlib import Path
from binder_node import remote
from binder_node.node import Access
name, address, port, user, folder = sys.argv[1:]
folder = Path(folder)
access = Access(name, address, int(port), user, folder / "login_key", folder / "known_hosts", folder / "ssh_config")
with remote.tunnel(access, 2222) as port:
    print(port, flush=True)
    time.sleep(60)
"""


def listens(port: int) -> bool:
    with socket.socket() as knock:
        return knock.connect_ex(("127.0.0.1", port)) == 0


def test_a_tunnel_does_not_outlive_a_process_that_was_killed(access: Access) -> None:
    place = [access.name, access.address, str(access.port), access.user, str(access.config.parent)]
    holder = subprocess.Popen([sys.executable, "-c", TUNNEL, *place], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    port = int(holder.stdout.readline())
    socket.create_connection(("127.0.0.1", port), timeout=10).close()
    holder.kill()
    holder.communicate()
    deadline = time.monotonic() + 10
    while listens(port):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_tunnel_to_nobody_is_an_error_of_ssh(access: Access) -> None:
    gone = replace(access, config=access.config.with_name("gone_config"), port=9)
    gone.config.write_text(remote.ssh_config(gone))
    with pytest.raises(StepError, match=f"{NAME}: connect to {ADDRESS}: .*refused"), remote.tunnel(gone, 2222):
        pass
    with pytest.raises(DeadlineError, match=r"waited 1 s for ssh at .*port 9 does not answer: Connection refused"):
        remote.wait_for_ssh(gone, 1)


def test_a_shared_connection_whose_process_died_is_made_anew(access: Access) -> None:
    remote.run(access, "true")
    check = remote.ssh_argv(access)
    check[1:1] = ["-O", "check"]
    told = subprocess.run(check, capture_output=True, text=True, check=True)
    pid = int((told.stdout + told.stderr).split("pid=")[1].split(")")[0])
    os.kill(pid, 9)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}/environ").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert remote.control_path(access).is_socket()
    assert remote.run(access, "echo again").stdout == "again\n"


def existing(folder: Path, secrets: Secrets, host_key: str) -> SshMachine:
    """The same machine as one that the operator brings: kind ssh."""
    inventory = folder / f"inventories/{NAME}.yaml"
    inventory.parent.mkdir(parents=True)
    local = f"  kind: local\n  network: {NETWORK}.0/24\n  address: {ADDRESS}\n"
    brought = f"  kind: ssh\n  address: {ADDRESS}\n  host_key: {host_key}\n"
    text = make_home(folder / "local", NAME, NETWORK, more=LOGIN).inventory.read_text()
    assert local in text
    inventory.write_text(text.replace(local, brought))
    runtime = folder / "run"
    runtime.mkdir()
    return SshMachine(Node(load(inventory), secrets, {}, {}, runtime))


def test_a_machine_that_exists_lets_us_in_with_the_nodes_own_key(machine: LocalMachine, tmp_path: Path) -> None:
    host_key = machine.node.secrets.host_key_public.strip()
    provider = existing(tmp_path, machine.node.secrets, host_key)
    seen = provider.inspect(silent)
    assert provider.changes(seen) == []
    access = provider.access(seen)
    assert access is not None
    assert remote.run(access, "hostname").stdout == f"{NAME}\n"


def test_a_key_that_is_not_let_in_is_handed_to_the_operator(machine: LocalMachine, tmp_path: Path) -> None:
    provider = existing(tmp_path, generate(), machine.node.secrets.host_key_public.strip())
    seen = provider.inspect(silent)
    assert [change.action for change in provider.changes(seen)] == ["run"]
    with pytest.raises(StepError, match="Permission denied") as caught:
        provider.apply(seen, silent)
    assert provider.node.secrets.login_key_public in caught.value.remedy
    assert provider.access(seen) is None


def test_another_host_key_than_the_inventorys_ends_it(machine: LocalMachine, tmp_path: Path) -> None:
    provider = existing(tmp_path, machine.node.secrets, generate().host_key_public.strip())
    with pytest.raises(StepError, match="another host key answers there"):
        provider.inspect(silent)


def test_a_machine_of_the_operators_is_not_destroyed(machine: LocalMachine, tmp_path: Path) -> None:
    provider = existing(tmp_path, machine.node.secrets, machine.node.secrets.host_key_public.strip())
    with pytest.raises(StepError, match="not made by binder-node"):
        provider.destroy(silent)
    assert provider.changes(provider.inspect(silent)) == []
