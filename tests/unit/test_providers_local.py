"""The local provider's pure part: what a bare machine is handed, and how it is booted."""

from __future__ import annotations

from pathlib import Path

import pytest

from binder_node.node import Access
from binder_node.providers.local import cgroups
from binder_node.providers.local.plan import Folders, bridge_name, clash, machine_files, nspawn_argv, seed_files
from binder_node.providers.userdata import document, user_data
from binder_node.remote import ssh_config
from binder_node.secrets.generate import generate
from binder_node.spec.load import load
from binder_node.spec.model import Spec

DEMO = Path(__file__).parents[2] / "inventories/demo.yaml"


@pytest.fixture(scope="module")
def spec() -> Spec:
    return load(DEMO)


def test_user_data_hands_over_the_host_key_and_takes_no_password(spec: Spec) -> None:
    from ruamel.yaml import YAML

    secrets = generate()
    text = user_data(spec, secrets)
    assert text.startswith("#cloud-config\n")
    assert YAML(typ="safe").load(text) == {
        "hostname": "demo",
        "manage_etc_hosts": False,
        "disable_root": False,
        "ssh_pwauth": False,
        "ssh_deletekeys": True,
        "ssh_genkeytypes": [],
        "ssh_keys": {"ed25519_private": secrets.host_key.reveal(), "ed25519_public": secrets.host_key_public},
        "users": [{"name": "root", "ssh_authorized_keys": [secrets.login_key_public]}],
        "swap": {"size": 0},
    }


def with_ssh(spec: Spec, **changed: object) -> Spec:
    return spec.model_copy(update={"ssh": spec.ssh.model_copy(update=changed)})


def test_a_login_that_is_not_root_may_become_root(spec: Spec) -> None:
    secrets = generate()
    admin = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA ada"
    made = document(with_ssh(spec, user="debian", admins=(admin,)), secrets)
    assert made["users"] == [
        {
            "name": "debian",
            "ssh_authorized_keys": [secrets.login_key_public],  # the admins' are the host room's to keep
            "shell": "/bin/bash",
            "lock_passwd": True,
            "sudo": "ALL=(ALL) NOPASSWD:ALL",
        }
    ]
    files = seed_files(made)
    assert files["etc/sudoers.d/90-cloud-init-users"] == ("debian ALL=(ALL) NOPASSWD:ALL\n", 0o440)
    assert files["home/debian/.ssh/authorized_keys"] == (secrets.login_key_public.strip() + "\n", 0o600)


def test_sshd_listens_where_the_inventory_says(spec: Spec) -> None:
    name = "etc/ssh/sshd_config.d/10-port.conf"
    assert name not in machine_files(spec)
    assert machine_files(with_ssh(spec, port=2222))[name] == ("Port 2222\n", 0o644)


@pytest.mark.parametrize(
    ("ifname", "address", "prefix", "said"),
    [
        ("eth0", "192.0.2.2", 24, ""),
        ("eth0", "198.18.1.1", 24, ""),
        ("wg0", "198.18.0.7", 32, "198.18.0.0/24 overlaps 198.18.0.7/32, which wg0 has"),
        ("bn-00000000", "198.18.0.1", 24, "198.18.0.0/24 overlaps 198.18.0.1/24, which bn-00000000 has"),
        ("tun0", "198.19.0.1", 15, "198.18.0.0/24 overlaps 198.19.0.1/15, which tun0 has"),
    ],
)
def test_a_network_that_is_taken_is_named_with_its_holder(
    spec: Spec, ifname: str, address: str, prefix: int, said: str
) -> None:
    ours = {"ifname": bridge_name(spec), "addr_info": [{"local": "198.18.0.1", "prefixlen": 24}]}
    other = {"ifname": ifname, "addr_info": [{"local": address, "prefixlen": prefix}]}
    assert clash(spec, [ours, other, {}]) == said


def test_every_controller_is_offered_where_cgroups_are_unified(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset memory\n")
    (tmp_path / "cgroup.subtree_control").write_text("")
    assert cgroups.make("m", tmp_path) == [tmp_path / "m/cgroup.procs"]
    assert (
        tmp_path / "cgroup.subtree_control"
    ).read_text() == "+memory"  # the last of two writes: a file, not a kernel
    assert cgroups.remove("m", 1, tmp_path) == []
    assert not (tmp_path / "m").exists()


def test_the_local_machine_reads_the_same_document(spec: Spec) -> None:
    secrets = generate()
    files = seed_files(document(spec, secrets))
    assert sorted(files) == [
        "etc/hostname",
        "etc/hosts",
        "etc/ssh/ssh_host_ed25519_key",
        "etc/ssh/ssh_host_ed25519_key.pub",
        "etc/ssh/sshd_config.d/50-cloud-init.conf",
        "root/.ssh/authorized_keys",
    ]
    assert files["etc/ssh/ssh_host_ed25519_key"][1] == 0o600
    assert files["root/.ssh/authorized_keys"] == (secrets.login_key_public.strip() + "\n", 0o600)
    assert files["etc/hosts"][0] == "127.0.0.1 localhost\n127.0.1.1 demo\n"


def test_a_key_of_user_data_that_it_does_not_know_is_refused(spec: Spec) -> None:
    with pytest.raises(ValueError, match="runcmd"):
        seed_files({**document(spec, generate()), "runcmd": ["true"]})


def test_the_machine_is_booted_with_its_state_on_a_plain_folder(spec: Spec) -> None:
    argv = nspawn_argv(spec, Folders(Path("/m/demo")))
    assert argv[: argv.index("--bind=/dev/kmsg") + 2] == [
        "systemd-nspawn",
        "--quiet",
        "--boot",
        "--directory=/m/demo/root",
        "--machine=demo",
        "--hostname=demo",
        "--capability=all",
        "--private-users=no",
        "--register=no",
        "--keep-unit",
        "--link-journal=no",
        "--resolv-conf=off",
        "--timezone=off",
        "--console=pipe",
        f"--network-bridge={bridge_name(spec)}",
        "--bind=/dev/kmsg",
        "--bind=/m/demo/disk/state:/var/lib/binder-node",
    ]
    assert len(bridge_name(spec)) <= 15


def test_the_network_is_the_inventorys(spec: Spec) -> None:
    script = machine_files(spec)["etc/binder-node-local"][0]
    assert "ip addr replace 198.18.0.20/24 dev host0\n" in script
    assert "ip route replace default via 198.18.0.1\n" in script


def test_ssh_is_strict_and_uses_nothing_of_the_users() -> None:
    folder = Path("/run/n")
    access = Access("demo", "198.18.0.20", 22, "root", folder / "key", folder / "known", folder / "ssh_config")
    lines = [line.strip() for line in ssh_config(access).splitlines()]
    assert lines[0] == "Host demo"
    assert "StrictHostKeyChecking yes" in lines
    assert "UserKnownHostsFile /run/n/known" in lines
    assert "GlobalKnownHostsFile none" in lines
    assert "HostKeyAlias demo" in lines
    assert "IdentityAgent none" in lines


def test_a_path_too_long_for_a_socket_means_a_connection_a_command() -> None:
    folder = Path("/home") / ("long" * 25)
    access = Access("demo", "198.18.0.20", 22, "root", folder / "key", folder / "known", folder / "ssh_config")
    lines = [line.strip() for line in ssh_config(access).splitlines()]
    assert [line for line in lines if line.startswith("Control")] == ["ControlMaster no", "ControlPath none"]
