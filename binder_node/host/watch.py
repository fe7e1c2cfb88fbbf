"""What remembers who asked for what: a program on the node beside the firewall, which forgets with its sets."""

from __future__ import annotations

from importlib.resources import files

from binder_node.host.limits import MET_SECONDS
from binder_node.host.wanted import FOR_EVER, Component, File, Folder, Unit, unit_file
from binder_node.layout import ABUSE_STATE, BUILD_GROUP, BUILD_LOGS, K3S_KUBECONFIG, LIB, NAMESPACE
from binder_node.spec.model import Spec

UNIT = "binder-node-watch.service"
MODULES = ("__init__", "__main__", "api", "facts", "journal", "steps")


def watch(spec: Spec) -> Component:
    """The program and its unit."""
    folder = f"{LIB}/watch"
    source = files("binder_node.host.on_node.watch")
    programs = tuple(File(f"{folder}/{name}.py", (source / f"{name}.py").read_bytes()) for name in MODULES)
    return Component(
        "watch",
        folders=(
            Folder(folder),
            Folder(f"{spec.machine.state}/{ABUSE_STATE}", 0o700),
            Folder(str(BUILD_LOGS.parent)),
            Folder(str(BUILD_LOGS), 0o700),
        ),
        files=programs,
        units=(Unit(UNIT, _unit(spec), restart_on=tuple(file.path for file in programs)),),
    )


def _unit(spec: Spec) -> str:
    arguments = {
        "state": f"{spec.machine.state}/{ABUSE_STATE}",
        "logs": str(BUILD_LOGS),
        "kubeconfig": str(K3S_KUBECONFIG),
        "namespace": NAMESPACE,
        "builds": str(spec.buildkit.network),
        "group": BUILD_GROUP,
        "days": str(spec.abuse.keep_days),
        "met": str(MET_SECONDS),
    }
    # A per cent sign is systemd's own.
    words = " ".join(f"--{name}={value}" for name, value in arguments.items()).replace("%", "%%")
    return unit_file(
        Unit=[
            ("Description", "Who asked for what, and was cut (binder-node)"),
            ("After", "binder-node-firewall.service k3s.service"),
            ("RequiresMountsFor", f"{spec.machine.state}/{ABUSE_STATE}"),
            FOR_EVER,
        ],
        Service=[
            ("WorkingDirectory", str(LIB)),
            ("RuntimeDirectory", "binder-node-watch"),
            ("RuntimeDirectoryMode", "0700"),
            ("ExecStart", f"/usr/bin/python3 -m watch {words}"),
            ("Nice", "10"),
            ("MemoryMax", "512M"),
            ("Restart", "always"),
            ("RestartSec", "5"),
        ],
        Install=[("WantedBy", "multi-user.target")],
    )
