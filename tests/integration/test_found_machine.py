"""A machine that somebody has: its host key confirmed once, its login kept, its disk taken only when it is empty."""

from __future__ import annotations

import itertools
import json
import os
import pty
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from binder_node import hostkeys, remote
from binder_node.changes import Change
from binder_node.errors import InputError, StepError
from binder_node.events import silent
from binder_node.host.disk import UNMADE, disk, uuid_of
from binder_node.host.login import login
from binder_node.host.stage import HostStage
from binder_node.host.state import state
from binder_node.host.wanted import Wanted
from binder_node.node import Access, Node
from binder_node.providers.ssh import SshMachine
from binder_node.secrets.generate import generate
from binder_node.secrets.model import Secrets
from binder_node.spec.load import load
from tests.integration.found_machine import SUDOERS, USER, FoundMachine, agent_with
from tests.integration.providers_fixtures import names
from tests.node.harness import Home

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount and make networks"),
]

NAME, NETWORK = names("fnd")
GB = 10**9
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


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FoundMachine]:
    folder = tmp_path_factory.mktemp("found")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("BINDER_NODE_LOCAL_DIR", str(folder / "machines"))
        made = FoundMachine(folder, NAME, NETWORK)
        try:
            made.boot()
            yield made
        finally:
            made.gone()


def write(folder: Path, found: FoundMachine, **said: str) -> Path:
    """An inventory for the machine; ``said`` are further keys of its sections, as YAML."""
    parts = {"provider": "", "machine": "", "ssh": "", "disk": "5G", "user": USER, **said}
    inventory = folder / "inventories" / f"{NAME}.yaml"
    inventory.parent.mkdir(parents=True, exist_ok=True)
    inventory.write_text(INVENTORY.format(name=NAME, address=found.address, state=STATE, **parts))
    return inventory


def node_of(found: FoundMachine, secrets: Secrets, erase: str = "", **said: str) -> Node:
    """The machine as a node, with an inventory and a runtime folder of its own."""
    folder = found.folder / f"node{next(COUNT)}"
    (folder / "run").mkdir(parents=True)
    return Node(load(write(folder, found, **said)), secrets, {}, {}, folder / "run", erase)


def keyed(found: FoundMachine, more: str = "") -> str:
    return f", host_key: '{found.host_key}'{more}"


# --- the first login -----------------------------------------------------------------------------------------------


def authorized(found: FoundMachine) -> str:
    return found.inside(f"cat /home/{USER}/.ssh/authorized_keys")


def by_file(found: FoundMachine) -> str:
    return f", identity: {found.identity}"


def by_agent(found: FoundMachine) -> str:
    del found
    return ", identity: agent"


