"""The one script that an operator's own key runs: it adds the node's key and loses nobody's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from binder_node.host.on_node.look import look_at_block
from binder_node.host.on_node.make import make_block
from binder_node.layout import MARKERS
from binder_node.providers.ssh import first_login

THEIRS = 'command="echo hi" ssh-rsa AAAA them\n# a note\nssh-ed25519 AAAA ada'
BEGIN, END = MARKERS


def login(home: Path, key: str) -> str:
    subprocess.run(["sh", "-c", first_login(key)], env={**os.environ, "HOME": str(home)}, check=True)
    return (home / ".ssh/authorized_keys").read_text()


@pytest.mark.parametrize("ended", ["", "\n"])
def test_others_keys_stay_and_ours_is_replaced(tmp_path: Path, ended: str) -> None:
    (tmp_path / ".ssh").mkdir(mode=0o700)
    file = tmp_path / ".ssh/authorized_keys"
    file.write_text(THEIRS + ended)
    assert login(tmp_path, "ssh-ed25519 OLD\n") == f"{THEIRS}\n{BEGIN}\nssh-ed25519 OLD\n{END}\n"
    assert login(tmp_path, "ssh-ed25519 NEW") == f"{THEIRS}\n{BEGIN}\nssh-ed25519 NEW\n{END}\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["authorized_keys"]


def test_a_login_without_the_file_gets_one(tmp_path: Path) -> None:
    assert login(tmp_path, "ssh-ed25519 KEY") == f"{BEGIN}\nssh-ed25519 KEY\n{END}\n"
    assert (tmp_path / ".ssh").stat().st_mode & 0o777 == 0o700


def test_a_link_to_the_file_stays_one(tmp_path: Path) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / "keys").write_text("ssh-ed25519 AAAA ada\n")
    (tmp_path / ".ssh/authorized_keys").symlink_to(tmp_path / "keys")
    login(tmp_path, "ssh-ed25519 KEY")
    assert (tmp_path / ".ssh/authorized_keys").is_symlink()
    assert (tmp_path / "keys").read_text().startswith("ssh-ed25519 AAAA ada\n")


def test_the_host_room_goes_on_with_the_same_lines(tmp_path: Path) -> None:
    login(tmp_path, "ssh-ed25519 KEY")
    file = tmp_path / ".ssh/authorized_keys"
    file.write_text(f"{THEIRS}\n" + file.read_text() + "ssh-ed25519 AAAA late\n")
    os.chmod(file, 0o640)
    assert look_at_block(str(file), *MARKERS) == ["ssh-ed25519 KEY"]
    make_block({"path": str(file), "begin": BEGIN, "end": END, "lines": ["ssh-ed25519 KEY", "ssh-ed25519 BOB"]})
    assert look_at_block(str(file), *MARKERS) == ["ssh-ed25519 KEY", "ssh-ed25519 BOB"]
    assert file.stat().st_mode & 0o777 == 0o640
    assert [line for line in file.read_text().splitlines() if line.startswith("ssh-ed25519 AAAA")] == [
        "ssh-ed25519 AAAA ada",
        "ssh-ed25519 AAAA late",
    ]
