"""A file of networks that users' code shall not reach."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path

import pytest

from binder_node.errors import InputError
from binder_node.host.firewall import table
from binder_node.spec import lists
from binder_node.spec.load import load
from tests.unit.host_samples import sample_spec

INVENTORY = """\
name: bids-1
provider: {kind: local, address: 198.18.0.20}
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
        load(inventory(tmp_path, "192.0.2.7\nbad.example.org\n0.0.0.0/0\n198.18.0.0/16\n10.1.2.3\n2001:db8::/32\n"))
    file = tmp_path / "banned.txt"
    right = "write an IPv4 address or network, like 203.0.113.0/24, or a repository, like github.com/org/name"
    narrow = "ban public networks of /8 or narrower"
    assert [str(problem) for problem in caught.value.problems] == [
        f"{file}:2: 'bad.example.org' would ban all of bad.example.org; {right}",
        f"{file}:3: 0.0.0.0/0 is too much of the world; {narrow}",
        f"{file}:4: 198.18.0.0/16 has the node's own address, 198.18.0.20; {narrow}",
        f"{file}:5: 10.1.2.3/32 is in 10.0.0.0/8, where the node's own parts and its neighbours are; {narrow}",
        f"{file}:6: '2001:db8::/32' is neither a network nor a repository; {right}",
    ]


def test_the_files_repositories_are_banned_too(tmp_path: Path) -> None:
    spec = load(inventory(tmp_path, "https://GitHub.com/Bad/  # all of it\n192.0.2.7\ngitlab.com/a/b/c.git\n"))
    assert spec.abuse.banned_repositories == ("github.com/bad", "gitlab.com/a/b/c")


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ("banned: [0.0.0.0/0]", "abuse.banned[0]: 0.0.0.0/0 is too much of the world; ban public"),
        ("banned: [198.51.100.0/24, 172.16.0.0/12]", "abuse.banned[1]: 172.16.0.0/12 is in 172.16.0.0/12, where the"),
        ("banned: [198.18.0.20/32]", "abuse.banned[0]: 198.18.0.20/32 has the node's own address, 198.18.0.20"),
        ("banned_repositories: [github.com]", "abuse.banned_repositories[0]: 'github.com' is no repository; write a"),
        ("banned_repositories: [192.0.2.1]", "abuse.banned_repositories[0]: '192.0.2.1' is no repository; write a"),
    ],
)
def test_what_would_cut_the_node_off_is_refused(tmp_path: Path, said: str, wrong: str) -> None:
    path = tmp_path / "bids-1.yaml"
    path.write_text(INVENTORY.replace("banned: [198.51.100.0/24], banned_file: banned.txt", said))
    with pytest.raises(InputError) as caught:
        load(path)
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"{path}:7: {wrong}")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("10.0.0.0/33", "neither"),
        ("1.2.3.4.5/x", "neither"),
        ("localhost/x", "neither"),
        ("github.com/org name", "neither"),
        ("https://github.com/", "would ban all of github.com"),
        ("github.com/../..", "would ban all of github.com"),
        ("127.0.0.0/8", "is in 127.0.0.0/8"),
        ("8.0.0.0/7", "too much of the world"),
        ("203.0.113.9/24", "has the node's own address, 203.0.113.1"),
    ],
)
def test_a_wrong_line_makes_a_wrong_list(line: str, problem: str) -> None:
    _, wrong = lists.read(f"# them\n{line}\n", "203.0.113.1")
    assert [one.line for one in wrong] == [2]
    assert problem in wrong[0].wrong


def test_a_list_is_bounded() -> None:
    many = "\n".join(f"github.com/a/{number}" for number in range(lists.MOST_LINES + 1))
    assert [one.wrong for one in lists.read(many)[1]] == ["it has 20001 lines"]
    wide = "\n".join(f"{first}.0.0.0/8" for first in range(20, 37))
    assert ["too much of the world" in one.wrong for one in lists.read(wide)[1]] == [True]
    assert lists.read("20.0.0.0/8\n20.1.0.0/16\n21.0.0.0/8")[0].networks == (IPv4Network("20.0.0.0/7"),)


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/Evil/Repo",
        "https://github.com/evil/repo.git",
        "git://user:word@www.github.com:9418/evil//repo.git/",
        "https://github.com./x/../evil/repo/",
        "https://github.com/%65vil/repo?a#b",
        "https://github.com/evil/repo/tree/main",
    ],
)
def test_a_repository_is_known_however_it_is_written(url: str) -> None:
    assert lists.is_banned(url, ["github.com/evil/repo"])
    assert lists.is_banned(url, ["github.com/evil"])


@pytest.mark.parametrize(
    "url", ["https://github.com/evil/repos", "https://gitlab.com/evil/repo", "https://github.com/a"]
)
def test_others_are_not_banned(url: str) -> None:
    assert not lists.is_banned(url, ["github.com/evil/repo"])


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
