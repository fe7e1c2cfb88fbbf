"""What the registry keeps: a program that knows each image's last use, and removes what nobody used for long.

Distribution's own collector (`registry garbage-collect`) wants a registry that is read-only for as long as it looks;
this one looks while people push, and has the registry read-only for the seconds of removing alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from binder_node.host.bucket import bucket_access
from binder_node.host.programs import FOLDER as PROGRAMS
from binder_node.host.programs import FROM, program, run
from binder_node.host.recording import recorded
from binder_node.host.registry import OWNER, PUSH_SWITCH, PUSH_UNIT, READ_ONLY, UNITS
from binder_node.host.timed import service, timer
from binder_node.host.wanted import FOR_EVER, Component, File, Folder, Unit
from binder_node.layout import ETC, PUSH_PORT, PUSH_USER, RETENTION_STATE, USES
from binder_node.secrets.model import Secrets
from binder_node.spec.model import NodeStorage, Spec

USES_UNIT, USES_TIMER = "binder-node-uses.service", "binder-node-uses.timer"
UNIT, TIMER = "binder-node-retention.service", "binder-node-retention.timer"
MODULES = ("__init__", "__main__", "images", "journal", "records")
FOLDER, CONFIG, PAUSE = f"{PROGRAMS}/retention", str(ETC / "retention.json"), str(ETC / "retention-pause.sh")
# A machine that is lost takes as much of its log with it; images are looked for by the day.
EVERY_USES, EVERY = 3600, 86400
# Until the first: a node that shares a bucket is known in it before its first build can be pushed.
FIRST_USES, FIRST = "5s", "1h"
# A bucket that is away for a while: seconds until it is asked again.
AGAIN = 300
# Seconds: a look at a bucket of a million objects, a thousand a request; the record of uses.
SECONDS, SECONDS_USES = 4 * 3600, 600
# What is younger than this is never removed (seconds): a build has an hour (KubernetesCleaner.max_age), and pushes.
GRACE = 86400
# Seconds of removing while nobody can push, and until it is ended from outside. A build tries to push for 180
# (cluster/engine, push_seconds); the registry's own drain before may take 30 (draintimeout).
REMOVING, LIMIT = 20, 60
# Of the state disk, where the bucket is the node's own: half of what a full build cache leaves to images
# (spec/sizing.py).
OWN_SHARE = 0.15
# Images a day that may go for their age: the first run on an old bucket is spread over days.
MOST = 5000


def retention(spec: Spec, secrets: Secrets) -> Component:
    """The programs run as the registry's own user; a few lines of shell, as root, switch it to read-only and back."""
    config = json.dumps(configuration(spec, secrets), indent=1) + "\n"
    return Component(
        "retention",
        folders=(Folder(FOLDER), Folder(folder(spec), 0o700, OWNER, OWNER)),
        files=(
            *(program(f"retention/{name}") for name in MODULES),
            File(CONFIG, config.encode(), 0o640, group=OWNER, secret=True),
            File(PAUSE, _pause(spec).encode(), 0o755),
        ),
        units=(
            # Their timers start them.
            Unit(USES_UNIT, _uses(spec), enabled=False, running=False),
            Unit(USES_TIMER, timer("the record of uses", FIRST_USES, f"{EVERY_USES}s", exact="1s")),
            Unit(UNIT, _retention(spec), enabled=False, running=False),
            Unit(TIMER, timer("what the registry keeps", FIRST, f"{EVERY}s", spread="3600s")),
        ),
    )


def folder(spec: Spec) -> str:
    """Where it keeps what is to go, between looking and removing."""
    return f"{spec.machine.state}/{RETENTION_STATE}"


def configuration(spec: Spec, secrets: Secrets) -> dict[str, object]:
    """What the program is told; ``journal`` prints the registries' log, a JSON object a line."""
    units = [word for unit in UNITS for word in ("-u", unit)]
    return {
        "node": spec.name,
        "machine_id": "/etc/machine-id",
        "state": folder(spec),
        "keep_days": spec.registry.keep,
        "size": size(spec),
        "grace": GRACE,
        "most": MOST,
        "seconds": REMOVING,
        "journal": ["journalctl", "-q", "--no-pager", "-o", "json", "--output-fields=MESSAGE", *units],
        "push": {
            "url": f"http://127.0.0.1:{PUSH_PORT}",
            "user": PUSH_USER,
            "password": secrets.registry_push_password.reveal(),
        },
        **bucket_access(spec, secrets, USES),
    }


def size(spec: Spec) -> int:
    """Bytes that the registry may hold; 0: any number."""
    if spec.registry.size is not None:
        return int(spec.registry.size)
    return int(spec.state_disk * OWN_SHARE) if isinstance(spec.storage, NodeStorage) else 0


def _pause(spec: Spec) -> str:
    """The registry that takes pushes read-only, and back; no file in /run outlives a machine that stops in between."""
    return f"""#!/bin/sh
# Made by binder-node; changes here are undone by the next `up`.
# on: nobody can push, where there is something to remove. off: as before.
set -eu
plan={folder(spec)}/plan.json
case $1 in
on)
    [ -e "$plan" ] || exit 0
    mkdir -p {PUSH_SWITCH.rpartition("/")[0]}
    echo CONFIG={READ_ONLY} >{PUSH_SWITCH}
    systemctl restart {PUSH_UNIT}
    # Every line of the registry that took pushes is in the journal, to be read.
    journalctl --sync
    ;;
off)
    rm -f "$plan"
    [ -e {PUSH_SWITCH} ] || exit 0
    rm {PUSH_SWITCH}
    systemctl restart {PUSH_UNIT}
    ;;
esac
"""


def _unit(spec: Spec, about: str, work: Sequence[tuple[str, str]]) -> str:
    own = [("User", OWNER), ("Group", OWNER), ("SupplementaryGroups", "systemd-journal")]
    return service(
        about,
        "network-online.target minio.service",
        [*work, FROM, *own],
        folder=folder(spec),
        unit=[FOR_EVER],
        bounded=True,
    )


def _uses(spec: Spec) -> str:
    return _unit(
        spec,
        "Record of which images are used",
        [
            ("ExecStart", run("retention", CONFIG, "note")),
            recorded(spec, "uses", USES_UNIT),
            ("TimeoutStartSec", str(SECONDS_USES)),
            ("Restart", "on-failure"),
            ("RestartSec", str(AGAIN)),
        ],
    )


def _retention(spec: Spec) -> str:
    return _unit(
        spec,
        "Removal of images that nobody uses",
        [
            ("ExecStart", run("retention", CONFIG, "mark")),
            ("ExecStart", f"+{PAUSE} on"),
            ("ExecStart", f"/usr/bin/timeout --kill-after=5 {LIMIT} {run('retention', CONFIG, 'sweep')}"),
            # However it ended.
            ("ExecStopPost", f"+{PAUSE} off"),
            recorded(spec, "retention", UNIT),
            ("TimeoutStartSec", str(SECONDS)),
        ],
    )
