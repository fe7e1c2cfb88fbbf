"""The pure part of the local provider: names, paths, argv and files, from a Spec."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

from binder_node.spec.model import LocalProvider, Spec

# What a cloud image of the suite has and a node needs; the host room installs nothing that is missing here.
PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "openssh-server", "ca-certificates", "python3-minimal", "iproute2", "iptables",
    "nftables", "ipset", "conntrack", "ethtool", "socat", "procps", "kmod", "curl", "rsync", "xfsprogs", "zstd",
    "systemd-timesyncd", "libpam-systemd", "sudo",
)  # fmt: skip

# Change it when what `roots.py` does to a root changes.
ROOT_VERSION = 2

# Linux's IFNAMSIZ leaves 15 bytes for an interface's name.
BRIDGE_PREFIX = "bn-"


def root_key(suite: str) -> str:
    """Names the cached root: another suite, package list or recipe is another root."""
    text = f"{ROOT_VERSION} {suite} {' '.join(PACKAGES)}"
    return f"{suite}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def mmdebstrap_argv(suite: str, target: Path) -> list[str]:
    """Make the suite's root, without its documentation, package lists and archives.

    In a process namespace that ends with its maker: nothing goes on writing when that is killed.
    """
    return [
        *("setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child", "--mount-proc"),
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        f"--include={','.join(PACKAGES)}",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--format=directory",
        suite,
        str(target),
    ]


def bridge_name(spec: Spec) -> str:
    """The bridge that machines of one network share; found by the network, not by the node."""
    return network_bridge(local(spec).network)


def network_bridge(network: IPv4Network) -> str:
    return BRIDGE_PREFIX + hashlib.sha256(str(network).encode()).hexdigest()[:8]


def gateway(spec: Spec) -> str:
    """This computer's address on the bridge: the network's first."""
    return str(local(spec).network.network_address + 1)


def local(spec: Spec) -> LocalProvider:
    """The Spec's provider, which is a local one wherever this module is asked."""
    assert isinstance(spec.provider, LocalProvider)
    return spec.provider


def clash(spec: Spec, shown: list[dict[str, Any]]) -> str:
    """Whose addresses the network's are already; empty when nobody's but our bridge's.

    ``shown`` is what ``ip -j -4 address show`` prints: ``[{"ifname", "addr_info": [{"local", "prefixlen"}]}]``.
    """
    for link in shown:
        if link.get("ifname") == bridge_name(spec):
            continue
        for entry in link.get("addr_info", []):
            other = IPv4Interface(f"{entry['local']}/{entry['prefixlen']}")
            if other.network.overlaps(local(spec).network):
                return f"{local(spec).network} overlaps {other}, which {link['ifname']} has"
    return ""


@dataclass(frozen=True, slots=True)
class Folders:
    """Where one machine lies: everything of it, so that its end is this folder's end."""

    base: Path

    @property
    def group(self) -> str:
        """The machine's cgroup; by its folder, for two homes may each have a node of one name."""
        return f"binder-node-local-{self.base.name}-{hashlib.sha256(str(self.base).encode()).hexdigest()[:8]}"

    @property
    def lower(self) -> Path:
        """Link to the cached root that the machine was made from; it stays with that one when the cache has a newer."""
        return self.base / "lower"

    @property
    def image(self) -> Path:
        """The machine's disk, sparse: all that it writes is in this one file, and goes with it at once."""
        return self.base / "disk.img"

    @property
    def disk(self) -> Path:
        """Mount point of ``image``."""
        return self.base / "disk"

    @property
    def upper(self) -> Path:
        return self.disk / "upper"

    @property
    def work(self) -> Path:
        return self.disk / "work"

    @property
    def state(self) -> Path:
        """What is bound at the Spec's state folder. Not on the overlay: containerd's own may have none below them."""
        return self.disk / "state"

    @property
    def root(self) -> Path:
        """Mount point of the overlay: the machine's ``/``."""
        return self.base / "root"

    @property
    def record(self) -> Path:
        """Process id and start time of the machine's supervisor, as JSON."""
        return self.base / "machine.json"

    @property
    def console(self) -> Path:
        return self.base / "console.log"


