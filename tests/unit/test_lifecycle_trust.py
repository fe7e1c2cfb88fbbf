"""An unknown host key is taken when somebody has confirmed it, and never otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from binder_node import hostkeys, remote
from binder_node.artifacts.pins import load_pins
from binder_node.errors import InputError, StepError
from binder_node.lifecycle.opened import Opened, may_erase
from binder_node.lifecycle.trust import Shown, confirmed
from binder_node.secrets.generate import generate
from binder_node.spec.load import load
from binder_node.spec.model import SshProvider

KEY, OTHER = (" ".join(generate().host_key_public.split()[:2]) for _ in range(2))
PRINT = hostkeys.fingerprint(KEY)
INVENTORY = """\
name: found
provider: {{kind: ssh, address: 198.18.0.77{provider}}}
machine: {{cpus: 2, memory: 12G, disk: 40G{machine}}}
names: {{binder: found.test}}
tls: {{mode: none}}
storage: {{kind: node}}
"""


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Says which key the machine shows from now on; at first it is ``KEY``."""

    def show(key: str) -> None:
        monkeypatch.setattr(remote, "shown_host_keys", lambda *_: {key} if key else set())

    show(KEY)
    return show


@pytest.fixture
def node(tmp_path: Path) -> Callable[..., Opened]:
    def make(provider: str = "", machine: str = "") -> Opened:
        inventory = tmp_path / "found.yaml"
        inventory.write_text(INVENTORY.format(provider=provider, machine=machine))
        return Opened(inventory, load(inventory), load_pins(None), tmp_path / "run")

    return make


Node = Callable[..., Opened]
Answers = Callable[[str], None]


def key_of(opened: Opened) -> str | None:
    provider = opened.spec.provider
    assert isinstance(provider, SshProvider)
    return provider.host_key


def never(shown: Shown) -> bool:
    raise AssertionError(f"asked about {shown}")


@pytest.mark.usefixtures("answers")
class TestTheFirstTime:
    def test_without_a_terminal_nothing_is_taken(self, node: Node, tmp_path: Path) -> None:
        with pytest.raises(InputError) as caught:
            confirmed(node(), "", None)
        assert caught.value.exit_code == 2
        assert f"nobody has confirmed the host key that 198.18.0.77 shows: ssh-ed25519 {PRINT}" in str(caught.value)
        assert "say `--host-key-fingerprint SHA256:...`" in str(caught.value)
        assert not (tmp_path / "known_hosts").exists()

    def test_a_person_who_says_yes_is_asked_once(self, node: Node, tmp_path: Path) -> None:
        asked: list[Shown] = []

        def yes(shown: Shown) -> bool:
            asked.append(shown)
            return True

        found = confirmed(node(), "", yes)
        assert asked == [Shown("found", "198.18.0.77", (KEY,))]
        assert key_of(found) == KEY
        assert (tmp_path / "known_hosts").read_text().splitlines()[1] == f"found,198.18.0.77 {KEY}"
        assert key_of(confirmed(node(), "", never)) == KEY

    def test_a_person_who_says_no_ends_it(self, node: Node, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="is not confirmed; nothing was done"):
            confirmed(node(), "", lambda _: False)
        assert not (tmp_path / "known_hosts").exists()

    @pytest.mark.parametrize("where", ["option", "inventory"])
    def test_its_fingerprint_confirms_it(self, node: Node, where: str) -> None:
        option, said = (PRINT, "") if where == "option" else ("", f", fingerprint: '{PRINT}'")
        assert key_of(confirmed(node(said), option, never)) == KEY

    @pytest.mark.parametrize("where", ["option", "inventory"])
    def test_somebody_in_between_is_refused(self, node: Node, answers: Answers, where: str, tmp_path: Path) -> None:
        answers(OTHER)
        option, said = (PRINT, "") if where == "option" else ("", f", fingerprint: '{PRINT}'")
        with pytest.raises(StepError, match="another host key answers there") as caught:
            confirmed(node(said), option, never)
        assert PRINT in str(caught.value)
        assert hostkeys.fingerprint(OTHER) in str(caught.value)
        assert not (tmp_path / "known_hosts").exists()

    def test_a_machine_that_is_silent(self, node: Node, answers: Answers) -> None:
        answers("")
        with pytest.raises(StepError, match="nobody answers at port 22"):
            confirmed(node(), PRINT, None)


class TestLater:
    def test_a_confirmed_key_is_not_asked_for_again_and_not_replaced(self, node: Node, answers: Answers) -> None:
        confirmed(node(), PRINT, None)
        answers(OTHER)
        assert key_of(confirmed(node(), "", never)) == KEY  # strict: the connection itself refuses the other

    def test_a_new_machine_is_confirmed_by_its_new_fingerprint(self, node: Node, answers: Answers) -> None:
        confirmed(node(), PRINT, None)
        answers(OTHER)
        assert key_of(confirmed(node(), hostkeys.fingerprint(OTHER), None)) == OTHER
        answers(KEY)
        assert key_of(confirmed(node(f", fingerprint: '{PRINT}'"), "", None)) == KEY

    def test_what_the_inventory_says_is_not_overruled(self, node: Node, answers: Answers) -> None:
        answers(OTHER)
        for said in (f", host_key: '{KEY}'", f", fingerprint: '{PRINT}'"):
            with pytest.raises(InputError, match=r"--host-key-fingerprint: provider\.\w+ in the inventory is of "):
                confirmed(node(said), hostkeys.fingerprint(OTHER), None)
        assert key_of(confirmed(node(f", host_key: '{KEY}'"), PRINT, None)) == KEY

    def test_a_fingerprint_beside_another_host_key_is_a_mistake(self, node: Node) -> None:
        with pytest.raises(InputError, match=r"found.yaml:2: provider.fingerprint: provider.host_key has another one"):
            node(f", host_key: '{KEY}', fingerprint: '{hostkeys.fingerprint(OTHER)}'")


def test_a_disk_may_be_erased_by_the_name_that_the_inventory_has(node: Node) -> None:
    name = "/dev/disk/by-id/scsi-1"
    named, auto, none = node(machine=f", data_disk: {name}"), node(machine=", data_disk: auto"), node()
    assert may_erase(named, name).erase_disk == name
    assert may_erase(named, "").erase_disk == ""
    for opened, said in ((named, "/dev/disk/by-id/scsi-2"), (auto, name), (auto, "auto"), (none, name)):
        with pytest.raises(InputError, match="--erase-disk"):
            may_erase(opened, said)


@pytest.mark.parametrize("said", ["/dev/sdb", "sdb", "Auto", "/dev/disk/by-uuid/1", "/dev/disk/by-id/../sdb"])
def test_a_name_that_may_change_is_no_data_disk(node: Node, said: str) -> None:
    with pytest.raises(InputError, match=r"machine.data_disk: .* is not allowed; write auto, or a stable name"):
        node(machine=f", data_disk: {said}")
