"""New ssh keys for a machine that runs: a real sshd takes them, the old ones open nothing, and a kill costs nothing."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from binder_node import remote
from binder_node.artifacts.pins import load_pins
from binder_node.errors import InputError, StepError
from binder_node.events import silent
from binder_node.layout import MARKERS
from binder_node.lifecycle import keys
from binder_node.lifecycle.keys import rotate_keys
from binder_node.lifecycle.opened import Opened, access_of
from binder_node.node import Access, Node
from binder_node.providers.base import access_to
from binder_node.providers.local.stage import LocalMachine
from binder_node.secrets.generate import private_key, public_key
from binder_node.secrets.model import Secrets
from binder_node.secrets.store import SecretStore
from binder_node.spec.load import load
from tests.integration.providers_fixtures import names
from tests.node.harness import make_home

NAME, NETWORK = names("keys")
ADMIN = public_key(private_key()) + " admin"

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount and make networks"),
]


class Made:
    """A machine, its secrets, and ways to ask who is let in."""

    def __init__(self, folder: Path) -> None:
        home = make_home(folder, NAME, NETWORK, more=f"ssh: {{admins: [{ADMIN}]}}")
        runtime = folder / "run"
        self.store = SecretStore(home.inventory)
        self.opened = Opened(home.inventory, load(home.inventory), load_pins(None), runtime)
        self.first, _ = self.store.ensure()
        self.folder = folder

    def machine(self, secrets: Secrets) -> LocalMachine:
        return LocalMachine(Node(self.opened.spec, secrets, {}, {}, self.opened.runtime))

    def access(self, login: Secrets, host: Secrets) -> Access:
        """With the login key of the one and the host key of the other, and a connection of its own."""
        node = Node(self.opened.spec, login, {}, {}, self.folder / "other")
        found = access_to(node, f"{NETWORK}.20")
        remote.write_access(found, login.login_key.reveal(), host.host_key_public)
        remote.disconnect(found)
        return found


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Made]:
    for name in ("machines", "identity.txt", "secrets"):
        variable = {"machines": "LOCAL_DIR", "identity.txt": "IDENTITY", "secrets": "SECRETS_DIR"}[name]
        monkeypatch.setenv(f"BINDER_NODE_{variable}", str(tmp_path / name))
    found = Made(tmp_path)
    found.opened.runtime.mkdir()
    machine = found.machine(found.first)
    try:
        machine.apply(machine.inspect(silent), silent)
        yield found
    finally:
        found.machine(found.store.load()).destroy(silent)


def test_both_are_changed_and_the_old_ones_open_nothing(made: Made) -> None:
    access, _ = access_of(made.opened)
    begin, end = MARKERS
    others = [f"no-pty {ADMIN}", begin, "OLD", ADMIN, end, 'from="198.19.0.0/16" OLD in a hurry', "# the end"]
    text = "\n".join(others).replace("OLD", made.first.login_key_public)
    remote.run(access, "cat >> ~/.ssh/authorized_keys", input=text)  # without a last line end
    assert rotate_keys(made.opened, made.store, ["host_key", "login_key"], silent) == ["host_key", "login_key"]
    new = made.store.load()
    assert new.login_key != made.first.login_key
    assert public_key(new.host_key.reveal()) == new.host_key_public != made.first.host_key_public
    access, _ = access_of(made.opened)
    assert remote.run(access, "hostname").stdout == f"{NAME}\n"
    assert "Permission denied" in remote.hindrance(made.access(made.first, new))
    with pytest.raises(StepError, match="another host key answers there"):
        remote.hindrance(made.access(new, made.first))
    # Other people's keys stay, in their order, and nothing lies about.
    lines = remote.run(access, "cat ~/.ssh/authorized_keys").stdout.splitlines()
    assert lines == [line.replace("OLD", new.login_key_public) for line in ["OLD", *others]]
    assert remote.run(access, "stat -c %a ~/.ssh/authorized_keys").stdout == "600\n"
    assert remote.run(access, "ls -a ~/.ssh /etc/ssh | grep -e binder-node -e part; true").stdout == ""
    assert remote.run(access, "stat -c '%a %U' /etc/ssh/ssh_host_ed25519_key").stdout == "600 root\n"
    assert made.store.document().coming == {}


def test_one_alone_leaves_the_other(made: Made) -> None:
    assert rotate_keys(made.opened, made.store, ["login_key"], silent) == ["login_key"]
    new = made.store.load()
    assert (new.host_key, new.proxy_token) == (made.first.host_key, made.first.proxy_token)
    assert access_of(made.opened)


def test_killed_at_each_step_the_same_command_goes_on(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each call that does something, before it and after it."""
    steps = [(remote, "run"), (made.store, "change"), (keys, "_prove")]
    asked = ["host_key", "login_key"]
    for kill in range(20):
        count = 0

        def counted(real: Any, kill: int = kill) -> Any:
            def call(*args: Any, **more: Any) -> Any:
                nonlocal count
                count += 1
                if count - 1 == kill // 2 and kill % 2 == 0:
                    raise KeyboardInterrupt
                result = real(*args, **more)
                if count - 1 == kill // 2:
                    raise KeyboardInterrupt
                return result

            return call

        before = made.store.load()
        with monkeypatch.context() as patch:
            for place, name in steps:
                patch.setattr(place, name, counted(getattr(place, name)))
            try:
                rotate_keys(made.opened, made.store, asked, silent)
                break
            except KeyboardInterrupt:
                pass
        assert rotate_keys(made.opened, made.store, asked, silent) == asked
        after = made.store.load()
        assert after.login_key != before.login_key
        access, _ = access_of(made.opened)
        lines = remote.run(access, "cat ~/.ssh/authorized_keys").stdout.splitlines()
        assert lines == [after.login_key_public]
        assert "Permission denied" in remote.hindrance(made.access(before, after))
    assert kill == 12, "a step came or went: six calls, each killed before and after"


