"""The log of launches on the node: its folder, and what archives it in the bucket once an hour."""

from __future__ import annotations

import json

from binder_node.host.bucket import bucket_access
from binder_node.host.programs import FROM, program, run
from binder_node.host.recording import recorded
from binder_node.host.timed import service, timer
from binder_node.host.wanted import Component, File, Folder, Unit
from binder_node.layout import ETC, EVENTS, EVENTS_STATE
from binder_node.secrets.model import Secrets
from binder_node.spec.model import Spec

UNIT, TIMER = "binder-node-events.service", "binder-node-events.timer"
CONFIG = str(ETC / "events.json")
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
            program("events"),
            File(CONFIG, config.encode(), 0o600, secret=True),
        ),
        units=(
            # The timer starts it, and `binder-node events`.
            Unit(UNIT, _unit(spec), enabled=False, running=False),
            Unit(TIMER, timer("the archive of launches", "10min", f"{EVERY}s", spread="5min")),
        ),
    )


def folder(spec: Spec) -> str:
    """Where BinderHub writes, on the node."""
    return str(spec.machine.state / EVENTS_STATE)


def configuration(spec: Spec, secrets: Secrets) -> dict[str, object]:
    """What the program is told."""
    return {
        "node": spec.name,
        "folder": folder(spec),
        "keep": spec.events.keep,
        **bucket_access(spec, secrets, EVENTS),
    }


def _unit(spec: Spec) -> str:
    return service(
        "Archive of launches",
        "network-online.target minio.service",
        [
            ("ExecStart", run("events", CONFIG, "archive")),
            recorded(spec, "events", UNIT),
            ("TimeoutStartSec", str(SECONDS)),
            FROM,
        ],
        folder=folder(spec),
    )