@pytest.mark.parametrize("way", [by_file, by_agent])
def test_the_operators_key_is_used_once_and_the_nodes_from_then_on(
    found: FoundMachine, way: Callable[[FoundMachine], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = generate()
    node = node_of(found, secrets, provider=keyed(found, way(found)))
    provider = SshMachine(node)
    with agent_with(found.identity) as environment:
        monkeypatch.setenv("SSH_AUTH_SOCK", environment["SSH_AUTH_SOCK"])
        seen = provider.inspect(silent)
        assert (seen.first, seen.hindrance, seen.sudo, provider.access(seen)) == (True, "", "", None)
        (change,) = provider.changes(seen)
        assert change.what.startswith(f"lines in ~{USER}/.ssh/authorized_keys: the node's login key, with ")
        provider.apply(seen, silent)
    monkeypatch.setenv("SSH_AUTH_SOCK", "/nowhere")
    before = authorized(found)
    assert found.local.node.secrets.login_key_public.strip() in before
    node = node_of(found, secrets, provider=keyed(found))
    provider = SshMachine(node)
    seen = provider.inspect(silent)
    assert provider.changes(seen) == []
    access = provider.access(seen)
    assert access is not None
    assert remote.run(access, "whoami && sudo -n whoami").stdout == f"{USER}\nroot\n"


def test_nobody_who_is_let_in_is_said_with_the_line_to_add(found: FoundMachine, tmp_path: Path) -> None:
    stranger = generate()
    wrong = tmp_path / "wrong"
    wrong.touch(mode=0o600)
    wrong.write_text(stranger.login_key.reveal())
    provider = SshMachine(node_of(found, generate(), provider=keyed(found, f", identity: {wrong}")))
    seen = provider.inspect(silent)
    assert f"; with {wrong}: " in seen.hindrance
    with pytest.raises(StepError, match="Permission denied") as caught:
        provider.apply(seen, silent)
    assert provider.node.secrets.login_key_public.strip() in caught.value.remedy
    assert provider.access(seen) is None


@pytest.fixture
def at_home(found: FoundMachine) -> tuple[FoundMachine, Secrets]:
    """The machine with a node's key let in."""
    secrets = generate()
    provider = SshMachine(node_of(found, secrets, provider=keyed(found, by_file(found))))
    provider.apply(provider.inspect(silent), silent)
    return found, secrets


def test_sudo_that_wants_a_password_is_one_line_and_no_wait(at_home: tuple[FoundMachine, Secrets]) -> None:
    found, secrets = at_home
    file = found.local.folders.root / SUDOERS
    kept = file.read_text()
    file.write_text(f"{USER} ALL=(ALL) ALL\n")
    try:
        provider = SshMachine(node_of(found, secrets, provider=keyed(found)))
        began = time.monotonic()
        seen = provider.inspect(silent)
        assert time.monotonic() - began < 5
        assert seen.sudo == "sudo: a password is required"
        assert [change.what for change in provider.changes(seen)] == [
            f"become root as {USER}@{found.address}: {seen.sudo}"
        ]
        with pytest.raises(StepError) as caught:
            provider.apply(seen, silent)
        assert "\n" not in str(caught.value)
        assert f"echo '{USER} ALL=(ALL) NOPASSWD:ALL' | sudo tee /etc/sudoers.d/90-binder-node" in caught.value.remedy
        assert provider.access(seen) is not None  # `binder-node ssh` is how one gets there to mend it
    finally:
        file.write_text(kept)


def test_a_root_that_only_tells_whom_to_take_is_no_login(found: FoundMachine) -> None:
    """As cloud images have it where the login is `ubuntu`."""
    secrets = generate()
    told = f'Please login as the user "{USER}" rather than the user "root".'
    file = found.local.folders.root / "root/.ssh/authorized_keys"
    file.parent.mkdir(mode=0o700, exist_ok=True)
    quoted = told.replace('"', '\\"')
    file.write_text(f"""no-port-forwarding,command="echo '{quoted}';exit 142" {secrets.login_key_public.strip()}\n""")
    file.chmod(0o600)
    provider = SshMachine(node_of(found, secrets, provider=keyed(found), user="root"))
    seen = provider.inspect(silent)
    assert told in seen.hindrance
    assert provider.access(seen) is None


# --- the host key --------------------------------------------------------------------------------------------------


class Place(Home):
    """A home whose inventory says where the machine is, and nothing of its key."""

    @property
    def known(self) -> Path:
        return self.inventory.parent / hostkeys.FILE


@pytest.fixture
def place(found: FoundMachine, tmp_path: Path) -> Place:
    write(tmp_path, found, provider=by_file(found))
    return Place(tmp_path, NAME, NETWORK)


# No artifact can be had: what comes after the host key ends at once.
NOTHING_MORE = ("--source", "bundle", "--bundle", "/nowhere")


def test_without_a_terminal_an_unknown_key_is_refused_with_2(found: FoundMachine, place: Place) -> None:
    for verb in ("plan", "up", "status"):
        ran = place.run(verb)
        assert (ran.code, ran.out) == (2, "")
        assert f"{found.address} shows: ssh-ed25519 {hostkeys.fingerprint(found.host_key)}" in ran.err
        assert "--host-key-fingerprint SHA256:..." in ran.err
    assert not place.known.exists()


def test_a_fingerprint_that_is_right_is_remembered_and_a_wrong_one_refused(found: FoundMachine, place: Place) -> None:
    wrong = hostkeys.fingerprint(generate().host_key_public)
    ran = place.run("plan", "--host-key-fingerprint", wrong, *NOTHING_MORE)
    assert ran.code == 1
    assert "another host key answers there" in ran.err
    assert not place.known.exists()
    ran = place.run("plan", "--host-key-fingerprint", hostkeys.fingerprint(found.host_key), *NOTHING_MORE)
    assert hostkeys.find(place.known.read_text(), NAME) == found.host_key
    assert "host key" not in ran.err
    provider = load(place.inventory).provider
    assert getattr(provider, "host_key", None) == found.host_key


@pytest.mark.parametrize(("answer", "taken"), [("yes", True), ("no", False)])
def test_at_a_terminal_one_is_asked_once(found: FoundMachine, place: Place, answer: str, taken: bool) -> None:
    shown = at_terminal(place, answer)
    assert hostkeys.fingerprint(found.host_key) in shown
    assert "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub" in shown
    assert place.known.exists() is taken
    if taken:
        assert "Is it the same?" not in at_terminal(place, "")


def at_terminal(place: Place, answer: str) -> str:
    """``plan`` at a terminal of its own, at which ``answer`` is typed; what was shown."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(place.folder)
        argv = place.argv("plan", *NOTHING_MORE)
        os.execve(argv[0], argv, place.environment)
    os.write(terminal, f"{answer}\n".encode())
    shown, deadline = b"", time.monotonic() + 60
    try:
        while time.monotonic() < deadline and (data := os.read(terminal, 4096)):
            shown += data
    except OSError:  # EIO: the other side is gone
        pass
    finally:
        os.close(terminal)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return shown.decode()


def test_a_man_in_the_middle_is_refused_at_once(found: FoundMachine, at_home: tuple[FoundMachine, Secrets]) -> None:
    """The key was confirmed; now another sshd answers at the address, and lets anybody in."""
    secrets = at_home[1]
    node = node_of(found, secrets)
    with pytest.raises(InputError, match="nobody has confirmed the machine's host key yet"):
        SshMachine(node).inspect(silent)
    provider = SshMachine(node_of(found, secrets, provider=keyed(found, by_file(found))))
    key = found.local.folders.root / "etc/ssh/ssh_host_ed25519_key"
    kept, other = key.read_text(), generate()
    key.write_text(other.host_key.reveal())
    key.with_suffix(".pub").write_text(other.host_key_public)
    found.inside("systemctl restart ssh")
    try:
        began = time.monotonic()
        with pytest.raises(StepError, match="another host key answers there") as caught:
            provider.inspect(silent)
        assert time.monotonic() - began < 5
        assert hostkeys.fingerprint(other.host_key_public) in str(caught.value)
        assert hostkeys.fingerprint(found.host_key) in str(caught.value)
        assert "do not go on" in caught.value.remedy
    finally:
        key.write_text(kept)
        key.with_suffix(".pub").write_text(found.local.node.secrets.host_key_public)
        found.inside("systemctl restart ssh")
    assert provider.changes(provider.inspect(silent)) == []


# --- who may log in ------------------------------------------------------------------------------------------------


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


def up(stage: HostStage) -> list[Change]:
    seen = stage.inspect(silent)
    changes = stage.changes(seen)
    if changes:
        stage.apply(seen, silent)
    return changes


def test_operators_are_let_in_and_shut_out_again(at_home: tuple[FoundMachine, Secrets], tmp_path: Path) -> None:
    found, secrets = at_home
    ada = generate()
    key = tmp_path / "ada"
    key.touch(mode=0o600)
    key.write_text(ada.login_key.reveal())
    theirs = authorized(found)

    def lets_ada_in() -> bool:
        own = reached(node_of(found, secrets, provider=keyed(found)))
        hers = replace(own, identity=key, config=own.config.parent / "hers/ssh_config")
        remote.write_access(hers, "", found.host_key)
        try:
            return remote.answers(hers)
        finally:
            remote.disconnect(hers)

    admin = f", admins: ['{ada.login_key_public.strip()} ada']"
    with_ada = node_of(found, secrets, provider=keyed(found), ssh=admin)
    assert not lets_ada_in()
    (change,) = up(stage_of(with_ada, "login"))[:1]
    assert f"+{ada.login_key_public.strip()} ada" in change.diff
    assert lets_ada_in()
    assert up(stage_of(with_ada, "login")) == []
    owner = found.inside(f"stat -c '%U %a' /home/{USER}/.ssh/authorized_keys").split()
    assert owner == [USER, "600"]
    up(stage_of(node_of(found, secrets, provider=keyed(found)), "login"))
    assert not lets_ada_in()
    assert authorized(found) == theirs


# --- the data disk -------------------------------------------------------------------------------------------------


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

    # Killed between mkfs and its end: the label says so, and it is made again.
    subprocess.run(["mkfs.xfs", "-q", "-m", f"uuid={uuid_of(NAME)}", "-L", UNMADE, loop], check=True)
    assert [change.what for change in stage().changes(stage().inspect(silent)) if "cut off" in change.what] == [
        f"disk: XFS on {name}, {loop} (5.0 GB): its formatting was cut off"
    ]
    subprocess.run(["dd", "if=/dev/zero", f"of={loop}", "bs=1M", "count=1", "status=none"], check=True)

    lines = [f"{change.action} {change.what}" for change in up(stage())]
    assert f"create disk: XFS on {name}, {loop} (5.0 GB): it is empty" in lines
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
    lines = [f"{change.action} {change.what}" for change in up(with_disk(found, secrets, name, name))]
    assert f"delete disk: all that is on {name}, {found.disks['old']} (5.0 GB): it has ext4 'thesis'" in lines
    assert up(with_disk(found, secrets, name)) == []
