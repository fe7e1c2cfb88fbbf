"""The kernel's settings, modules, swap and the clock."""

from __future__ import annotations

from binder_node.host.wanted import Component, File, Link, Unit, unit_file

# What one node of the federation ran out of (mybinder.org-deploy #3173); the rest is what Kubernetes' networking asks.
# vm.overcommit_memory, kernel.panic and kernel.panic_on_oops are the kubelet's to set: it does at each start.
SYSCTLS = {
    "fs.inotify.max_user_instances": "8192",
    "fs.inotify.max_user_watches": "524288",
    "net.ipv4.ip_forward": "1",
    # Packets between two build steps cross a bridge: without this the firewall never sees them.
    "net.bridge.bridge-nf-call-iptables": "1",
    "net.bridge.bridge-nf-call-ip6tables": "1",
}
MODULES = ("br_netfilter", "overlay")
SYSCTL_FILE, MODULES_FILE = "/etc/sysctl.d/90-binder-node.conf", "/etc/modules-load.d/binder-node.conf"
SWAPOFF = "binder-node-swapoff.service"
# A machine may bring its provider's own choice of these; one that is enabled is enough.
OTHER_CLOCKS = ("chrony.service", "chronyd.service", "ntpsec.service", "ntp.service", "openntpd.service")


def kernel() -> Component:
    """The same on every node."""
    sysctl = "# Made by binder-node.\n" + "".join(f"{key} = {value}\n" for key, value in SYSCTLS.items())
    return Component(
        "kernel",
        files=(
            File(SYSCTL_FILE, sysctl.encode()),
            File(MODULES_FILE, ("# Made by binder-node.\n" + "".join(f"{name}\n" for name in MODULES)).encode()),
        ),
        # Memory limits mean nothing beside swap. A reboot once brought it back (mybinder.org-deploy #3040): the mask
        # keeps fstab's from being pulled in, the unit turns off what came another way.
        links=(Link("/etc/systemd/system/swap.target", "/dev/null"),),
        units=(
            Unit("systemd-modules-load.service", enabled=False, restart_on=(MODULES_FILE,)),
            Unit("systemd-sysctl.service", enabled=False, restart_on=(SYSCTL_FILE,)),
            Unit(SWAPOFF, _swapoff()),
            Unit("systemd-timesyncd.service", running=False, instead_of=OTHER_CLOCKS),
        ),
        sysctls=SYSCTLS,
    )


def _swapoff() -> str:
    return unit_file(
        Unit=[
            ("Description", "No swap (binder-node)"),
            # A container's /proc/swaps is its host's.
            ("ConditionVirtualization", "!container"),
            ("Before", "k3s.service"),
        ],
        Service=[("Type", "oneshot"), ("RemainAfterExit", "yes"), ("ExecStart", "/sbin/swapoff -a")],
        Install=[("WantedBy", "multi-user.target")],
    )
