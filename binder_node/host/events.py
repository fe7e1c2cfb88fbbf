"""The log of launches on the node: its folder, and what archives it in the bucket once an hour."""

from __future__ import annotations

import json

from binder_node.host.observe import script
from binder_node.host.recording import recorded
from binder_node.host.wanted import Component, File, Folder, Unit, unit_file
from binder_node.layout import ETC, EVENTS, EVENTS_STATE, MINIO_PORT
from binder_node.secrets.model import Secrets
from binder_node.spec.model import NodeStorage, Spec

UNIT, TIMER = "binder-node-events.service", "binder-node-events.timer"
PROGRAM, CONFIG = str(ETC / "events.py"), str(ETC / "events.json")
# The public archive's own run takes two hours to come round; a machine that is lost takes as much of a log with it.
EVERY = 3600
# A day of the busiest member is 2 MB; a bucket that does not answer is given up after some minutes.
SECONDS = 900


def events(spec: Spec, secrets: Secrets) -> Component:
    """BinderHub writes into the folder; the program reads there and writes below its own prefix of the bucket."""
    config = json.dumps(configuration(spec, secrets), indent=1) + "\n"
    return Component(
        "events",
        # BinderHub's container runs as root, and nobody else has to read who launched what from where.
        folders=(Folder(folder(spec), 0o700),),
        files=(
            File(PROGRAM, script("events").encode(), 0o755),
            File(CONFIG, config.encode(), 0o600, secret=True),
        ),
        units=(
            # The timer starts it, and `binder-node events`.
            Unit(UNIT, _unit(spec), enabled=False, running=False),
            Unit(TIMER, _timer()),
        ),
    )


def folder(spec: Spec) -> str:
    """Where BinderHub writes, on the node."""
    return str(spec.machine.state / EVENTS_STATE)


def configuration(spec: Spec, secrets: Secrets) -> dict[str, object]:
    """What the program is told."""
    storage = spec.storage
    if isinstance(storage, NodeStorage):
        endpoint, region = f"http://127.0.0.1:{MINIO_PORT}", "us-east-1"
    else:
        endpoint, region = storage.endpoint, storage.region
    return {
        "node": spec.name,
        "folder": folder(spec),
        "keep": spec.events.keep,
        "endpoint": endpoint,
        "region": region,
        "bucket": storage.bucket,
        "prefix": EVENTS,
        "access_key": secrets.s3_access_key,
        "secret_key": secrets.s3_secret_key.reveal(),
    }


def _unit(spec: Spec) -> str:
    return unit_file(
        Unit=[
            ("Description", "Archive of launches (binder-node)"),
            ("After", "network-online.target minio.service"),
            ("RequiresMountsFor", folder(spec)),
        ],
        Service=[
            ("Type", "oneshot"),
            ("ExecStart", f"/usr/bin/python3 {PROGRAM} {CONFIG} archive"),
            recorded(spec, "events", UNIT),
            ("TimeoutStartSec", str(SECONDS)),
            # People's launches come first.
            ("Nice", "15"),
            ("IOSchedulingClass", "idle"),
            ("UMask", "0077"),
            ("NoNewPrivileges", "yes"),
            ("ProtectSystem", "strict"),
            ("ReadWritePaths", folder(spec)),
            ("ProtectHome", "yes"),
            ("PrivateTmp", "yes"),
        ],
    )


def _timer() -> str:
    return unit_file(
        Unit=[("Description", "Timer of the archive of launches (binder-node)")],
        Timer=[
            ("OnActiveSec", "10min"),
            ("OnUnitInactiveSec", f"{EVERY}s"),
            ("AccuracySec", "1min"),
            # Members of one federation are made from the same inventories; their bucket need not hear all at once.
            ("RandomizedDelaySec", "5min"),
        ],
        Install=[("WantedBy", "timers.target")],
    )
