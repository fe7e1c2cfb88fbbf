"""MinIO on the node: the bucket's home where the inventory says ``storage.kind: node``."""

from __future__ import annotations

from collections.abc import Mapping

from binder_node.artifacts.model import Artifact
from binder_node.host.wanted import FOR_EVER, Component, File, Link, Unit, Upload, Wait, unit_file
from binder_node.layout import BIN, ETC, MINIO_PORT, MINIO_STATE
from binder_node.secrets.model import Secrets
from binder_node.spec.model import Spec

ENVIRONMENT = str(ETC / "minio.env")
UNIT = "minio.service"


def minio(spec: Spec, secrets: Secrets, artifacts: Mapping[str, Artifact]) -> Component:
    """One drive, one user, loopback only: the registries are its clients, and the operator through ssh."""
    binary, folder = Upload(artifacts["minio"]), f"{spec.machine.state}/{MINIO_STATE}"
    link = str(BIN / "minio")
    environment = {
        "MINIO_ROOT_USER": secrets.minio_root_user,
        "MINIO_ROOT_PASSWORD": secrets.minio_root_password.reveal(),
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",  # upstream is archived; there is nobody to ask
        # It refuses a lifecycle rule for this: a push that was cut leaves no parts behind after a day.
        "MINIO_API_STALE_UPLOADS_EXPIRY": "24h",
        "MINIO_API_STALE_UPLOADS_CLEANUP_INTERVAL": "1h",
        # Prometheus asks without a login; nobody but the node itself reaches the port.
        **({"MINIO_PROMETHEUS_AUTH_TYPE": "public"} if spec.measured else {}),
    }
    text = "".join(f'{key}="{value}"\n' for key, value in environment.items())
    return Component(
        "minio",
        uploads=(binary,),
        # Read by systemd as root, before the user is changed.
        files=(File(ENVIRONMENT, text.encode(), 0o600, secret=True),),
        links=(Link(link, binary.path),),
        units=(Unit(UNIT, _unit(link, folder), restart_on=(ENVIRONMENT, link), waits=(Wait("tcp", str(MINIO_PORT)),)),),
    )


def _unit(binary: str, folder: str) -> str:
    return unit_file(
        Unit=[
            ("Description", "MinIO (binder-node)"),
            ("After", f"network.target {_firewall()}"),
            ("RequiresMountsFor", folder),
            FOR_EVER,
        ],
        Service=[
            ("Type", "notify"),
            ("User", "minio"),
            ("Group", "minio"),
            ("EnvironmentFile", ENVIRONMENT),
            ("ExecStart", f"{binary} server --quiet --address 127.0.0.1:{MINIO_PORT} {folder}"),
            ("Restart", "always"),
            ("RestartSec", "2"),
            ("TimeoutStartSec", "60"),
            ("LimitNOFILE", "1048576"),
            ("TasksMax", "infinity"),
            ("NoNewPrivileges", "yes"),
            ("CapabilityBoundingSet", ""),
            ("ProtectSystem", "strict"),
            ("ReadWritePaths", folder),
            ("ProtectHome", "yes"),
            ("PrivateTmp", "yes"),
            ("ProtectControlGroups", "yes"),
            ("ProtectKernelTunables", "yes"),
            ("ProtectKernelModules", "yes"),
            ("RestrictSUIDSGID", "yes"),
            ("UMask", "0077"),
        ],
        Install=[("WantedBy", "multi-user.target")],
    )


def _firewall() -> str:
    from binder_node.host.firewall import UNIT as FIREWALL

    return FIREWALL
