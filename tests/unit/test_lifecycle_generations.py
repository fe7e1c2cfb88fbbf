"""Two generations' inventories and secrets on the disk: written, found, retired, and what is refused before that."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from binder_node.errors import InputError
from binder_node.lifecycle import generations
from binder_node.lifecycle.standing import Pair, pair_of
from binder_node.rotation.successor import next_name, setting
from binder_node.secrets.store import SecretStore
from binder_node.spec.load import load

INVENTORY = """\
name: bids-1
provider: {kind: ssh, address: 127.0.0.7}
machine: {cpus: 2, memory: 12G, disk: 40G}
names: {binder: bids.example.org}
dns: {kind: manual}
tls: {mode: none}
storage: {kind: s3, endpoint: "https://s3.test", bucket: bids-registry}
"""
ADDRESS = setting("provider.address=127.0.0.8")
COMMAND = str(Path(sys.executable).with_name("binder-node"))


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BINDER_NODE_IDENTITY", str(tmp_path / "identity.txt"))
    monkeypatch.setenv("BINDER_NODE_S3_ACCESS_KEY", "access")
    monkeypatch.setenv("BINDER_NODE_S3_SECRET_KEY", "secret")
    folder = tmp_path / "inventories"
    folder.mkdir()
    made = folder / "bids-1.yaml"
    made.write_text(INVENTORY)
    (folder / "bids-1.pins.toml").write_text("[images]\n")
    SecretStore(made).ensure()
    return made


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_next_generation_has_the_same_secrets_but_for_its_ssh_keys(old: Path) -> None:
    new = generations.write(old, load(old), "bids-2", [ADDRESS])
    assert load(new).replaces == "bids-1"
    assert new.with_suffix(".pins.toml").read_text() == "[images]\n"
    first, second = SecretStore(old).document().values, SecretStore(new).document().values
    other = {name for name in first if first[name] != second[name]}
    assert other == {"host_key", "host_key_public", "login_key", "login_key_public"}
    assert set(first) == set(second)


def test_it_is_found_and_retired_and_then_nothing_is_left_to_find(old: Path) -> None:
    new = generations.write(old, load(old), "bids-2", [ADDRESS])
    assert (generations.successor_of(old), generations.successor_of(new)) == ("bids-2", "")
    generations.retire(old)
    assert files(old.parent) == ["bids-2.pins.toml", "bids-2.yaml", "retired/bids-1.pins.toml", "retired/bids-1.yaml"]
    assert files(old.parent.parent / "secrets") == ["bids-2.age", "retired/bids-1.age"]
    generations.retire(old)
    pair = Pair(old, new)
    assert not pair.over
    generations.settle(new)
    assert load(new).replaces == ""
    assert Pair(old, new).over


@pytest.mark.parametrize("name", ["bids-1", "inventories/bids-1.yaml"])
def test_a_run_that_was_killed_at_the_very_end_finds_its_way(
    old: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(old.parent.parent)
    assert pair_of(name, "", None, next_name).new.stem == "bids-2"
    new = generations.write(old, load(old), "large", [ADDRESS])
    assert pair_of(name, "", None, next_name).new.stem == "large"
    with pytest.raises(InputError, match="large takes the place of bids-1 already"):
        pair_of(name, "bids-2", None, next_name)
    generations.retire(old)
    pair = pair_of(name, "", None, next_name)
    assert (pair.old.stem, pair.new.stem, pair.over) == ("bids-1", "large", False)
    generations.settle(new)
    assert pair_of(name, "", None, next_name).over
    with pytest.raises(InputError, match="there is no such inventory"):
        pair_of("nobody", "", None, next_name)


def test_what_would_be_wrong_is_refused_and_nothing_is_written(old: Path) -> None:
    before = files(old.parent.parent)
    for settings, message in (
        ([], "provider.address: 127.0.0.7 is bids-1's"),
        ([ADDRESS, setting("machine.memory=lots")], "machine.memory: "),
        ([ADDRESS, setting("names.hub=hub.bids.example.org")], "names.hub: "),
        ([ADDRESS, setting("machine.mem=3G")], "machine.mem: unknown key"),
    ):
        with pytest.raises(InputError, match=message):
            generations.write(old, load(old), "bids-2", settings)
    (old.parent / "bids-3.yaml").write_text(INVENTORY.replace("bids-1", "bids-3"))
    with pytest.raises(InputError, match=r"bids-3.yaml: is there, and does not replace this node"):
        generations.write(old, load(old), "bids-3", [ADDRESS])
    (old.parent / "bids-3.yaml").unlink()
    assert files(old.parent.parent) == before


def test_a_dry_run_of_a_node_whose_names_nobody_writes_is_refused(old: Path) -> None:
    old.write_text(INVENTORY.replace("{kind: manual}", "{kind: none}"))
    done = subprocess.run(
        [COMMAND, "rotate", str(old), "--dry-run", "-o", "json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "dns.kind: none: what moves launches" in done.stderr


def test_a_dry_run_shows_the_timeline_and_writes_nothing(old: Path) -> None:
    old.write_text(f"{INVENTORY}cost: {{machine: 73, address: 0}}\n")
    before = files(old.parent.parent)
    argv = [COMMAND, "rotate", str(old), "--set", "provider.address=127.0.0.8", "--set", "cost.machine=146"]
    done = subprocess.run([*argv, "--dry-run", "-o", "json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert (shown["old"], shown["new"], shown["currency"]) == ("bids-1", "bids-2", "EUR")
    assert [phase["step"] for phase in shown["phases"]] == [
        "up", "warm", "smoke", "move", "settle", "drain", "wait", "destroy",
    ]  # fmt: skip
    assert shown["cost"]["likely"] is not None
    assert files(old.parent.parent) == before


def test_without_a_terminal_it_wants_the_old_nodes_name(old: Path) -> None:
    for more in ([], ["--yes", "bids-2"]):
        done = subprocess.run(
            [COMMAND, "rotate", str(old), *more],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 2
        assert "nothing was done" in done.stderr
