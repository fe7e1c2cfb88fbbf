"""Pods that serve nobody are removed: a program, its timer, and how long what may stay."""

from __future__ import annotations

import json

from binder_node.host.observe import script
from binder_node.host.recording import recorded
from binder_node.host.timed import service, timer
from binder_node.host.wanted import Component, File, Unit
from binder_node.layout import BIN, ETC, NAMESPACE
from binder_node.secrets.model import Secrets
from binder_node.spec.model import Spec

UNIT, TIMER = "binder-node-pods.service", "binder-node-pods.timer"
PROGRAM, CONFIG = str(ETC / "pods.py"), str(ETC / "pods.json")
EVERY, FIRST, SECONDS = 600, "10min", 300
# Seconds. A server that the hub does not know an hour after it was made never will be: a start has ten minutes
# (values/base.yaml, startTimeout), and a hub that was away finds its servers as it comes up.
ORPHAN = 3600
# BinderHub ends a build after an hour itself (values/base.yaml, KubernetesCleaner.max_age), where it is up.
BUILD = 7200


def pods(spec: Spec, secrets: Secrets) -> Component:
    """It asks K3s and the hub, the latter with BinderHub's own token."""
    config = {
        "kubectl": [str(BIN / "k3s"), "kubectl"],
        "namespace": NAMESPACE,
        "token": secrets.binder_api_token.reveal(),
        "limits": {"ended": spec.binderhub.sweep * 60, "orphan": ORPHAN, "build": BUILD},
    }
    return Component(
        "pods",
        files=(
            File(PROGRAM, script("pods").encode(), 0o755),
            File(CONFIG, (json.dumps(config, indent=1) + "\n").encode(), 0o600, secret=True),
        ),
        units=(
            # The timer starts it.
            Unit(UNIT, _unit(spec), enabled=False, running=False),
            Unit(TIMER, timer("the removal of pods", FIRST, f"{EVERY}s")),
        ),
    )


def _unit(spec: Spec) -> str:
    return service(
        "Removal of pods that serve nobody",
        "k3s.service",
        [
            ("ExecStart", f"/usr/bin/python3 {PROGRAM} {CONFIG}"),
            recorded(spec, "pods", UNIT),
            ("TimeoutStartSec", str(SECONDS)),
        ],
        rank=[("Nice", "10")],
        # Root reads K3s's kubeconfig as its owner, and needs no more of what root may.
        bounded=True,
    )