def nspawn_argv(spec: Spec, folders: Folders) -> list[str]:
    """Boot the machine. No unit of this computer's systemd is needed: it runs where there is none.

    A container runtime must work inside: all capabilities, writable /proc/sys, no seccomp filter (set by the caller in
    the environment), /dev/kmsg for the kubelet and /dev/fuse for whoever mounts.
    """
    argv = [
        "systemd-nspawn",
        "--quiet",
        "--boot",
        f"--directory={folders.root}",
        f"--machine={spec.name}",
        f"--hostname={spec.name}",
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
        f"--bind={folders.state}:{spec.machine.state}",
    ]
    return [*argv, *([f"--bind={path}" for path in ("/dev/fuse", "/dev/net/tun") if Path(path).exists()])]


# What nspawn reads from its environment (https://systemd.io/ENVIRONMENT/).
NSPAWN_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "SYSTEMD_SECCOMP": "0",
    "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "1",
}

# A machine's own unit before the network: cgroup v1 hierarchies come read-only into a container (bind first, or it
# works in one machine only), and networkd waits for a udev that a container does not have.
UNIT = """\
[Unit]
Description=The local machine's network and cgroups
DefaultDependencies=no
Before=network-pre.target sshd.service ssh.service
Wants=network-pre.target
After=local-fs.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/etc/binder-node-local

[Install]
WantedBy=sysinit.target
"""

SCRIPT = """\
#!/bin/sh
set -e
for controller in /sys/fs/cgroup/*; do
  if [ -e "$controller/cgroup.procs" ] && [ "$(stat -fc %T "$controller")" != cgroup2fs ]; then
    mount -o remount,bind,rw "$controller" || true
  fi
done
mount --make-rshared /
ip link set lo up
ip addr replace {address}/{prefix} dev host0
ip link set host0 up
ip route replace default via {gateway}
"""


def machine_files(spec: Spec) -> dict[str, tuple[str, int]]:
    """Files of a local machine besides those of its user-data: path below ``/`` -> (text, mode)."""
    provider = local(spec)
    script = SCRIPT.format(address=provider.address, prefix=provider.network.prefixlen, gateway=gateway(spec))
    port = {} if spec.ssh.port == 22 else {"etc/ssh/sshd_config.d/10-port.conf": (f"Port {spec.ssh.port}\n", 0o644)}
    return {
        **port,
        "etc/systemd/system/binder-node-local.service": (UNIT, 0o644),
        "etc/binder-node-local": (script, 0o755),
        "etc/resolv.conf": (f"nameserver {gateway(spec)}\n", 0o644),
        "etc/machine-id": (hashlib.sha256(f"binder-node {spec.name}".encode()).hexdigest()[:32] + "\n", 0o444),
    }


MACHINE_LINKS = {
    "etc/systemd/system/sysinit.target.wants/binder-node-local.service": "../binder-node-local.service",
}


def seed_files(document: dict[str, Any]) -> dict[str, tuple[str, int]]:
    """What cloud-init would make of the user-data ``document``: path below ``/`` -> (text, mode).

    Reads the keys that :mod:`binder_node.providers.userdata` writes, and no others: cloud-init itself would cost
    several seconds of each boot.

    Raises:
        ValueError: the document holds a key that is not understood here.
    """
    known = {
        "hostname", "manage_etc_hosts", "disable_root", "ssh_pwauth", "ssh_deletekeys", "ssh_genkeytypes", "ssh_keys",
        "users", "swap",
    }  # fmt: skip
    if unknown := set(document) - known:
        raise ValueError(f"user-data keys not understood by the local machine: {', '.join(sorted(unknown))}")
    keys = document["ssh_keys"]
    files = {
        "etc/hostname": (document["hostname"] + "\n", 0o644),
        "etc/hosts": (f"127.0.0.1 localhost\n127.0.1.1 {document['hostname']}\n", 0o644),
        "etc/ssh/ssh_host_ed25519_key": (_ended(keys["ed25519_private"]), 0o600),
        "etc/ssh/ssh_host_ed25519_key.pub": (_ended(keys["ed25519_public"]), 0o644),
        "etc/ssh/sshd_config.d/50-cloud-init.conf": ("PasswordAuthentication no\nUseDNS no\n", 0o644),
    }
    for user in document["users"]:
        home = "root" if user["name"] == "root" else f"home/{user['name']}"
        text = "".join(_ended(key) for key in user["ssh_authorized_keys"])
        files[f"{home}/.ssh/authorized_keys"] = (text, 0o600)
        if "sudo" in user:
            files["etc/sudoers.d/90-cloud-init-users"] = (f"{user['name']} {user['sudo']}\n", 0o440)
    return files


def _ended(text: str) -> str:
    return text if text.endswith("\n") else text + "\n"
