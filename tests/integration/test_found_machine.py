"""A machine that somebody has: its host key confirmed once, its login kept, its operators let in and shut out."""

from __future__ import annotations

import os
import pty
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from binder_node import hostkeys, remote
from binder_node.artifacts.pins import load_pins
from binder_node.errors import InputError, StepError
from binder_node.events import silent
from binder_node.lifecycle.keys import _access as reached_with
from binder_node.lifecycle.opened import Opened
from binder_node.providers.ssh import SshMachine
from binder_node.secrets.generate import generate
from binder_node.secrets.model import Secrets
from binder_node.spec.load import load
from tests.integration.found_machine import (
    SUDOERS,
    USER,
    FoundMachine,
    agent_with,
    authorized,
    by_agent,
    by_file,
    found_machine,
    keyed,
    let_in,
    node_of,
    reached,
    stage_of,
    write,
)
from tests.integration.providers_fixtures import names
from tests.integration.stages import up
from tests.node.harness import Home

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount and make networks"),
]

NAME, NETWORK = names("fnd")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FoundMachine]:
    with found_machine(tmp_path_factory.mktemp("found"), NAME, NETWORK) as made:
        yield made


@pytest.fixture
def at_home(found: FoundMachine) -> tuple[FoundMachine, Secrets]:
    """The machine with a node's key let in."""
    return found, let_in(found)


# --- the first login -----------------------------------------------------------------------------------------------


def test_the_operators_key_proves_nothing_of_the_nodes(found: FoundMachine) -> None:
    """As `secrets rotate` asks: it may look at the machine, but a new login key is not let in by it."""
    node = node_of(found, generate(), provider=keyed(found, by_file(found)))
    provider = SshMachine(node)
    access = provider.access(provider.inspect(silent))
    assert access is not None
    assert remote.run(access, "whoami").stdout == f"{USER}\n"
    remote.disconnect(access)
    opened = Opened(found.folder / "none.yaml", node.spec, load_pins(None), node.runtime)
    assert reached_with(opened, node.secrets) is None
    assert reached_with(opened, let_in(found)) is not None


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
        assert (seen.first, seen.hindrance, seen.sudo) == (True, "", "")
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
