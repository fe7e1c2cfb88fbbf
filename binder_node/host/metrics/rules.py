"""All alerts of a node, and the file that Prometheus reads. Pure."""

from __future__ import annotations

from binder_node.host.metrics.alert import Alert, rule_file
from binder_node.host.metrics.itself import of_itself, of_jobs
from binder_node.host.metrics.machine import of_disks, of_the_machine
from binder_node.host.metrics.service import of_images, of_the_service
from binder_node.host.text import yaml_text
from binder_node.spec.model import Spec

GROUPS = {
    "service": of_the_service,
    "images": of_images,
    "machine": of_the_machine,
    "disks": of_disks,
    "jobs": of_jobs,
    "itself": of_itself,
}


def alerts(spec: Spec) -> tuple[Alert, ...]:
    """Those of this node, in the order of the reference."""
    return tuple(alert for group in GROUPS.values() for alert in group(spec))


def rules_text(spec: Spec) -> bytes:
    """The file of rules."""
    return yaml_text(rule_file((name, group(spec)) for name, group in GROUPS.items()))
