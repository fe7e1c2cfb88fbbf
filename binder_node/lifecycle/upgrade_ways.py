"""What an upgrade does outside: asks the node, runs `up` and the checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from binder_node import remote
from binder_node.artifacts.model import Artifact
from binder_node.artifacts.pins import Pins, PinsFile
from binder_node.artifacts.store import Sources
from binder_node.cluster.kube import sudo
from binder_node.errors import StepError
from binder_node.events import Reporter, quiet
from binder_node.layout import NAMESPACE
from binder_node.lifecycle import verbs
from binder_node.lifecycle.opened import Opened, access_of, ensure_artifacts, open_node, open_spec
from binder_node.lifecycle.versions import made_of, reported
from binder_node.smoke.run import Summary
from binder_node.upgrades.reported import Reported

BUILDS = (
    f"k3s kubectl get pods -n {NAMESPACE} -l component=binderhub-build --field-selector=status.phase=Running -o name"
)


@dataclass(frozen=True, slots=True)
class Ways:
    """Each raises StepError.

    ``made_of`` gives what the node was made of, its text and what it says; ``artifacts`` those of the node by other
    pins, fetched when missing; ``reported`` the versions that run; ``up`` makes the node what inventory and pins say
    now, and has it say that it is made of the text where one is given; ``smoke`` runs all checks for an empty text,
    else those named, parted by commas; ``builds`` counts those under way.
    """

    made_of: Callable[[], tuple[str, PinsFile]]
    artifacts: Callable[[Pins], Mapping[str, Artifact]]
    reported: Callable[[], Reported]
    up: Callable[[str | None], None]
    smoke: Callable[[str], Summary]
    builds: Callable[[], int]


def ways(opened: Opened, sources: Sources, smoke: Callable[[str], Summary], report: Reporter) -> Ways:
    """The real ones. Raises StepError where there is no machine that answers."""
    access, _ = access_of(opened)

    def up(text: str | None) -> None:
        now = open_spec(str(opened.inventory), opened.pins.overlay)
        node = open_node(now, quiet(report), sources=sources)
        verbs.up(node if text is None else replace(node, made_of=text), report)

    def builds() -> int:
        done = remote.run(access, f"{sudo(access)}{BUILDS}", timeout=30, check=False)
        if done.code != 0:
            raise StepError(access.name, "count the builds under way", done.stderr, "is K3s up?")
        return len(done.stdout.split())

    return Ways(
        made_of=lambda: made_of(access),
        artifacts=lambda pins: ensure_artifacts(replace(opened, pins=pins), report, sources),
        reported=lambda: reported(access, opened.spec),
        up=up,
        smoke=smoke,
        builds=builds,
    )
