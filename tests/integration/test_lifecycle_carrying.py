"""Certificates from one node's folder to another's, by the shell that runs on nodes; Traefik is a script here."""

from __future__ import annotations

import stat
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from binder_node import remote
from binder_node.cluster.acmestore import parsed
from binder_node.errors import InputError, StepError
from binder_node.events import silent
from binder_node.layout import TRAEFIK_UID
from binder_node.lifecycle import carrying
from binder_node.lifecycle.carrying import Side, carry_certificates
from binder_node.node import Access
from tests.unit.acme_samples import raw, store_text
from tests.unit.host_samples import sample_spec

pytestmark = pytest.mark.integration

BINDER, OLD_HUB, NEW_HUB = "bids.example.org", "hub.bids.example.org", "hub-2.bids.example.org"
# What Traefik would do: it says that it was started anew, and may write its file over ours first.
K3S = """\
#!/bin/sh
echo "$*" >> {folder}/asked
case "$*" in
  *"get -n kube-system"*) [ -e {folder}/traefik ] && echo deployment.apps/traefik; exit 0 ;;
  *"rollout restart"*) [ ! -e {folder}/over ] || {{ cat {folder}/over > {store}; rm {folder}/over; }} ;;
esac
"""


@dataclass
class Lab:
    folder: Path
    old: Side
    new: Side

    def store(self, side: Side) -> Path:
        return Path(side.spec.machine.state) / "acme/acme.json"

    def put(self, side: Side, text: str) -> None:
        self.store(side).write_text(text)

    def names(self, side: Side) -> list[tuple[str, ...]]:
        return [entry.names for entry in parsed(self.store(side).read_text()).entries]

    def restarts(self) -> int:
        asked = self.folder / "asked"
        return asked.read_text().count("rollout restart") if asked.exists() else 0


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    sides = []
    for name, hub in (("bids-1", OLD_HUB), ("bids-2", NEW_HUB)):
        state = tmp_path / name
        (state / "acme").mkdir(parents=True)
        tls = {"mode": "acme", "email": "ops@example.org"}
        spec = sample_spec(name=name, machine={"state": str(state)}, tls=tls, names={"hub": hub})
        sides.append(Side(spec, Access(name, "198.51.100.7", 22, "root", tmp_path, tmp_path, tmp_path)))
    made = Lab(tmp_path, *sides)
    binary = tmp_path / "bin/k3s"
    binary.parent.mkdir()
    binary.write_text(K3S.format(folder=tmp_path, store=made.store(made.new)))
    binary.chmod(0o755)
    (tmp_path / "traefik").touch()
    monkeypatch.setenv("PATH", str(binary.parent), prepend=":")

    def run(access: Access, script: str, *, input: str | None = None, **_: Any) -> remote.Result:
        del access
        done = subprocess.run(["sh", "-c", script], input=input or "", capture_output=True, text=True, check=False)
        return remote.Result(done.returncode, done.stdout, done.stderr)

    monkeypatch.setattr(remote, "run", run)
    made.put(made.old, store_text(raw(BINDER, 3000), raw(OLD_HUB, 3000)))
    return made


def test_the_next_node_has_the_name_that_will_move(lab: Lab) -> None:
    lab.put(lab.new, store_text(raw(NEW_HUB, 3000)))
    assert carry_certificates(lab.old, lab.new, silent) == (BINDER, NEW_HUB)
    assert lab.names(lab.new) == [(NEW_HUB,), (BINDER,)]
    about = lab.store(lab.new).stat()
    assert (stat.S_IMODE(about.st_mode), about.st_uid, about.st_gid) == (0o600, TRAEFIK_UID, TRAEFIK_UID)
    assert lab.restarts() == 1
    assert sorted(path.name for path in lab.store(lab.new).parent.iterdir()) == ["acme.json"]
    assert lab.names(lab.old) == [(BINDER,), (OLD_HUB,)]


def test_a_second_time_nothing_is_done(lab: Lab) -> None:
    carry_certificates(lab.old, lab.new, silent)
    before = lab.store(lab.new).stat().st_mtime_ns
    assert carry_certificates(lab.old, lab.new, silent) == (BINDER,)
    assert (lab.store(lab.new).stat().st_mtime_ns, lab.restarts()) == (before, 1)


def test_before_there_is_a_traefik_the_file_alone_will_do(lab: Lab) -> None:
    (lab.folder / "traefik").unlink()
    assert carry_certificates(lab.old, lab.new, silent) == (BINDER,)
    assert lab.restarts() == 0


def test_killed_before_traefik_was_started_anew_the_next_call_does_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(side: Side) -> None:
        del side
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(carrying, "_read_anew", killed)
        with pytest.raises(KeyboardInterrupt):
            carry_certificates(lab.old, lab.new, silent)
    assert lab.restarts() == 0
    carry_certificates(lab.old, lab.new, silent)
    assert lab.restarts() == 1


def test_a_traefik_that_writes_over_it_is_outlasted(lab: Lab) -> None:
    (lab.folder / "over").write_text(store_text(raw(NEW_HUB, 3000)))
    assert carry_certificates(lab.old, lab.new, silent) == (BINDER, NEW_HUB)
    assert lab.restarts() == 2


def test_what_is_no_store_is_left_alone(lab: Lab) -> None:
    lab.put(lab.new, "{ not json")
    with pytest.raises(StepError, match=r"acme/acme\.json: it is no JSON") as caught:
        carry_certificates(lab.old, lab.new, silent)
    assert "PrivateKey" not in str(caught.value)
    assert lab.store(lab.new).read_text() == "{ not json"


def test_a_node_whose_host_is_not_made_yet_is_said(lab: Lab) -> None:
    lab.store(lab.new).parent.rmdir()
    with pytest.raises(StepError, match="binder-node up bids-2"):
        carry_certificates(lab.old, lab.new, silent)


def test_two_authorities_have_nothing_in_common(lab: Lab) -> None:
    tls = {"mode": "acme", "email": "ops@example.org", "directory": "https://other.example/directory"}
    other = replace(lab.new, spec=sample_spec(name="bids-2", tls=tls))
    with pytest.raises(InputError, match=r"tls\.directory: https://other\.example/directory is not where bids-1"):
        carry_certificates(lab.old, other, silent)


def test_without_acme_there_is_nothing_to_carry(lab: Lab) -> None:
    assert carry_certificates(lab.old, replace(lab.new, spec=sample_spec(name="bids-2")), silent) == ()
