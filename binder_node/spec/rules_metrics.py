"""Rules of metrics and alerts; they stand in :data:`binder_node.spec.rules.RULES` once imported."""

from __future__ import annotations

from collections.abc import Iterator

from binder_node.spec.model import Spec
from binder_node.spec.quantity import shortest
from binder_node.spec.rules import Found, rule

# Prometheus keeps two hours in memory and in its log before they are a block: less is no store.
LEAST_DISK, LEAST_MEMORY = 200 * 10**6, 200 * 10**6
# Of the disk: it is there to watch it, not to fill it.
MOST_SHARE = 0.2


@rule("metrics", "machine", "provider")
def measurements_fit(spec: Spec) -> Iterator[Found]:
    metrics = spec.metrics
    if not metrics.enabled:
        return
    if not LEAST_DISK <= metrics.disk <= MOST_SHARE * spec.state_disk:
        wrong = f"{metrics.disk} is not between {shortest(LEAST_DISK)} and a fifth of the disk"
        right = "remove the line for the default"
        yield Found(("metrics", "disk"), wrong, right, (("machine", "disk"), ("provider", "disk_image")))
    if not LEAST_MEMORY <= metrics.memory < spec.machine.memory // 4:
        wrong = f"{metrics.memory} is not between {shortest(LEAST_MEMORY)} and a quarter of the machine's memory"
        yield Found(("metrics", "memory"), wrong, "remove the line for the default", (("machine", "memory"),))


@rule("alerts")
def a_way_to_tell_is_said_whole(spec: Spec) -> Iterator[Found]:
    alerts = spec.alerts
    needed: dict[str, dict[str, object]] = {
        "mail": {"mail_to": alerts.mail_to, "mail_from": alerts.mail_from, "mail_server": alerts.mail_server},
        "zulip": {"zulip": alerts.zulip, "zulip_stream": alerts.zulip_stream},
    }
    for channel, keys in needed.items():
        missing = [name for name, value in keys.items() if not value]
        if channel in alerts.to and missing:
            wrong = f"{channel} needs alerts.{', alerts.'.join(missing)}"
            yield Found(("alerts", "to"), wrong, f"write {'it' if len(missing) == 1 else 'them'}")


@rule("alerts", "metrics", "deploy")
def alerts_need_metrics(spec: Spec) -> Iterator[Found]:
    if (spec.alerts.to or spec.alerts.deadman) and not spec.measured:
        wrong = "nothing measures this node, so that nobody is ever told"
        right = "write metrics.enabled: true, or take the lines out"
        if spec.central:
            right = "take the lines out: the federation's chart has a Prometheus of its own"
        key = ("alerts", "to") if spec.alerts.to else ("alerts", "deadman")
        yield Found(key, wrong, right, (("metrics", "enabled"), ("deploy",)))
