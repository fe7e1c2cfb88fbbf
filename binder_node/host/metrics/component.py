"""Prometheus, Alertmanager, node exporter and our own program of numbers, as one component of the host."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from binder_node.artifacts.model import Artifact
from binder_node.host.firewall import TABLE
from binder_node.host.jobs import jobs
from binder_node.host.kernel import SWAPOFF
from binder_node.host.metrics.config import (
    ALERTMANAGER,
    FOLDER,
    MEASURED,
    PROMETHEUS,
    RULES,
    alertmanager_text,
    prometheus_text,
    secret_file,
    secret_texts,
)
from binder_node.host.metrics.machine import WATCHED
from binder_node.host.metrics.rules import rules_text
from binder_node.host.programs import FOLDER as PROGRAMS
from binder_node.host.programs import FROM, program, run
from binder_node.host.recording import folder as records
from binder_node.host.wanted import FOR_EVER, Component, File, Folder, Link, Unit, Upload, User, Wait, unit_file
from binder_node.layout import (
    ALERTMANAGER_PORT,
    BIN,
    ETC,
    EXPORTER_PORT,
    K3S_DATA,
    K3S_KUBECONFIG,
    METRICS_ACCOUNT,
    METRICS_STATE,
    NAMESPACE,
    PROMETHEUS_PORT,
    PULL_PORT,
    PUSH_PORT,
)
from binder_node.secrets.model import Secrets
from binder_node.spec.model import Spec

OWNER = "prometheus"
MEASURE, EXPORTER = "binder-node-measure.service", "binder-node-exporter.service"
PROMETHEUS_UNIT, ALERTMANAGER_UNIT = "binder-node-prometheus.service", "binder-node-alertmanager.service"
UNITS = (PROMETHEUS_UNIT, ALERTMANAGER_UNIT, EXPORTER, MEASURE)
CONFIG = str(ETC / "measure.json")
ARTIFACTS = ("prometheus", "alertmanager", "node-exporter")
# It talks to Kubernetes as the program does that remembers who was cut.
MODULES = (*(f"measure/{name}" for name in ("__init__", "__main__", "ask", "facts")), "watch/__init__", "watch/api")
# Of node exporter's collectors those that say something of a node of ours.
COLLECTORS = ("cpu", "diskstats", "filefd", "filesystem", "loadavg", "meminfo", "netdev", "pressure", "stat", "sysctl",
              "textfile", "vmstat")  # fmt: skip
# Real filesystems, each once: bind mounts of the state folder are the same disk.
FILESYSTEMS = "^(btrfs|ext[234]|f2fs|xfs|zfs)$"
MOUNTS_NOT = "^/(dev|proc|run|sys|var/lib/(kubelet|rancher))($|/)"
DEVICES_NOT = "^(veth.*|lo|cni.*|flannel.*)$"
# Of Prometheus' memory limit, what Go shall keep to by itself.
GO_SHARE = 0.8


def metrics(
    spec: Spec, secrets: Secrets, artifacts: Mapping[str, Artifact], address: str, units: Iterable[str]
) -> Component:
    """``units`` are those of the node that run all the time.

    Raises:
        InputError: a way to tell alerts has no secret.
    """
    uploads = {name: Upload(artifacts[name]) for name in ARTIFACTS}
    links = {name: Link(str(BIN / name), upload.path) for name, upload in uploads.items()}
    state = f"{spec.machine.state}/{METRICS_STATE}"
    programs = tuple(program(name) for name in MODULES)
    secret = tuple(
        File(secret_file(kind), text.reveal().encode(), 0o640, group=OWNER, secret=True)
        for kind, text in secret_texts(spec, secrets).items()
    )
    asked = File(CONFIG, (json.dumps(configuration(spec, address, [*units, *UNITS]), indent=1) + "\n").encode())
    rules, prometheus = File(RULES, rules_text(spec)), File(PROMETHEUS, prometheus_text(spec))
    alerts = File(ALERTMANAGER, alertmanager_text(spec))
    measure = Unit(MEASURE, _measure(), restart_on=(CONFIG, *(file.path for file in programs)))
    return Component(
        "metrics",
        packages=("openssl",),
        users=(User(OWNER),),
        folders=(
            Folder(str(FOLDER)),
            *(Folder(f"{PROGRAMS}/{name}") for name in ("measure", "watch")),
            Folder(state),
            *(Folder(f"{state}/{name}", 0o700, OWNER, OWNER) for name in ("prometheus", "alertmanager")),
        ),
        uploads=tuple(uploads.values()),
        files=(*programs, asked, rules, prometheus, alerts, *secret),
        links=tuple(links.values()),
        units=(
            measure,
            _service(EXPORTER, _exporter(links["node-exporter"].path), EXPORTER_PORT, [links["node-exporter"].path]),
            _service(
                ALERTMANAGER_UNIT,
                _alertmanager(links["alertmanager"].path, f"{state}/alertmanager"),
                ALERTMANAGER_PORT,
                [links["alertmanager"].path, ALERTMANAGER, *(file.path for file in secret)],
            ),
            _service(
                PROMETHEUS_UNIT,
                _prometheus(spec, links["prometheus"].path, f"{state}/prometheus"),
                PROMETHEUS_PORT,
                [links["prometheus"].path, PROMETHEUS, RULES],
            ),
        ),
    )


def lasting(components: Iterable[Component]) -> list[str]:
    """Units of ours that are to be active all the time."""
    # In a container swap is the host's business, and the unit is not started.
    return [
        unit.name
        for component in components
        for unit in component.units
        if unit.content is not None and unit.running and unit.enabled and unit.name != SWAPOFF
    ]


def configuration(spec: Spec, address: str, units: Iterable[str]) -> dict[str, Any]:
    """What the program of numbers is told."""
    return {
        "out": MEASURED,
        "prometheus": PROMETHEUS_UNIT,
        "group": OWNER,
        "node": spec.name,
        "namespace": NAMESPACE,
        "kubeconfig": str(K3S_KUBECONFIG),
        "account": f"{NAMESPACE}/{METRICS_ACCOUNT}",
        "state": str(spec.machine.state),
        "records": records(spec),
        "jobs": [{"name": job.name, "timer": job.timer, "allowed": job.allowed} for job in jobs(spec)],
        "units": sorted(units),
        "table": ["inet", TABLE],
        "address": address,
        "tls": spec.tls.mode != "none",
        "names": {spec.names.binder: "/health", spec.names.hub: "/hub/health"},
        "registries": {"push": PUSH_PORT, "pull": PULL_PORT},
        "pods": {"hub": 8081, "binder": 8585},
        "certificates": [f"{K3S_DATA}/server/tls", f"{K3S_DATA}/agent"],
    }


def _service(name: str, content: str, port: int, restart_on: list[str]) -> Unit:
    return Unit(name, content, restart_on=tuple(restart_on), waits=(Wait("tcp", str(port)),))


def _measure() -> str:
    return unit_file(
        Unit=[("Description", "Numbers of the node (binder-node)"), ("After", "k3s.service"), FOR_EVER],
        Service=[
            FROM,
            ("RuntimeDirectory", MEASURED.removeprefix("/run/")),
            ("RuntimeDirectoryMode", "0755"),
            # Prometheus would lose its targets while this restarts.
            ("RuntimeDirectoryPreserve", "yes"),
            ("ExecStart", run("measure", CONFIG)),
            ("Nice", "5"),
            ("MemoryMax", "256M"),
            ("Restart", "always"),
            ("RestartSec", "5"),
            ("NoNewPrivileges", "yes"),
        ],
        Install=[("WantedBy", "multi-user.target")],
    )


def _exporter(binary: str) -> str:
    arguments = [
        f"--web.listen-address=127.0.0.1:{EXPORTER_PORT}",
        "--web.disable-exporter-metrics",
        "--collector.disable-defaults",
        *(f"--collector.{name}" for name in COLLECTORS),
        f"--collector.textfile.directory={MEASURED}",
        *(f"--collector.sysctl.include={name}" for name in WATCHED.values()),
        f"--collector.filesystem.fs-types-include={FILESYSTEMS}",
        f"--collector.filesystem.mount-points-exclude={MOUNTS_NOT}",
        f"--collector.netdev.device-exclude={DEVICES_NOT}",
    ]
    return _own("Numbers of the machine (binder-node)", binary, arguments, [])


def _alertmanager(binary: str, folder: str) -> str:
    arguments = [
        f"--config.file={ALERTMANAGER}",
        f"--storage.path={folder}",
        "--data.retention=120h",
        # One of them: nobody to agree with.
        "--cluster.listen-address=",
        f"--web.listen-address=127.0.0.1:{ALERTMANAGER_PORT}",
    ]
    # A secret that has a new value is read at the next message; its file's change restarts it all the same.
    return _own("Who is told of alerts (binder-node)", binary, arguments, [*_sandbox(folder), ("MemoryMax", "256M")])


def _prometheus(spec: Spec, binary: str, folder: str) -> str:
    arguments = [
        f"--config.file={PROMETHEUS}",
        f"--storage.tsdb.path={folder}",
        f"--storage.tsdb.retention.time={spec.metrics.keep}d",
        f"--storage.tsdb.retention.size={int(spec.metrics.disk)}B",
        # What a question may take of the memory.
        "--query.max-concurrency=4",
        "--query.max-samples=5000000",
        "--query.timeout=30s",
        f"--web.listen-address=127.0.0.1:{PROMETHEUS_PORT}",
    ]
    limit = int(spec.metrics.memory)
    settings = [
        *_sandbox(folder),
        ("Environment", f"GOMEMLIMIT={int(limit * GO_SHARE)}"),
        ("MemoryMax", str(limit)),
        # It may have to read hours of its log after a crash.
        ("TimeoutStartSec", "300"),
        ("LimitNOFILE", "65536"),
        ("ExecReload", "/bin/kill -HUP $MAINPID"),
    ]
    return _own("Measurements and alerts (binder-node)", binary, arguments, settings)


def _sandbox(folder: str) -> list[tuple[str, str]]:
    return [("ProtectSystem", "strict"), ("ReadWritePaths", folder), ("ProtectHome", "yes"), ("PrivateTmp", "yes")]


def _own(about: str, binary: str, arguments: list[str], settings: list[tuple[str, str]]) -> str:
    return unit_file(
        Unit=[
            ("Description", about),
            # Not after K3s: what is to be asked comes up beside it, and is asked again soon.
            ("After", "network.target"),
            FOR_EVER,
        ],
        Service=[
            ("User", OWNER),
            ("Group", OWNER),
            # A dollar or a per cent sign in an argument is systemd's own.
            ("ExecStart", " ".join([binary, *(one.replace("%", "%%").replace("$", "$$") for one in arguments)])),
            ("Restart", "always"),
            ("RestartSec", "5"),
            # Users' launches come first.
            ("Nice", "5"),
            ("NoNewPrivileges", "yes"),
            ("CapabilityBoundingSet", ""),
            ("UMask", "0027"),
            *settings,
        ],
        Install=[("WantedBy", "multi-user.target")],
    )
