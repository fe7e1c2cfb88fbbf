"""The reference of alerts as Markdown. ``python -m binder_node.host.metrics.describe`` prints it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from binder_node.host.metrics.alert import Alert
from binder_node.host.metrics.rules import alerts
from binder_node.spec.model import Machine, Spec
from binder_node.spec.sizing import defaults

# Failures that members had (mybinder.org-deploy's issues by their numbers), and why no alert stands for some.
FAILURES = {
    1: "A node at the kubelet's 110 pods with a larger quota: `OutOfpods` (#3278, #3284)",
    2: "Dead pods count against the quota (#3284)",
    3: "Finished pods piled up for three days (#3391)",
    4: "Pulls outran the kubelet's collector: disk pressure (#3432)",
    5: "The kubelet's threshold collided with the build cache (#3230)",
    6: "Pressure that came and went; a mount of its own that was full (#3587, #3804)",
    7: "A second's pull after 28 minutes of waiting (#3080)",
    8: "`too many open files`: inotify's limits (#3173)",
    9: "Builds and sessions out of memory (#3680, #3177)",
    10: "A storm of builds at a join (#3173)",
    11: "Pushes that timed out (#3175, #3181)",
    12: "A cleaner that wiped layers, cordoned the node, or was off (#3181, #3194, #3184)",
    13: "A maintenance job dead for two days",
    14: "An MTU that broke some sites in builds (#3235)",
    15: "Builds stuck after their push (#3413)",
    16: "Builds of over an hour (#3794)",
    17: "`/build` without its `Accept` header (#3689)",
    18: "Machine and bucket in two datacenters (#3182)",
    19: "One member used another's registry (#3299)",
    20: "Object storage that answers `SlowDown` or not at all",
    21: "A bucket without retention: 65 TB (#3676)",
    22: "Secrets drawn anew at each upgrade: restarts (#3694)",
    23: "NetworkPolicy, hairpin: the registry out of pods' reach",
    24: "Two owners of ports 80 and 443 (#3812)",
    25: "A mis-cased key, silently ignored",
    26: "Another member's address in the configuration, for months",
    27: "A server locked for port scans (#3238)",
    28: "K3s's certificates end after a year (#3630)",
    29: "A Kubernetes client broken by a library (#3542)",
    30: "Images that could not be pulled for ten hours, with a good health (#3100)",
    31: "A full volume of Prometheus (#3273, #3777)",
    32: "Swap after a reboot (#3040)",
    33: "A stale version in the redirector: nobody was sent for nine hours",
}
WITHOUT = {
    17: "`binder-node` sends it; `binder-node smoke` asks so",
    18: "`binder-node check` compares the two places before anything is made",
    25: "an unknown key is an error of `binder-node check`",
}

HEAD = """\
# Alerts

<!-- Made by `python -m binder_node.host.metrics.describe`; a test compares. -->

What a node tells of by itself; [how to be told](../how-to/watch-a-node.md). Thresholds that follow from the inventory
are shown for a node called `{node}` with 32 GB of RAM and 240 GB of disk. *critical* is what users notice now. Each
name leads to its runbook.
"""


def reference() -> str:
    """The page, in Markdown."""
    spec = example()
    every = alerts(spec)
    lines = [HEAD.format(node=spec.name), *_table(every), "", *_failures(every), "", *_rules(every)]
    return "\n".join(lines) + "\n"


def _table(every: tuple[Alert, ...]) -> Iterator[str]:
    yield "| Alert | | After | What it says |"
    yield "|---|---|---|---|"
    for alert in every:
        after = f"{alert.minutes} min" if alert.minutes else "at once"
        yield f"| {_link(alert)} | {alert.severity} | {after} | {_plain(alert.says)} |"


def _failures(every: tuple[Alert, ...]) -> Iterator[str]:
    yield "## Failures that members had, and what would have told of them"
    yield ""
    yield "| | Failure | Alert |"
    yield "|---|---|---|"
    for number, failure in FAILURES.items():
        told = ", ".join(_link(alert) for alert in every if number in alert.guide)
        yield f"| {number} | {failure} | {told or f'none: {WITHOUT[number]}'} |"


def _rules(every: tuple[Alert, ...]) -> Iterator[str]:
    yield "## Conditions"
    yield ""
    yield "In PromQL, as they stand in `/etc/binder-node/metrics/rules.yaml`."
    for alert in every:
        yield from ("", f"**{alert.name}**", "", "```", alert.expr, "```")


def _link(alert: Alert) -> str:
    return f"[{alert.name}](../{alert.page})"


def _plain(says: str) -> str:
    """A template without its templates' words.

    >>> _plain("{{ $labels.mountpoint }} has {{ $value | humanize }} % left")
    '*mountpoint* has *value* % left'
    """
    parts = []
    for index, part in enumerate(says.replace("}}", "{{").split("{{")):
        words = part.split()
        name = words[0].lstrip("$").removeprefix("labels.") if index % 2 and words else ""
        shown = f"*{name}*" if words[:1] == ["."] or name != "".join(words[:1]) else ""
        parts.append(shown.replace("*.*", "*its way*") if index % 2 else part)
    return "".join(parts)


def example() -> Spec:
    """A member with every alert there is."""
    machine, names = {"cpus": 8, "memory": "32G", "disk": "240G"}, {"binder": "bids.mybinder.org"}
    computed: dict[str, Any] = defaults(Machine.model_validate(machine), names)
    return Spec.model_validate(
        {
            "name": "bids-1",
            "provider": {"kind": "local"},
            "tls": {"mode": "acme", "email": "ops@example.org"},
            "storage": {"kind": "node"},
            **computed,
            "machine": machine,
            "names": {**names, **computed["names"]},
            "federation": {"member": "bids", "weight": 20},
        }
    )


if __name__ == "__main__":
    sys.stdout.write(reference())
