"""What runs on a node, asked for its version; what the node was made of."""

from __future__ import annotations

import json
import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path

from binder_node import remote
from binder_node.artifacts.model import Artifact
from binder_node.artifacts.pins import Pins, PinsFile, parse_pins
from binder_node.cluster.kube import sudo
from binder_node.errors import InputError, StepError
from binder_node.layout import PINS
from binder_node.node import Access
from binder_node.spec.model import Spec
from binder_node.upgrades.components import with_chart
from binder_node.upgrades.reported import Reported, question, read, script

# Some programs have 20 s to answer, one after the other.
SECONDS = 180.0


def reported(access: Access, spec: Spec) -> Reported:
    """Ask everything that runs, in one round trip.

    Raises:
        StepError: ssh failed, or the node has no python3.
    """
    asked = f"{sudo(access)}python3 -c {shlex.quote(script())}"
    done = remote.run(access, asked, timeout=SECONDS, input=question(spec), check=False)
    if done.code != 0:
        reason = (done.stderr.strip().splitlines() or [f"exit status {done.code}"])[-1]
        raise StepError(access.name, "ask what runs for its version", reason)
    return read(spec, json.loads(done.stdout))


def made_of(access: Access) -> tuple[str, PinsFile]:
    """What the node was made of, as it keeps it: the text, and what it says.

    Raises:
        StepError: ssh failed, the node keeps nothing of the kind, or it cannot be read.
    """
    what = "read what the node was made of"
    done = remote.run(access, f"cat {PINS}", timeout=30, check=False)
    if done.code != 0:
        remedy = f"`binder-node up {access.name}` writes it; it takes the node to the pinned versions all at once"
        raise StepError(access.name, what, done.stderr.strip() or f"exit status {done.code}", remedy)
    try:
        return done.stdout, parse_pins(tomllib.loads(done.stdout), Path(str(PINS)))
    except (tomllib.TOMLDecodeError, InputError) as error:
        raise StepError(access.name, what, str(error), f"`binder-node up {access.name}` writes it anew") from None


def note_release(access: Access, pins: Pins, artifacts: Mapping[str, Artifact]) -> None:
    """Have the node say of which chart and images it is made, where a release alone was made: `up` writes the rest.

    Raises:
        StepError: ssh failed, or what the node says cannot be read.
    """
    if remote.run(access, f"test -e {PINS}", timeout=30, check=False).code != 0:
        return  # made before nodes kept it
    old, record = made_of(access)
    new = with_chart(record, pins, artifacts)
    if new != old:
        script = f"umask 022 && cat > {PINS}.new && mv {PINS}.new {PINS}"
        remote.run(access, f"{sudo(access)}sh -c {shlex.quote(script)}", timeout=30, input=new)
