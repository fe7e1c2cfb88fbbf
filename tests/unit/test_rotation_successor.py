"""The next generation's inventory, as a reviewer sees it: the present one with a few lines changed."""

from __future__ import annotations

import difflib

import pytest

from binder_node.errors import InputError
from binder_node.rotation.successor import hub_name, next_name, setting, settled, written

INVENTORY = """\
# Our member.
name: bids-1  # by hand
provider: {kind: local, address: 198.18.0.20}
machine: {cpus: 2, memory: 12G, disk: 40G}
names: {binder: bids.example.org}

# No default.
binderhub:
  # Sessions and builds.
  quota: 60
"""


def changed(new: str, old: str = INVENTORY) -> list[str]:
    rows = difflib.unified_diff(old.splitlines(), new.splitlines(), n=0, lineterm="")
    return [row for row in rows if not row.startswith(("---", "+++", "@@"))]


def made(*settings: str, text: str = INVENTORY, to: str = "bids-2") -> str:
    return written(text, "bids-1.yaml", "bids-1", to, "bids.example.org", [setting(one) for one in settings])


def test_name_predecessor_and_hub_are_other_and_nothing_else() -> None:
    assert changed(made()) == [
        "-name: bids-1  # by hand",
        "+name: bids-2  # by hand",
        "+replaces: bids-1",
        "-names: {binder: bids.example.org}",
        "+names: {binder: bids.example.org, hub: hub-2.bids.example.org}",
    ]


def test_what_the_operator_sets_stands_where_the_key_is_or_in_its_section() -> None:
    new = made("machine.memory=192G", "provider.address=198.18.0.21", "binderhub.per_repo_quota=20", "tls.mode=none")
    assert "machine: {cpus: 2, memory: 192G, disk: 40G}" in new
    assert "provider: {kind: local, address: 198.18.0.21}" in new
    assert "  quota: 60\n  per_repo_quota: 20\n" in new
    assert new.endswith("tls:\n  mode: none\n")


def test_lists_are_replaced_where_they_are_written_in_one_line() -> None:
    text = f"{INVENTORY}ssh:\n  admin_networks: [192.0.2.0/24]\n  admins:\n    - x\n"
    assert "admin_networks: [10.0.0.0/8]" in made("ssh.admin_networks=[10.0.0.0/8]", text=text)
    with pytest.raises(InputError, match=r"bids-1.yaml:15: ssh.admins: is written over several lines"):
        made("ssh.admins=[]", text=text)


def test_a_drained_quota_is_what_it_was_before() -> None:
    drained = INVENTORY.replace("quota: 60", "quota: 0  # drained by binder-node; before: 60")
    assert made(text=drained) == made()


def test_the_next_generation_of_a_generation() -> None:
    first = made()
    second = written(first, "bids-2.yaml", "bids-2", "bids-3", "bids.example.org", [])
    assert changed(second, first) == [
        "-name: bids-2  # by hand",
        "-replaces: bids-1",
        "+name: bids-3  # by hand",
        "+replaces: bids-2",
        "-names: {binder: bids.example.org, hub: hub-2.bids.example.org}",
        "+names: {binder: bids.example.org, hub: hub-3.bids.example.org}",
    ]


def test_once_it_has_taken_its_place_it_replaces_none() -> None:
    assert settled(made(), "bids-2.yaml") == made().replace("replaces: bids-1\n", "")
    assert settled(INVENTORY, "x") == INVENTORY


def test_windows_line_ends_stay() -> None:
    new = made(text=INVENTORY.replace("\n", "\r\n"))
    assert new.count("\r\n") == new.count("\n")


@pytest.mark.parametrize("text", ["memory", "=4", "machine.memory=", "machine..memory=4"])
def test_what_is_no_setting_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="write key=value"):
        setting(text)


def test_a_setting_below_what_is_no_section_is_refused() -> None:
    with pytest.raises(InputError, match=r"--set kubernetes.a.b: kubernetes.a is no section"):
        made("kubernetes.a.b=1")


def test_names() -> None:
    assert [next_name(name) for name in ("bids-1", "bids", "bids-2b", "a-99")] == [
        "bids-2",
        "bids-2",
        "bids-2b-2",
        "a-100",
    ]
    assert hub_name("bids-2b", "b.org") == "hub-bids-2b.b.org"
