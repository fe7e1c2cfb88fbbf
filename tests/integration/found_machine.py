"""A machine as one finds it: a login with sudo that takes the operator's key, and disks that were plugged in."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from binder_node.events import silent
from binder_node.host.disk import disk
from binder_node.host.login import login
from binder_node.host.stage import HostStage
from binder_node.host.state import state
from binder_node.host.wanted import Wanted
from binder_node.node import Access, Node
from binder_node.providers.local import machine as local_machine
from binder_node.providers.local.stage import LocalMachine
from binder_node.providers.ssh import SshMachine
from binder_node.secrets.generate import generate
from binder_node.secrets.model import Secrets
from binder_node.spec.load import load
from tests.node.harness import make_home

USER = "ubuntu"
LOGIN = f"ssh: {{user: {USER}}}\n"
SUDOERS = "etc/sudoers.d/90-cloud-init-users"


class FoundMachine:
    """A local machine that the product is told of by its address alone. Its own secrets are the operator's."""

    def __init__(self, folder: Path, name: str, network: str, disk: str = "40G") -> None:
        self.folder, self.name, self.network, self.address = folder, name, network, f"{network}.20"
        self.home = make_home(folder / "local", name, network, more=LOGIN, disk=disk)
        runtime = folder / "local/run"
        runtime.mkdir()
        self.local = LocalMachine(Node(load(self.home.inventory), generate(), {}, {}, runtime))
        self.identity = folder / "operator"
        self.identity.touch(mode=0o600)
        self.identity.write_text(self.local.node.secrets.login_key.reveal())
        self.host_key = " ".join(self.local.node.secrets.host_key_public.split()[:2])
        self.disks: dict[str, str] = {}

    def boot(self) -> None:
        self.local.apply(self.local.inspect(silent), silent)

    def reboot(self) -> None:
        """As a power cut: what is plugged in is gone until it is plugged in again."""
        local_machine.stop(self.local.node.spec, self.local.folders)
        self.boot()

    def inside(self, script: str) -> str:
        """A shell line as root, by no network: what an operator types at the console."""
        pid = local_machine.supervisor(self.local.folders)
        init = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]
        argv = ["nsenter", "-t", init, "-m", "-u", "-i", "-n", "-p", "sh", "-c", script]
        return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout

    def new_disk(self, name: str, size: int) -> str:
        """A sparse disk of ``size`` bytes; its stable name on the machine, where it is not plugged in yet."""
        image = self.folder / f"{name}.img"
        with image.open("wb") as file:
            file.truncate(size)
        loop = subprocess.run(
            ["losetup", "--find", "--show", str(image)], check=True, capture_output=True, text=True
        ).stdout.strip()
        self.disks[name] = loop
        return f"/dev/disk/by-id/scsi-0{name}"

    def blank(self, name: str) -> None:
        """The disk as it was when it was new."""
        subprocess.run(["blkdiscard", "--force", self.disks[name]], check=True)

    def plug(self, name: str) -> None:
        """What udev does when a disk comes: a node and a link. A container has no udev."""
        loop = self.disks[name]
        major, minor = Path(f"/sys/class/block/{Path(loop).name}/dev").read_text().strip().split(":")
        self.inside(
            f"test -b {loop} || mknod {loop} b {major} {minor}; mkdir -p /dev/disk/by-id;"
            f" ln -sfn {loop} /dev/disk/by-id/scsi-0{name}"
        )

    def gone(self) -> None:
        self.local.destroy(silent)
        for loop in self.disks.values():
            subprocess.run(["losetup", "--detach", loop], check=False)


@contextlib.contextmanager
def agent_with(identity: Path) -> Iterator[dict[str, str]]:
    """An ssh-agent that holds the key; yields its environment."""
    said = subprocess.run(["ssh-agent", "-s"], check=True, capture_output=True, text=True).stdout
    found = dict(part.split("=", 1) for part in said.replace("\n", "").split(";") if "=" in part)
    try:
        environment = {name: found[name] for name in ("SSH_AUTH_SOCK", "SSH_AGENT_PID")}
        subprocess.run(["ssh-add", "-q", str(identity)], check=True, env=environment | {"PATH": "/usr/bin:/bin"})
        yield environment
    finally:
        subprocess.run(["kill", found["SSH_AGENT_PID"]], check=False)


@contextlib.contextmanager
def found_machine(folder: Path, name: str, network: str) -> Iterator[FoundMachine]:
    """One that runs, and goes with the block."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("BINDER_NODE_LOCAL_DIR", str(folder / "machines"))
        made = FoundMachine(folder, name, network)
        try:
            made.boot()
            yield made
        finally:
            made.gone()


# --- the machine as a node -----------------------------------------------------------------------------------------

STATE = "/srv/binder-node"
COUNT = itertools.count()
INVENTORY = """\
name: {name}
provider: {{kind: ssh, address: {address}{provider}}}
machine: {{cpus: 2, memory: 12G, disk: {disk}, state: {state}{machine}}}
ssh: {{user: {user}{ssh}}}
names: {{binder: {name}.test}}
tls: {{mode: none}}
storage: {{kind: node}}
"""


def write(folder: Path, found: FoundMachine, **said: str) -> Path:
    """An inventory for the machine; ``said`` are further keys of its sections, as YAML."""
    parts = {"provider": "", "machine": "", "ssh": "", "disk": "5G", "user": USER, **said}
    inventory = folder / "inventories" / f"{found.name}.yaml"
    inventory.parent.mkdir(parents=True, exist_ok=True)
    inventory.write_text(INVENTORY.format(name=found.name, address=found.address, state=STATE, **parts))
    return inventory


def node_of(found: FoundMachine, secrets: Secrets, erase: str = "", **said: str) -> Node:
    """The machine as a node, with an inventory and a runtime folder of its own."""
    folder = found.folder / f"node{next(COUNT)}"
    (folder / "run").mkdir(parents=True)
    return Node(load(write(folder, found, **said)), secrets, {}, {}, folder / "run", erase)


def keyed(found: FoundMachine, more: str = "") -> str:
    return f", host_key: '{found.host_key}'{more}"


def authorized(found: FoundMachine) -> str:
    return found.inside(f"cat /home/{USER}/.ssh/authorized_keys")


def by_file(found: FoundMachine) -> str:
    return f", identity: {found.identity}"


def by_agent(found: FoundMachine) -> str:
    del found
    return ", identity: agent"


def let_in(found: FoundMachine) -> Secrets:
    """A node's secrets, its login key let in."""
    secrets = generate()
    provider = SshMachine(node_of(found, secrets, provider=keyed(found, by_file(found))))
    provider.apply(provider.inspect(silent), silent)
    return secrets


def reached(node: Node) -> Access:
    provider = SshMachine(node)
    access = provider.access(provider.inspect(silent))
    assert access is not None
    return access


def stage_of(node: Node, *components: str) -> HostStage:
    """The host stage with no more than these components."""
    access = reached(node)
    stage = HostStage(node, access, access.address, "", {})
    made = {
        "login": login(node.spec, node.secrets),
        "disk": disk(node.spec, node.erase_disk),
        "state": state(node.spec),
    }
    stage.__dict__["wanted"] = Wanted(node.spec.name, tuple(made[name] for name in components))
    return stage


def planned(stage: HostStage) -> list[str]:
    return [f"{change.action} {change.what}" for change in stage.changes(stage.inspect(silent))]
