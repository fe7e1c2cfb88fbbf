"""A file of networks that users' code shall not reach."""

from __future__ import annotations

from pathlib import Path

import pytest

from binder_node.errors import InputError
from binder_node.host.firewall import table
from binder_node.spec.load import load
from tests.unit.host_samples import sample_spec

INVENTORY = """\
name: bids-1
provider: {kind: local}
machine: {cpus: 2, memory: 12G, disk: 40G}
names: {binder: bids.example.org}
tls: {mode: none}
storage: {kind: node}
abuse: {banned: [198.51.100.0/24], banned_file: banned.txt}
"""


def inventory(folder: Path, banned: str | None) -> Path:
    path = folder / "bids-1.yaml"
    path.write_text(INVENTORY)
    if banned is not None:
        (folder / "banned.txt").write_text(banned)
    return path


def test_the_files_networks_are_banned_beside_the_inventorys(tmp_path: Path) -> None:
    spec = load(inventory(tmp_path, "# them\n192.0.2.7\n192.0.2.128/25  # and those\n"))
    assert [str(network) for network in spec.abuse.banned] == ["198.51.100.0/24", "192.0.2.7/32", "192.0.2.128/25"]
    assert "elements = { 192.0.2.7/32, 192.0.2.128/25, 198.51.100.0/24 }" in table(spec)


def test_each_wrong_line_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load(inventory(tmp_path, "192.0.2.7\nbad.example.org\n0.0.0.0/0\n"))
    file = tmp_path / "banned.txt"
    assert [str(problem) for problem in caught.value.problems] == [
        f"{file}:2: 'bad.example.org' is no network; write an IPv4 address or network, like 203.0.113.0/24",
        f"{file}:3: 0.0.0.0/0 is too much of the world; ban networks of /8 or narrower",
    ]


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load(inventory(tmp_path, None))


def test_limits_are_the_inventorys() -> None:
    text = table(sample_spec(abuse={"targets": 40, "targets_rate": 2, "upload": None, "cut": 60}))
    assert "limit rate over 2/second burst 40 packets" in text
    assert "timeout 60s; counter;" in text
    assert "@heavy {" not in text
    # A central deploy's pods push images, and its chart limits users'.
    assert "@heavy {" not in table(sample_spec(deploy="federation", federation={"member": "bids-ovh"}))
