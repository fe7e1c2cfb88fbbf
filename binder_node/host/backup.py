"""The backup of what is not in the registry's bucket: a program, its timer, and for whom it encrypts."""

from __future__ import annotations

import json
from collections.abc import Mapping

from binder_node.artifacts.model import Artifact
from binder_node.host.bucket import bucket_access
from binder_node.host.programs import FROM, program, run
from binder_node.host.recording import recorded
from binder_node.host.timed import service, timer
from binder_node.host.wanted import Component, File, Folder, Link, Unit, Upload
from binder_node.layout import (
    ACME_STATE,
    BACKUP_STATE,
    BACKUPS,
    BIN,
    ETC,
    HUB_STATE,
    K3S_DATA,
)
from binder_node.node import Sealing
from binder_node.secrets.masked import Masked
from binder_node.secrets.model import Secrets
from binder_node.spec.model import NodeStorage, Spec

UNIT, TIMER = "binder-node-backup.service", "binder-node-backup.timer"
CONFIG = str(ETC / "backup.json")
RECIPIENTS, SEALED = str(ETC / "backup.recipients"), str(ETC / "secrets.age")
# The first one, once the node is made: BinderHub's first launches are worth more than it.
FIRST = "10min"
# Copies of databases of some hundred MB, and their way to a bucket far away.
SECONDS = 1800
# Where K3s keeps the password by which it knows this node again.
NODE_PASSWORD = "/etc/rancher/node/password"
HUB_DATABASE, K3S_DATABASE = "jupyterhub.sqlite", "state.db"


def backup(spec: Spec, secrets: Secrets, artifacts: Mapping[str, Artifact], sealing: Sealing) -> Component:
    """It reads what root reads, and writes below its own prefix of the bucket; with public keys alone it can open
    none of what it wrote.
    """
    binary, link = Upload(artifacts["age"]), str(BIN / "age")
    config = json.dumps(configuration(spec, secrets, link), indent=1) + "\n"
    return Component(
        "backup",
        # Its library has SQLite, which python3-minimal's has not.
        packages=("python3",),
        folders=(Folder(f"{spec.machine.state}/{BACKUP_STATE}", 0o700),),
        uploads=(binary,),
        files=(
            program("backup"),
            File(CONFIG, config.encode(), 0o600, secret=True),
            File(RECIPIENTS, "".join(f"{key}\n" for key in sealing.recipients).encode()),
            # As the operators have it; who has only a backup and an identity has everything.
            File(SEALED, sealing.file, 0o600, secret=True),
        ),
        links=(Link(link, binary.path),),
        units=(
            # The timer starts it, and `binder-node backup`.
            Unit(UNIT, _unit(spec), enabled=False, running=False),
            Unit(TIMER, timer("the backup", FIRST, f"{spec.backup.hours}h", spread="5min")),
        ),
    )


def configuration(spec: Spec, secrets: Secrets, age: str) -> dict[str, object]:
    """What the program is told; ``databases`` are copied as SQLite copies them, ``trees`` file by file."""
    state, server = spec.machine.state, K3S_DATA / "server"
    release = not spec.central
    return {
        "node": spec.name,
        "scratch": f"{state}/{BACKUP_STATE}",
        "databases": {
            **({f"hub/{HUB_DATABASE}": f"{state}/{HUB_STATE}/{HUB_DATABASE}"} if release else {}),
            f"k3s/db/{K3S_DATABASE}": str(server / "db" / K3S_DATABASE),
        },
        "trees": {
            **({"acme": f"{state}/{ACME_STATE}"} if release else {}),
            "k3s/tls": str(server / "tls"),
            "k3s/cred": str(server / "cred"),
            "k3s/token": str(server / "token"),
            "node/password": NODE_PASSWORD,
            "secrets.age": SEALED,
        },
        "needed": [f"k3s/db/{K3S_DATABASE}", "secrets.age"],
        "versions": {"k3s": [str(BIN / "k3s"), "--version"]},
        "age": age,
        "recipients": RECIPIENTS,
        **_bucket(spec, secrets),
    }


def _bucket(spec: Spec, secrets: Secrets) -> dict[str, str]:
    """A key of its own where one can be made or is given: not in the registry's own bucket elsewhere."""
    there, told = spec.backup, bucket_access(spec, secrets, f"{BACKUPS}{spec.name}/")
    if there.endpoint is not None and there.bucket is not None:
        told |= {"endpoint": there.endpoint, "region": there.region, "bucket": there.bucket}
    elif not isinstance(spec.storage, NodeStorage):
        return told
    password = secrets.backup_secret_key
    told |= {
        "access_key": secrets.backup_access_key,
        "secret_key": password.reveal() if isinstance(password, Masked) else "",
    }
    return told


def _unit(spec: Spec) -> str:
    return service(
        "Backup of what is not in the registry's bucket",
        "network-online.target k3s.service minio.service",
        [
            ("ExecStart", run("backup", CONFIG)),
            recorded(spec, "backup", UNIT),
            ("TimeoutStartSec", str(SECONDS)),
            FROM,
        ],
        folder=f"{spec.machine.state}/{BACKUP_STATE}",
        # SQLite locks a database in files beside it.
        also=f"-{spec.machine.state}/{HUB_STATE} -{K3S_DATA}/server/db",
    )


__all__ = ["TIMER", "UNIT", "backup", "configuration"]