def test_a_machine_that_does_not_take_them_keeps_the_old_ones(made: Made) -> None:
    access, _ = access_of(made.opened)
    remote.run(access, "echo 'HostKey /nowhere/key' > /etc/ssh/sshd_config.d/60-broken.conf")
    with pytest.raises(
        StepError, match=r"(?s)give sshd its new host key: .*/nowhere/key.* -> the old keys still hold"
    ) as caught:
        rotate_keys(made.opened, made.store, ["host_key"], silent)
    assert "PRIVATE KEY" not in str(caught.value)
    assert made.store.load() == made.first
    assert access_of(made.opened)
    remote.run(access, "rm /etc/ssh/sshd_config.d/60-broken.conf")
    assert rotate_keys(made.opened, made.store, ["host_key"], silent) == ["host_key"]


def test_what_is_no_key_is_refused(made: Made) -> None:
    with pytest.raises(InputError, match="proxy_token: is not changed together with ssh keys"):
        rotate_keys(made.opened, made.store, ["host_key", "proxy_token"], silent)


OLD, NEW = (public_key(private_key()) for _ in range(2))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("OLD\n", "NEW\n"),
        ("OLD", "NEW\n"),  # without a last line end
        ("# mine\nADMIN\nOLD me@home\n", "# mine\nADMIN\nNEW me@home\n"),
        ("# begin\nOLD\nADMIN\n# end\nno-pty OLD\n", "# begin\nNEW\nADMIN\n# end\nno-pty NEW\n"),
        ("ADMIN\n", "ADMIN\nNEW\n"),  # let in by something else
        ("NEW\nADMIN\n", "NEW\nADMIN\n"),  # a run before this one got so far
        ("", "NEW\n"),
    ],
)
def test_lines_of_authorized_keys(tmp_path: Path, before: str, after: str) -> None:
    def filled(text: str) -> str:
        return text.replace("OLD", OLD).replace("NEW", NEW).replace("ADMIN", ADMIN)

    def sh(script: str, given: str) -> None:
        environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
        subprocess.run(["sh", "-c", script], input=given, env=environ, text=True, check=True, timeout=10)

    file = tmp_path / ".ssh/authorized_keys"
    file.parent.mkdir()
    file.write_text(filled(before))
    file.chmod(0o640)
    for _ in range(2):  # twice is no more than once
        sh(keys.LET_IN, f"{NEW}\n")
        assert NEW in file.read_text()
        assert filled(before).rstrip("\n") in file.read_text() or OLD not in file.read_text()
        sh(keys.LOCK_OUT, f"{OLD}\n{NEW}\n")
        assert file.read_text() == filled(after)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert [path.name for path in file.parent.iterdir()] == ["authorized_keys"]
