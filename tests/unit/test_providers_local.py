"""The local provider's pure part: what a bare machine is handed, and how it is booted."""

from __future__ import annotations

from pathlib import Path

import pytest

from binder_node.node import Access
from binder_node.providers.local.plan import Folders, bridge_name, machine_files, nspawn_argv, seed_files
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
